package server

import (
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// fakeJudge is a Judge that answers as a test says. All workers of a test share it.
type fakeJudge struct {
	active  bool
	connect func(*host.Connect) (host.Identity, host.Verdict) // nil: allows, and names nobody
	request func(*host.Request) host.Verdict                  // nil: allows

	connects, requests int // asked so far
}

var allowed = host.Verdict{Outcome: host.Allowed}

// refusals are the ways in which plugins keep a request out, what its client is told, and how.
var refusals = []struct {
	verdict host.Verdict
	text    string
	code    uint16
}{
	{host.Verdict{Outcome: host.Denied, Plugin: "acl", Code: 7, Reason: []byte("not yours")}, `denied by plugin "acl" (code 7): not yours`, codeFault},
	{host.Verdict{Outcome: host.Denied, Plugin: "acl", Reason: []byte("not yours")}, `denied by plugin "acl": not yours`, codeFault},
	{host.Verdict{Outcome: host.Denied, Plugin: "acl", Code: 255}, `denied by plugin "acl" (code 255)`, codeFault},
	{host.Verdict{Outcome: host.Denied, Plugin: "acl", Code: host.CodeForbidden}, `denied by plugin "acl" (code 3)`, codeFault},
	{host.Verdict{Outcome: host.Denied, Plugin: "acl"}, `denied by plugin "acl"`, codeFault},
	{host.Verdict{}, `denied by the server's plugins`, codeFault},
	{host.Verdict{Outcome: host.Allowed + 1, Plugin: "acl"}, `denied by plugin "acl"`, codeFault},
	{host.Verdict{Outcome: host.Failed, Plugin: "acl", Reason: []byte("it trapped")}, `plugin "acl" could not judge this request: it trapped; try again later`, codeTryLater},
	{host.Verdict{Outcome: host.Failed, Plugin: "acl"}, `plugin "acl" could not judge this request; try again later`, codeTryLater},
	{host.Verdict{Outcome: host.TooLong, Plugin: "acl"}, `the request is longer than plugin "acl" can be asked about: send fewer resources or shorter paths`, codeFault},
}

// Active implements Judge.
func (j *fakeJudge) Active() bool { return j.active }

// Authenticate implements Judge.
func (j *fakeJudge) Authenticate(q *host.Connect) (host.Identity, host.Verdict) {
	j.connects++
	if j.connect == nil {
		return host.Identity{}, allowed
	}
	return j.connect(q)
}

// Judge implements Judge.
func (j *fakeJudge) Judge(q *host.Request) host.Verdict {
	j.requests++
	if j.request == nil {
		return allowed
	}
	return j.request(q)
}

// serve is a server on a fakeNet that asks j.
func (j *fakeJudge) serve(set Settings) *fakeNet { return j.serveOf(Options{Settings: set}) }

func (j *fakeJudge) serveOf(o Options) *fakeNet {
	o.NewJudge = func() Judge { return j }
	n := newFakeOf(o)
	n.judge = j
	return n
}
