package client

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// argumentError says which argument is wrong, and how.
type argumentError string

func (e argumentError) Error() string        { return "locktopus: " + string(e) }
func (e argumentError) Is(target error) bool { return target == ErrArgument }

func wrong(format string, args ...any) error { return argumentError(fmt.Sprintf(format, args...)) }

// Check says what is wrong with a request for a lock, if anything, without asking a server. What it finds Lock finds,
// too. The server may still say no: its limits are its own.
func Check(items ...Item) error {
	var q request
	for _, item := range items {
		item.add(&q)
	}
	return q.check()
}

// check finds what the server would end the connection for, with all that depends on it, and what no server ever grants.
// Everything else is the server's to judge.
func (q *request) check() error {
	if len(q.Resources) == 0 {
		return wrong(`a lock needs at least one resource, such as client.Write("orders")`)
	}
	for i := range q.Resources {
		r := &q.Resources[i]
		if fault := r.fault(); fault != "" {
			return wrong("resource %d: %s", i, fault)
		}
		if fault := pathFault(r.Path); fault != "" {
			return wrong("resource %d: %s", i, fault)
		}
	}
	if fault := textFault(q.Note); fault != "" {
		return wrong("the note %s", fault)
	}
	if q.leased && q.lease <= 0 {
		return wrong("the lease must be above zero, but is %v", q.lease)
	}
	return checkPools(q.Resources)
}

// fault is what is wrong with what is wanted of a path; "": nothing.
func (r *Resource) fault() string {
	permit := r.isPermit()
	switch strings.ToLower(r.Type) {
	case "read", "r", "write", "w", "permit", "p":
	default:
		return fmt.Sprintf("its type must be read, write or permit, but is %q", r.Type)
	}
	switch {
	case permit && r.Limit == 0:
		return "a permit needs a limit of 1 or more"
	case permit && r.Weight > r.Limit:
		return fmt.Sprintf("its weight is %d, and its limit %d: there are never so many", r.Weight, r.Limit)
	case !permit && (r.Limit != 0 || r.Weight != 0):
		return fmt.Sprintf("a limit and a weight are for permits, but it is a %s", r.Type)
	}
	return ""
}

func (r *Resource) isPermit() bool { return strings.HasPrefix(strings.ToLower(r.Type), "p") }

// checkPools looks at permits of the same path.
func checkPools(rs []Resource) error {
	permits := make([]int, 0, 8)
	for i := range rs {
		if rs[i].isPermit() {
			permits = append(permits, i)
		}
	}
	slices.SortStableFunc(permits, func(a, b int) int { return slices.Compare(rs[a].Path, rs[b].Path) })
	first, sum := 0, uint64(0)
	for k, i := range permits {
		r := &rs[i]
		if k == 0 || !slices.Equal(rs[permits[first]].Path, r.Path) {
			first, sum = k, 0
		}
		if before := permits[first]; rs[before].Limit != r.Limit {
			return wrong("resources %d and %d: permits of one path must have one limit, but theirs are %d and %d", before, i, rs[before].Limit, r.Limit)
		}
		if sum += uint64(max(1, r.Weight)); sum > uint64(r.Limit) {
			return wrong("resources %d to %d: permits of one path weigh %d together, and its limit is %d: there are never so many", permits[first], i, sum, r.Limit)
		}
	}
	return nil
}

func checkPath(path []string) error {
	if fault := pathFault(path); fault != "" {
		return wrong("%s", fault)
	}
	return nil
}

func pathFault(path []string) string {
	for k, segment := range path {
		if fault := textFault(segment); fault != "" {
			return fmt.Sprintf("segment %d of the path %s", k, fault)
		}
	}
	return ""
}

func textFault(text string) string {
	switch {
	case !utf8.ValidString(text):
		return "is not UTF-8"
	case strings.IndexByte(text, 0) >= 0:
		return "holds a NUL"
	}
	return ""
}

// checkPage looks at what says which part of a list is wanted.
func checkPage(limit int, after string) error {
	if limit < 0 {
		return wrong("the limit must be 0 or more, but is %d", limit)
	}
	n, err := strconv.ParseUint(after, 10, 63)
	if after != "" && (err != nil || strconv.FormatUint(n, 10) != after) {
		return wrong(`after must be "", or what an Inspect before said as more, but is %q`, after)
	}
	return nil
}

// check says what is wrong with options, if anything.
func (o *Options) check() error {
	if o == nil {
		return nil
	}
	if fault := textFault(o.Name); fault != "" {
		return wrong("the name %s", fault)
	}
	return nil
}

// credentialsMax is the protocol's.
const credentialsMax = 32

// checkCredentials says what is wrong with credentials, and doesn't show them.
func checkCredentials(credentials map[string]string) error {
	if len(credentials) > credentialsMax {
		return wrong("%d credentials are too many, at most %d are allowed", len(credentials), credentialsMax)
	}
	for name, value := range credentials {
		if fault := textFault(name); fault != "" {
			return wrong("the name of a credential %s", fault)
		}
		if fault := textFault(value); fault != "" {
			return wrong("the credential %q %s", name, fault)
		}
	}
	return nil
}
