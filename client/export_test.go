package client

// For tests whose time is not the machine's.
var DialWithClock = dial

// Unanswered is how many requests are kept.
func Unanswered(c *Client) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// Watches is how many there are.
func Watches(c *Client) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watches)
}
