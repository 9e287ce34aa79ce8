package engine

import (
	"bytes"
	"fmt"
	"slices"
	"unsafe"
)

// Limits bound what an engine takes on. Zero means the engine's own maximum, and so does anything
// above it. Lower limits don't touch what is there already.
type Limits struct {
	PathSegments int   // of one path; at most 65535
	SegmentBytes int   // of one segment; at most 65535
	Resources    int   // of one request; at most 65535
	Requests     int   // alive at once; at most 2^28-1024
	Bytes        int64 // of memory for all of them, as Stats.Bytes; at most 2^36
}

// The engine's own maxima are what its 32-bit indexes can carry: entries, the most numerous items,
// take 20 bytes each, so that 2^36 bytes hold less than 2^32 of them.
var maxima = Limits{
	PathSegments: 1<<16 - 1,
	SegmentBytes: 1<<16 - 1,
	Resources:    1<<16 - 1,
	Requests:     1<<handleIndexBits - 1024,
	Bytes:        1 << 36,
}

// SetLimits replaces the limits for the requests to come.
func (e *Engine) SetLimits(l Limits) {
	e.limits = Limits{
		PathSegments: atMost(l.PathSegments, maxima.PathSegments),
		SegmentBytes: atMost(l.SegmentBytes, maxima.SegmentBytes),
		Resources:    atMost(l.Resources, maxima.Resources),
		Requests:     atMost(l.Requests, maxima.Requests),
		Bytes:        atMost(l.Bytes, maxima.Bytes),
	}
}

func atMost[T int | int64](limit, maximum T) T {
	if limit <= 0 || limit > maximum {
		return maximum
	}
	return limit
}

// Reason is why a request was refused.
type Reason uint8

const (
	NoResources      Reason = iota // the list is empty
	TooManyResources               // in the request
	TooManySegments                // in a path
	SegmentTooLong                 // in bytes
	TooManyRequests                // alive in the engine
	TooManyBytes                   // of memory for all requests
	NoLimit                        // a permit has a limit of zero
	NoWeight                       // a permit has a weight of zero
	WeightOverLimit                // the permits of the request on one path could never be acquired
	OtherLimit                     // the path's permits have another limit
)

// RequestError says why a request was refused.
type RequestError struct {
	Reason   Reason
	Resource int   // index of the resource at fault, from zero; -1: the request as a whole
	Segment  int   // index of the segment at fault, from zero, for SegmentTooLong
	Allowed  int64 // the number that is allowed; for OtherLimit the current limit
	Asked    int64 // what it would have been
}

// Error names the place as v1's messages do: resources[0].path[2].
func (r *RequestError) Error() string {
	text := r.sentence()
	switch {
	case r.Resource < 0:
		return text
	case r.Reason == TooManySegments:
		return fmt.Sprintf("resources[%d].path %s", r.Resource, text)
	case r.Reason == SegmentTooLong:
		return fmt.Sprintf("resources[%d].path[%d] %s", r.Resource, r.Segment, text)
	}
	return fmt.Sprintf("resources[%d]: %s", r.Resource, text)
}

func (r *RequestError) sentence() string {
	switch r.Reason {
	case NoResources:
		return "a request needs at least one resource"
	case TooManyResources:
		return fmt.Sprintf("the request has %d resources, at most %d are allowed", r.Asked, r.Allowed)
	case TooManySegments:
		return fmt.Sprintf("has %d segments, at most %d are allowed", r.Asked, r.Allowed)
	case SegmentTooLong:
		return fmt.Sprintf("has %d bytes, at most %d are allowed", r.Asked, r.Allowed)
	case TooManyRequests:
		return fmt.Sprintf("there would be %d requests, at most %d are allowed", r.Asked, r.Allowed)
	case TooManyBytes:
		return fmt.Sprintf("all requests would take %d bytes, at most %d are allowed", r.Asked, r.Allowed)
	case NoLimit:
		return "the limit of a permit is 0, at least 1 is needed"
	case NoWeight:
		return "the weight of a permit is 0, at least 1 is needed"
	case WeightOverLimit:
		return fmt.Sprintf("permits of the request weigh %d on this path, at most the limit of %d is allowed", r.Asked, r.Allowed)
	case OtherLimit:
		return fmt.Sprintf("the limit of the permits of this path is %d at present, not %d", r.Allowed, r.Asked)
	}
	panic("engine: an error has no reason")
}

func refuse(why Reason, resource int, asked, allowed int64) *RequestError {
	return &RequestError{Reason: why, Resource: resource, Asked: asked, Allowed: allowed}
}

// check refuses what can't be taken on. It changes nothing.
func (e *Engine) check(rs []Resource) error {
	if len(rs) == 0 {
		return refuse(NoResources, -1, 0, 1)
	}
	if len(rs) > e.limits.Resources {
		return refuse(TooManyResources, -1, int64(len(rs)), int64(e.limits.Resources))
	}
	if e.requests.live() >= e.limits.Requests {
		return refuse(TooManyRequests, -1, int64(e.requests.live())+1, int64(e.limits.Requests))
	}
	size, permits := e.liveBytes()+int64(unsafe.Sizeof(request{})), 0
	for i := range rs {
		n, err := e.checkPath(i, rs[i].Path)
		if err != nil {
			return err
		}
		size += n
		if rs[i].Mode == Permit {
			permits++
			if err := checkPermit(i, &rs[i]); err != nil {
				return err
			}
		}
	}
	if size > e.limits.Bytes {
		return refuse(TooManyBytes, -1, size, e.limits.Bytes)
	}
	if permits > 0 {
		return e.checkPermits(rs)
	}
	return nil
}

// checkPath returns what a resource takes if it shares nothing with another.
func (e *Engine) checkPath(i int, path [][]byte) (size int64, refusal *RequestError) {
	if len(path) > e.limits.PathSegments {
		return 0, refuse(TooManySegments, i, int64(len(path)), int64(e.limits.PathSegments))
	}
	const level = int64(unsafe.Sizeof(node{}) + unsafe.Sizeof(entry{}))
	size = level*int64(len(path)+1) + int64(unsafe.Sizeof(permit{})+unsafe.Sizeof(extra{}))
	for k, seg := range path {
		if len(seg) > e.limits.SegmentBytes {
			refusal = refuse(SegmentTooLong, i, int64(len(seg)), int64(e.limits.SegmentBytes))
			refusal.Segment = k
			return 0, refusal
		}
		size += int64(blocksFor(len(seg))) * int64(unsafe.Sizeof(block{}))
	}
	return size, nil
}

func checkPermit(i int, rs *Resource) *RequestError {
	switch {
	case rs.Limit == 0:
		return refuse(NoLimit, i, 0, 1)
	case rs.Weight == 0:
		return refuse(NoWeight, i, 0, 1)
	case rs.Weight > rs.Limit:
		return refuse(WeightOverLimit, i, int64(rs.Weight), int64(rs.Limit))
	}
	return nil
}

// checkPermits refuses permits that disagree about a limit, with living ones or among themselves,
// or that are too heavy together. It sorts them by their paths, so that those of one path are
// neighbours, in the order of the resources.
func (e *Engine) checkPermits(rs []Resource) error {
	e.order = e.order[:0]
	for i := range rs {
		if rs[i].Mode == Permit {
			e.order = append(e.order, uint32(i))
		}
	}
	slices.SortFunc(e.order, func(a, b uint32) int {
		if c := comparePaths(rs[a].Path, rs[b].Path); c != 0 {
			return c
		}
		return int(a) - int(b)
	})
	var first *RequestError
	for k := 0; k < len(e.order); {
		end := k + 1
		for end < len(e.order) && comparePaths(rs[e.order[k]].Path, rs[e.order[end]].Path) == 0 {
			end++
		}
		if err := e.checkPool(rs, e.order[k:end]); err != nil && (first == nil || err.Resource < first.Resource) {
			first = err
		}
		k = end
	}
	if first != nil {
		return first
	}
	return nil
}

// checkPool looks at the permits of one path.
func (e *Engine) checkPool(rs []Resource, same []uint32) *RequestError {
	path := rs[same[0]].Path
	limit := rs[same[0]].Limit
	if i := e.walk(path); i != 0 {
		if n := e.nodes.at(i); n.extra != 0 && e.extras.at(n.extra).head != 0 {
			limit = e.extras.at(n.extra).limit
		}
	}
	var weight int64
	for _, i := range same {
		if rs[i].Limit != limit {
			return refuse(OtherLimit, int(i), int64(rs[i].Limit), int64(limit))
		}
		if weight += int64(rs[i].Weight); weight > int64(limit) {
			return refuse(WeightOverLimit, int(i), weight, int64(limit))
		}
	}
	return nil
}

func comparePaths(a, b [][]byte) int {
	return slices.CompareFunc(a, b, bytes.Compare)
}
