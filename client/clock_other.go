//go:build !linux

package client

import "time"

func clock() time.Duration { return fallbackClock() }
