package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
)

// sessionSeen is a session as administrators see it. Names and principals are other people's texts.
type sessionSeen struct {
	Session   string `json:"session"`
	Name      string `json:"name"`
	Principal string `json:"principal"`
	Remote    string `json:"remote"`
	Attached  bool   `json:"attached"`
	TTLMS     int64  `json:"ttl_ms"`
	LeftMS    int64  `json:"left_ms"`
	SinceMS   int64  `json:"since_ms"`
	Held      int    `json:"held"`
	Waiting   int    `json:"waiting"`
}

// pageOfSessions is how many sessions are asked for at once.
const pageOfSessions = 500

func (p process) sessions(args []string) int {
	f := &adminFlags{}
	_, err := parseFlags(args, 0, f.adminFlagList()...)
	if err == nil {
		err = f.complete(p)
	}
	if err != nil {
		return p.misused("sessions", "locktopus sessions: %v", err)
	}
	code, err := f.eachSession(newLines(p.stdout, f.json))
	if err != nil {
		fmt.Fprintf(p.stderr, "locktopus sessions: %s\n", printable(said(err)))
	}
	return code
}

// eachSession writes a line for each session, page after page. The heading comes with the first page: where there is
// none, there is only the error.
func (f *adminFlags) eachSession(out *lines) (int, error) {
	for after, begun := "", false; !begun || after != ""; begun = true {
		q := url.Values{"namespace": {f.namespace}, "limit": {strconv.Itoa(pageOfSessions)}}
		if after != "" {
			q.Set("after", after)
		}
		answer, code, err := f.ask("/admin/v1/sessions?"+q.Encode(), nil, "sessions")
		if err != nil {
			return code, err
		}
		var page struct {
			Sessions []json.RawMessage
			Next     string
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return exitUnreachable, fmt.Errorf("the answer of %s is not understood: %w", f.admin, err)
		}
		if !begun {
			out.sessionHeading()
		}
		for _, text := range page.Sessions {
			if err := out.session(text); err != nil {
				return exitFailed, err
			}
		}
		after = page.Next
	}
	return exitOK, out.fail
}

const sessionColumns = "%-9s  %-10s  %-8s  %-8s  %-5s  %-5s  %-12s  %-16s  %-21s  %s\n"

func (o *lines) sessionHeading() {
	if !o.json {
		o.fail = o.write(fmt.Sprintf(sessionColumns, "STATE", "FOR", "LEFT", "TTL", "HOLDS", "WAITS", "SESSION", "NAME", "REMOTE", "PRINCIPAL"))
	}
}

// session is a line about a session.
func (o *lines) session(text json.RawMessage) error {
	if o.fail != nil {
		return o.fail
	}
	if o.json {
		return o.write(visibleJSON(text))
	}
	var s sessionSeen
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("a session in the answer is not understood: %w", err)
	}
	state := "away"
	if s.Attached {
		state = "connected"
	}
	return o.write(fmt.Sprintf(sessionColumns, state, spanOf(s.SinceMS), spanOf(s.LeftMS), spanOf(s.TTLMS), strconv.Itoa(s.Held), strconv.Itoa(s.Waiting),
		(&seen{Session: s.Session}).sessionWord(), word(s.Name), word(s.Remote), word(s.Principal)))
}
