package conformance

import "strings"

// tidied is the case of a normalize guest.
func tidied(name, about, namespace string, want Answer, l layout, resources ...resource) Case {
	q := request{namespace: namespace, resources: resources}
	c := Case{Name: "normalize/" + name, About: about, Hook: "normalize", Want: want}
	c.Request, c.Notes = q.encode(hookNormalize, l)
	return c
}

func normalizeCases() []Case {
	q := request{namespace: "!report", resources: []resource{{permit, []string{"A", "b"}}, {read, nil}}}
	two := []resource{path("A", "b"), {read, []string{"c"}}}
	all := []Case{
		tidied("report", "no principal, context, address, operation and time", q.namespace, denied(0, string(q.report())), layout{}, q.resources...),
		tidied("unchanged", "the paths are fine", "!unchanged", Answer{Status: allow}, layout{}, two...),
		tidied("deny", "a path that may not be", "!deny", denied(9, "not here"), layout{}, two...),
		tidied("fault", "no judgement", "!fault", faulty("cannot"), layout{}, two...),
	}
	return append(append(all, rewrites()...), refusals()...)
}

// rewrites are answers with paths.
func rewrites() []Case {
	to := func(paths ...[]string) Answer {
		want := Answer{Status: rewritten}
		for _, p := range paths {
			want.Bytes = append(append(want.Bytes, pathBytes(p)...), 0)
		}
		return want
	}
	list := func(segments ...string) []string { return segments }
	of := func(name, about string, want Answer, resources ...resource) Case {
		return tidied("rewrite-"+name, about, "prod", want, layout{}, resources...)
	}
	many := manyResources(1000)
	paths := make([][]string, len(many))
	for i, r := range many {
		paths[i] = r.path
	}
	return []Case{
		of("one", "one path", to(list("a", "b")), path("A", "b")),
		of("none", "no paths: an answer of no bytes", to()),
		of("empty-path", "the empty path", to(list()), path()),
		of("several", "paths between empty paths", to(list(), list("a"), list(), list("b", "c")), path(), path("A"), path(), path("B", "C")),
		of("dots", "fewer segments than before, and none", to(list("a"), list()), path(".", "a", "."), path(".")),
		of("twice", "more segments than before", to(list("twice", "twice", "b")), path("twice", "b")),
		of("utf8", "only A to Z have small letters here", to(list("Äb", "漢字", "@[`{")), path("ÄB", "漢字", "@[`{")),
		of("many", "1000 paths", to(paths...), many...),
		of("longest", "the last byte that an answer can have", to(longest(0, "twice", "twice")), path(longest(0, "twice")...)),
		tidied("rewrite-stride-28", "entries of a later version", "prod", to(list("a"), list("b")), layout{header: 80, stride: 28}, path("A"), path("B")),
	}
}

// refusals are answers that the ABI cannot express.
func refusals() []Case {
	of := func(name, about, text string, resources ...resource) Case {
		return tidied("refuse-"+name, about, "prod", faulty(text), layout{}, resources...)
	}
	const (
		empty = "an empty segment cannot be rewritten"
		nul   = "a segment cannot contain NUL"
		long  = "the rewritten paths take more than 65535 bytes"
	)
	return []Case{
		of("empty", "an empty segment would end the path", empty, path("nothing")),
		of("empty-later", "in any path, and whatever comes after", empty, path("A"), path("b", "nothing", "c"), path("d")),
		of("empty-input", "also one that came in", empty, path("A", "", "b")),
		of("nul", "a segment with NUL would be two", nul, path("a", "nul", "b")),
		of("first", "the first of two faults", nul, path("nul"), path("nothing")),
		of("second", "the other way round", empty, path("nothing"), path("nul")),
		of("long", "a byte more than 16 bits of length can tell", long, path(longest(1, "twice")...)),
		of("longer", "many bytes more, and paths that would fit again", long, path(longest(5000, "twice")...), path("a"), path("nothing")),
	}
}

// longest is a path whose answer, written with "twice" twice, has as many bytes as an answer can
// have, and some more. Each word stands in it 3000 times, and then one long segment.
func longest(more int, words ...string) []string {
	const times = 3000
	var segments []string
	for range times {
		segments = append(segments, words...)
	}
	rest := textBytesMax - times*2*len("twice\x00") - len("\x00") - len("\x00")
	return append(segments, strings.Repeat("p", rest+more))
}
