package nft

var txNumbers = map[TxKind]uint32{
	TxArm: 1, TxConfirm: 2, TxRollback: 3, TxGroup: 4, TxException: 5, TxLoad: 6, TxBoot: 7, TxHold: 9,
}

// Number returns the kind's number in the kernel's map, 0 for an unknown one.
func (k TxKind) Number() uint32 { return txNumbers[k] }

// TxKindOf returns the kind of a number, "" for an unknown one.
func TxKindOf(n uint32) TxKind {
	for k, v := range txNumbers {
		if v == n {
			return k
		}
	}
	return ""
}
