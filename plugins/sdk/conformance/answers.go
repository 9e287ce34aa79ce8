package conformance

import (
	"fmt"
	"strings"
)

// asked is the case of an authorize guest that a principal tells what to answer.
func asked(name, about, principal string, want Answer, change func(q *request)) Case {
	q := plain()
	q.principal = principal
	if change != nil {
		change(&q)
	}
	c := Case{Name: "authorize/" + name, About: about, Hook: "authorize", Want: want}
	c.Request, c.Notes = q.encode(hookAuthorize, layout{})
	return c
}

// says sets the context, which many answers repeat.
func says(text string) func(q *request) { return func(q *request) { q.context = text } }

// codeAndText sets what the answer !deny is made of.
func codeAndText(code int64, text string) func(q *request) {
	return func(q *request) { q.now, q.context = code, text }
}

func denied(code uint8, text string) Answer {
	return Answer{Status: deny, Code: code, Bytes: []byte(text)}
}

func faulty(text string) Answer { return Answer{Status: fault, Bytes: []byte(text)} }

// answerCases are authorize's answers of every kind.
func answerCases() []Case {
	long := denied(0, strings.Repeat("é", textBytesMax/2))
	all := []Case{
		asked("allow", "allowed", "!allow", Answer{Status: allow}, nil),
		asked("deny", "a code and a text", "!deny", denied(7, "write outside own subtree"), codeAndText(7, "write outside own subtree")),
		asked("deny-no-text", "a denial needs no text", "!deny", denied(1, ""), codeAndText(1, "")),
		asked("deny-code-0", "nor a code", "!deny", denied(0, "no"), codeAndText(0, "no")),
		asked("deny-code-255", "the largest code", "!deny", denied(255, "no"), codeAndText(255, "no")),
		asked("deny-utf8", "text is not ASCII only", "!deny", denied(128, "nö 漢字 🐙"), codeAndText(128, "nö 漢字 🐙")),
		asked("deny-32-KiB", "a length of more than 15 bits", "!deny", denied(2, strings.Repeat("t", 40000)), codeAndText(2, strings.Repeat("t", 40000))),
		asked("deny-long", "a text that is too long is cut between two characters", "!long", long, nil),
		asked("fault", "the plugin cannot judge", "!fault", faulty("the policy is missing"), says("the policy is missing")),
		asked("fault-no-text", "and does not say why", "!fault", faulty(""), says("")),
		asked("trap", "the guest ends; nothing is allowed", "!trap", Answer{Trap: true}, nil),
		asked("log", "a line for each level", "!log", Answer{Status: allow, Logs: []Line{
			{0, "debug\x00"}, {1, "info\x00"}, {2, "wärn\x00ing\x00"}, {3, ""}, {3, "error\x00"},
		}}, func(q *request) {
			q.resources = []resource{{0, []string{"debug"}}, {1, []string{"info"}}, {2, []string{"wärn", "ing"}}, {3, nil}, {3, []string{"error"}}}
		}),
	}
	for operation := range uint32(6) {
		want := Answer{Status: allow}
		if operation < 1 || operation > 4 {
			want = denied(0, unknownOperation)
		}
		all = append(all, known(operation, want))
	}
	return append(all, known(1<<31|1, denied(0, unknownOperation)))
}

func known(operation uint32, want Answer) Case {
	return asked(fmt.Sprintf("known-%d", operation), "operations 1 to 4 are known, all others are to be denied", "!known", want,
		func(q *request) { q.operation = operation })
}

// initCases are configurations, and the proof that they were kept.
func initCases() []Case {
	refused := func(name, about, config string, want Answer) Case {
		c := Case{Name: "init/" + name, About: about, Hook: "init", Request: []byte(config), Want: want}
		c.Notes = []Note{{len(config), "configuration"}}
		return c
	}
	kept := func(name, about, config string) Case {
		var r report
		r.bytes("config", config)
		c := asked("config-"+name, about, "!config", denied(0, string(r.text())), nil)
		c.Config = []byte(config)
		return c
	}
	object := `{"users":["Zoë","漢字"],"path":"a\\b"}`
	return []Case{
		refused("object", "a configuration that is taken", object, Answer{Status: allow}),
		refused("refused", "one that is denied", `{"refuse":true}`, denied(0, "refused")),
		refused("fault", "one that cannot be judged", `{"fault":true}`, faulty("faulty")),
		refused("shorter", "the start of a word is not the word", `{"refus`, Answer{Status: allow}),
		kept("none", "without a configuration, init is called all the same", ""),
		kept("object", "the bytes come as they were written", object),
		kept("full", "a configuration that fills the buffer", `{"a":"`+strings.Repeat("c", bufferBytes-8)+`"}`),
	}
}
