package nft

import (
	"errors"
	"fmt"
)

func checkStmt(s Stmt) error {
	switch s := s.(type) {
	case Match:
		return checkMatch(s)
	case Jhash:
		if s.Mod == 0 {
			return errors.New("mod 0")
		}
		if s.Field != IPSaddr && s.Field != IP6Saddr && s.Field != EtherSaddr {
			return fmt.Errorf("%q is not hashed", s.Field)
		}
		return nil
	case Vmap:
		return checkLookup(s.Fields, s.Map)
	case Count:
		if s.Name != "" && !IsName(s.Name) {
			return fmt.Errorf("%q is no name", s.Name)
		}
		return nil
	case Log:
		return checkQuoted("prefix", s.Prefix, MaxPrefix)
	case Limit:
		return checkLimit(s)
	case SetOp:
		if s.Op != "add" && s.Op != "update" {
			return fmt.Errorf("%q: want add or update", s.Op)
		}
		if s.Limit != nil {
			if err := checkLimit(*s.Limit); err != nil {
				return err
			}
		}
		return checkLookup(s.Fields, s.Set)
	case Verdict:
		return checkVerdict(s)
	case Reject:
		switch s.With {
		case "tcp reset", "icmpx admin-prohibited", "icmpx port-unreachable":
			return nil
		}
		return fmt.Errorf("reject with %q is unknown", s.With)
	case Redirect:
		if s.Port == 0 {
			return errors.New("port 0")
		}
		return nil
	}
	return fmt.Errorf("%T is no statement", s)
}

func checkLimit(l Limit) error {
	if l.Rate == 0 {
		return errors.New("rate 0")
	}
	switch l.Unit {
	case "second", "minute", "hour":
		return nil
	}
	return fmt.Errorf("per %q: want second, minute or hour", l.Unit)
}

func checkFields(fields []Field) error {
	if len(fields) == 0 {
		return errors.New("no field")
	}
	for _, f := range fields {
		t := f.Type()
		if t == "" {
			return fmt.Errorf("%q is no field", f)
		}
		if t.bitMask() && len(fields) > 1 {
			return fmt.Errorf("%s in a concatenation", f)
		}
	}
	return nil
}

func checkLookup(fields []Field, set string) error {
	if !IsName(set) {
		return fmt.Errorf("%q is no name", set)
	}
	if err := checkFields(fields); err != nil {
		return err
	}
	if fields[0].Type().bitMask() {
		return fmt.Errorf("%s is a bit mask, never a key", fields[0])
	}
	return nil
}

func checkMatch(m Match) error {
	if m.Set != "" {
		if m.Values != nil || m.Mask != nil {
			return errors.New("a set together with values or a mask")
		}
		return checkLookup(m.Fields, m.Set)
	}
	if err := checkFields(m.Fields); err != nil {
		return err
	}
	if len(m.Values) == 0 {
		return errors.New("neither values nor a set")
	}
	types := typesOf(m.Fields)
	if (m.Mask != nil) != (types[0] == tcpFlag) || len(m.Mask) > 1 {
		return errors.New("a mask of one byte with tcp flags, and only there")
	}
	if types[0].bitMask() && (len(m.Values) > 1 || m.Values[0].Hi != nil) {
		return errors.New("a bit mask has one value")
	}
	for _, v := range m.Values {
		if err := checkKey(types, v.Lo, v.Hi, true); err != nil {
			return err
		}
	}
	return nil
}
