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

// ForgetBounds makes a client that wasn't told what is too much for the server; until it connects again.
func ForgetBounds(c *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bounds = bounds{}
}
