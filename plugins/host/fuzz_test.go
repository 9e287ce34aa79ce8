package host

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
)

// meanGuest is the hostile guest with one hook, and what the first page of its memory is known to hold:
// what it is told to answer. Questions are in the second page, nothing in the third.
type meanGuest struct {
	*Gate
	*Caller
	hook   Hooks
	memory [pageBytes]byte
}

func meanGuests(f *testing.F) (guests []*meanGuest) {
	for _, hook := range allHooks {
		g := unmended(loaded(f, Options{}, mean(f, hook, patient)))
		guests = append(guests, &meanGuest{Gate: g, Caller: g.Caller(), hook: hook})
	}
	return guests
}

// part is the memory that an answer refers to. It isn't there if it isn't in the memory, and unknown where
// the question is.
func (g *meanGuest) part(at uint32, length uint16) (text []byte, there, known bool) {
	from, to := uint64(at), uint64(at)+uint64(length)
	switch {
	case length == 0:
		return nil, true, true
	case to > hostile.Memory:
		return nil, false, true
	case to <= pageBytes:
		return bytes.Clone(g.memory[from:to]), true, true
	case from >= 2*pageBytes:
		return make([]byte, length), true, true
	}
	return nil, true, false
}

// FuzzAnswers has a plugin answer anything. Only a well-formed answer that allows does, and what it
// says is taken as it says it; a denial is passed on; all else costs the plugin its instance.
func FuzzAnswers(f *testing.F) {
	guests := meanGuests(f)
	f.Fuzz(func(t *testing.T, hook, status, code byte, length uint16, at uint32, said []byte, resources byte) {
		if len(said) > 8<<10 {
			return
		}
		g := guests[int(hook)%len(guests)]
		before := g.Stats()[0]
		copy(g.memory[hostile.Scratch:], said)
		text, there, known := g.part(at, length)
		namespace := hostile.Answer(status, code, length, at, string(said))
		sent := slices.Repeat(oneOf("a", "b"), int(resources%5))
		q := &Request{Namespace: namespace, Identity: &alice, Operation: Lock, Resources: slices.Clone(sent)}
		var id Identity
		var v Verdict
		if g.hook == Authenticate {
			id, v = g.Authenticate(&Connect{Namespace: namespace})
		} else {
			v = g.Judge(q)
		}
		given{g.hook, status, code, text, there, known}.check(t, v, id, q.Resources, sent)
		renew(t, g.Gate)
		broken := g.Stats()[0].Replaced > before.Replaced
		require.Equal(t, v.Outcome == Failed && string(v.Reason) == hostile.Breach, broken)
		if broken {
			g.memory = [pageBytes]byte{}
		}
	})
}

// given is an answer of a plugin.
type given struct {
	hook         Hooks
	status, code byte
	text         []byte
	there, known bool
}

// check holds what came of an answer against the contract, docs/PLUGINS.md.
func (a given) check(t *testing.T, v Verdict, id Identity, got, sent []Resource) {
	breach := Verdict{Outcome: Failed, Plugin: "mean", Reason: []byte(hostile.Breach)}
	rewrites := a.status == hostile.Rewritten && a.hook == Normalize
	if !rewrites || v.Outcome != Allowed {
		require.Equal(t, sent, got, "paths are replaced by nothing else")
	}
	if v.Outcome != Allowed {
		require.Zero(t, id)
	}
	says := a.hook == Authenticate && a.status == hostile.Allow
	switch {
	case (rewrites || says || a.status == hostile.Deny || a.status == hostile.Fault) && !a.known:
		require.True(t, v.Outcome != Allowed || rewrites || says, "%v", v)
	case says && a.there && identityOf(a.text) != nil:
		require.Equal(t, Verdict{Outcome: Allowed}, v)
		require.Equal(t, *identityOf(a.text), id)
	case a.status == hostile.Allow && a.hook != Authenticate:
		require.Equal(t, Verdict{Outcome: Allowed}, v)
	case rewrites && a.there && pathsOf(a.text, sent) != nil:
		require.Equal(t, Verdict{Outcome: Allowed}, v)
		require.Equal(t, pathsOf(a.text, sent), got)
	case a.status == hostile.Deny && a.there && utf8.Valid(a.text):
		v.Reason = append([]byte{}, v.Reason...)
		require.Equal(t, Verdict{Outcome: Denied, Plugin: "mean", Code: a.code, Reason: cut(a.text)}, v)
	case a.status == hostile.Fault && a.there && utf8.Valid(a.text):
		require.Equal(t, Failed, v.Outcome)
		require.NotEqual(t, hostile.Breach, string(v.Reason))
	default:
		require.Equal(t, breach, v)
	}
}

// cut is what is passed on of a text: 256 bytes at most, and whole runes.
func cut(text []byte) []byte {
	out := []byte{}
	for _, r := range string(text) {
		if len(out)+utf8.RuneLen(r) > 256 {
			break
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// identityOf reads an identity; nil if it is none.
func identityOf(text []byte) *Identity {
	id := Identity{Authenticated: true}
	if len(text) == 0 {
		return &id
	}
	if len(text) < 8 {
		return nil
	}
	principal, context := int(binary.LittleEndian.Uint16(text[4:])), int(binary.LittleEndian.Uint16(text[6:]))
	rest := string(text[8:])
	if len(rest) != principal+context || principal == 0 || principal > 256 || context > 4096 {
		return nil
	}
	id.Principal, id.Context = rest[:principal], rest[principal:]
	if !utf8.ValidString(id.Principal) || strings.ContainsFunc(id.Principal, unicode.IsControl) {
		return nil
	}
	id.TTL = time.Duration(binary.LittleEndian.Uint32(text)) * time.Second
	return &id
}

// pathsOf reads paths for resources; nil if they are none.
func pathsOf(text []byte, sent []Resource) []Resource {
	rest := string(text)
	if !utf8.ValidString(rest) {
		return nil
	}
	rs := slices.Clone(sent)
	for i := range rs {
		rs[i].Path = [][]byte{}
		for {
			segment, after, ended := strings.Cut(rest, "\x00")
			if rest = after; !ended || len(segment) > 1024 || len(rs[i].Path) == 1024 && segment != "" {
				return nil
			}
			if segment == "" {
				break
			}
			rs[i].Path = append(rs[i].Path, []byte(segment))
		}
	}
	if rest != "" {
		return nil
	}
	return rs
}
