package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The oracle of version 2: read with encoding/json and without a thought for speed, like that of
// version 1.

var errOracle = errors.New("refused")

var knownV2 = map[string][]string{
	"message": {"op", "id", "lock", "resources", "wait_ms", "lease_ms", "note", "leave", "party", "path", "limit", "after",
		"watch", "upgrade", "ttl_ms", "name", "credentials", "resume"},
	"resource": {"type", "path", "limit", "weight"},
	"resume":   {"session", "secret", "event"},
}

// oracleV2 parses msg, or says why it is none.
func oracleV2(msg []byte) (r V2Request, err error) {
	if !utf8.Valid(msg) || !json.Valid(msg) {
		return r, errors.New("no JSON in UTF-8")
	}
	if d := depth(msg); d > V2Depth {
		return r, fmt.Errorf("nested %d deep", d)
	}
	top, err := members(msg)
	if err != nil {
		return r, err
	}
	values := 0
	if err := oracleShape(msg, "message", &values); err != nil {
		return r, err
	}
	if values > V2Values {
		return r, errors.New("too many values")
	}
	defer func() {
		if p := recover(); p != nil {
			if p != errOracle {
				panic(p)
			}
			err = errOracle
		}
	}()
	return oracleRequest(top), nil
}

// oracleShape counts the values of an object or array, and refuses what no operation allows: known
// members given twice, texts with NUL or half of a surrogate pair.
func oracleShape(raw json.RawMessage, is string, values *int) error {
	ms, notObject := members(raw)
	list, isArray := array(raw)
	switch is {
	case "message", "resource", "resume", "credentials":
		if notObject != nil {
			return nil
		}
		*values += len(ms)
		for i, m := range ms {
			if err := oracleMember(is, ms[:i], m, values); err != nil {
				return err
			}
		}
	case "resources", "path":
		if !isArray {
			return nil
		}
		*values += len(list)
		for _, e := range list {
			if err := oracleShape(e, map[string]string{"resources": "resource", "path": "text"}[is], values); err != nil {
				return err
			}
		}
	case "text":
		if s, isString := text(raw); isString && (strings.Contains(s, "\x00") || tornText(s, raw)) {
			return fmt.Errorf("bad text %s", raw)
		}
	}
	return nil
}

func oracleMember(in string, before []member, m member, values *int) error {
	if in == "credentials" {
		if strings.Contains(m.name, "\x00") || m.torn {
			return fmt.Errorf("bad name %q", m.name)
		}
		return oracleShape(m.value, "text", values)
	}
	if !slices.Contains(knownV2[in], m.name) {
		return nil
	}
	if _, found, _ := find(before, m.name); found {
		return fmt.Errorf("%s twice", m.name)
	}
	is := m.name
	switch m.name {
	case "note", "name", "after", "session", "secret":
		is = "text"
	case "resources", "path", "credentials", "resume":
	default:
		return nil
	}
	return oracleShape(m.value, is, values)
}

// tornText: encoding/json makes U+FFFD of half a pair; it may be there only if it was written.
func tornText(s string, raw []byte) bool { return strings.Count(s, "\ufffd") != written(raw) }

// given looks for a member, which is there once at most.
func given(ms []member, name string) (json.RawMessage, bool) {
	raw, found, _ := find(ms, name)
	return raw, found
}

func mustBe(ok bool) {
	if !ok {
		panic(errOracle)
	}
}

// oracleNumber is a whole number in a range; absent stands for one that isn't there.
func oracleNumber(ms []member, name string, least, most uint64, needed bool, absent int64) int64 {
	raw, found := given(ms, name)
	if !found {
		mustBe(!needed)
		return absent
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	mustBe(err == nil && least <= n && n <= most)
	return int64(n)
}

func oracleText(ms []member, name string, needed bool) []byte {
	raw, found := given(ms, name)
	if !found {
		mustBe(!needed)
		return nil
	}
	s, isString := text(raw)
	mustBe(isString)
	return []byte(s)
}

func oraclePath(ms []member) [][]byte {
	raw, found := given(ms, "path")
	segments, isArray := array(raw)
	mustBe(found && isArray)
	path := [][]byte{}
	for _, s := range segments {
		segment, isString := text(s)
		mustBe(isString)
		path = append(path, []byte(segment))
	}
	return path
}

func oracleRequest(ms []member) (r V2Request) {
	name, isString := text(first(given(ms, "op")))
	mustBe(isString && slices.Contains(v2OpNames[:], name))
	r.Op = V2Op(slices.Index(v2OpNames[:], name))
	r.WaitMS, r.LeaseMS = V2None, V2None
	if r.Op == V2Hello {
		r.Hello = oracleGreeting(ms)
		return r
	}
	r.ID = uint64(oracleNumber(ms, "id", 1, V2MaxID, true, 0))
	if r.Op == V2Lock || r.Op == V2Upgrade {
		r.WaitMS = oracleNumber(ms, "wait_ms", 0, V2MaxID, false, V2None)
	}
	if r.Op == V2Lock || r.Op == V2Renew {
		r.LeaseMS = oracleNumber(ms, "lease_ms", 0, V2MaxID, false, V2None)
	}
	if r.Op == V2Downgrade {
		r.Upgrade = uint64(oracleNumber(ms, "upgrade", 1, V2MaxID, false, 0))
	}
	switch r.Op {
	case V2Lock:
		r.Note, r.Leave = oracleText(ms, "note", false), oracleFlag(ms, "leave")
		r.Party = uint64(oracleNumber(ms, "party", 0, V2MaxID, false, 0))
		r.Resources = oracleResourcesV2(ms)
	case V2Release, V2Upgrade, V2Downgrade:
		r.Lock = uint64(oracleNumber(ms, "lock", 1, V2MaxID, true, 0))
	case V2Renew:
		r.Lock = uint64(oracleNumber(ms, "lock", 1, V2MaxID, false, 0))
		mustBe(r.Lock != 0 || r.LeaseMS == V2None)
	case V2Locks, V2Inspect:
		r.Limit = uint64(oracleNumber(ms, "limit", 1, V2MaxID, false, 0))
		if after := oracleText(ms, "after", false); after != nil {
			n, err := strconv.ParseUint(string(after), 10, 64)
			mustBe(err == nil && strconv.FormatUint(n, 10) == string(after) && len(after) <= 19)
			r.After = n
		}
	case V2Unwatch:
		r.Watch = uint64(oracleNumber(ms, "watch", 1, V2MaxID, true, 0))
	}
	if r.Op == V2Inspect || r.Op == V2Watch {
		r.Path = oraclePath(ms)
	}
	return r
}

func first(raw json.RawMessage, _ bool) json.RawMessage { return raw }

func oracleFlag(ms []member, name string) bool {
	raw, found := given(ms, name)
	mustBe(!found || string(raw) == "true" || string(raw) == "false")
	return string(raw) == "true"
}

func oracleResourcesV2(ms []member) (rs []Resource) {
	raw, found := given(ms, "resources")
	list, isArray := array(raw)
	mustBe(found && isArray && len(list) > 0)
	for _, e := range list {
		ms, err := members(e)
		mustBe(err == nil)
		name, isString := text(first(given(ms, "type")))
		mustBe(isString)
		r := Resource{Path: oraclePath(ms)}
		r.Limit = uint32(oracleNumber(ms, "limit", 1, 1<<32-1, false, 0))
		r.Weight = uint32(oracleNumber(ms, "weight", 1, 1<<32-1, false, 0))
		switch asciiLower(name) {
		case "r", "read":
			mustBe(r.Limit == 0 && r.Weight == 0)
		case "w", "write":
			mustBe(r.Limit == 0 && r.Weight == 0)
			r.Type = Write
		case "p", "permit":
			mustBe(r.Limit != 0)
			r.Type, r.Weight = Permit, max(1, r.Weight)
		default:
			mustBe(false)
		}
		rs = append(rs, r)
	}
	return rs
}

func oracleGreeting(ms []member) *V2Greeting {
	g := &V2Greeting{TTLMS: oracleNumber(ms, "ttl_ms", 0, V2MaxID, false, V2None), Name: oracleText(ms, "name", false)}
	if raw, found := given(ms, "credentials"); found {
		list, err := members(raw)
		mustBe(err == nil && len(list) <= V2Credentials)
		for i, c := range list {
			_, twice := given(list[:i], c.name)
			value, isString := text(c.value)
			mustBe(isString && !twice)
			g.Credentials = append(g.Credentials, V2Credential{[]byte(c.name), V2Secret(value)})
		}
	}
	if raw, found := given(ms, "resume"); found {
		resume, err := members(raw)
		mustBe(err == nil)
		g.Resume = true
		g.Session, g.Secret = oracleText(resume, "session", true), oracleText(resume, "secret", true)
		g.Event = uint64(oracleNumber(resume, "event", 0, V2MaxID, false, 0))
	}
	return g
}
