package api

// NotifyArgs asks how the webhooks do.
type NotifyArgs struct {
	Test bool `json:"test"` // send a message to each first
}
