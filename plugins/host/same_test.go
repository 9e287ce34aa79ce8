package host

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero/api"

	"github.com/locktopus-project/locktopus/v2/internal/hostile"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

// TestMeteringChangesNoAnswer asks every example, as it is and metered, the same random questions, and compares
// answers, traps and memories.
func TestMeteringChangesNoAnswer(t *testing.T) {
	rnd := testseed.Rand(t)
	eachExample(t, func(name string, spec Spec) {
		t.Run(name, func(t *testing.T) {
			q := &questioner{rnd: rnd, words: words(t, name)}
			slices.Sort(q.words) // or a seed would not play it again
			twins := newTwins(t, spec)
			for _, hook := range allHooks {
				for k := 0; spec.Hooks&hook != 0 && k < 1000; k++ {
					twins.ask(hook, func(w *writer) int { return q.write(w, hook) })
				}
			}
			t.Logf("answers by status: %v, traps: %d", twins.answers, twins.traps)
		})
	})
}

// TestMeteringChangesNoMisdeed does the same with a guest that traps, and answers what it must not.
func TestMeteringChangesNoMisdeed(t *testing.T) {
	rnd := testseed.Rand(t)
	for _, hook := range allHooks {
		twins := newTwins(t, mean(t, hook, patient))
		for range 1000 {
			deeds := [][]hostile.Deed{hostile.Trapping, hostile.Wrong, hostile.WrongFor(hook.name())}[rnd.IntN(3)]
			d := deeds[rnd.IntN(len(deeds))]
			twins.ask(hook, func(w *writer) int {
				if hook == Authenticate {
					return w.authenticate(&Connect{Namespace: d.Namespace}, 1)
				}
				return w.authorize(&Request{Namespace: d.Namespace, Identity: &alice}, oneOf("a"), 1)
			})
		}
		require.Positive(t, twins.traps)
	}
}

// twins are one plugin twice: as it is, and metered.
type twins struct {
	t              *testing.T
	plain, metered *plugin
	a, b           *instance
	repeatable     bool // it asks for neither time nor chance, so that even the memories must be the same
	asked          int
	answers        map[status]int
	traps          int
}

func newTwins(t *testing.T, spec Spec) *twins {
	x := &twins{t: t, answers: map[status]int{}, repeatable: true}
	g := loaded(t, Options{}, spec)
	x.metered, x.plain = g.current.Load().plugins[0], plain(t, spec).current.Load().plugins[0]
	x.a, x.b = x.plain.slots[0].instance, x.metered.slots[0].instance
	for _, f := range x.plain.code.ImportedFunctions() {
		_, name, _ := f.Import()
		if strings.Contains(name, "clock") || strings.Contains(name, "random") || strings.Contains(name, "poll") {
			x.repeatable = false
		}
	}
	return x
}

// ask puts one question to both.
func (x *twins) ask(hook Hooks, write func(*writer) int) {
	buffer := make([]byte, bufferBytes)
	length := write(&writer{b: buffer})
	require.Positive(x.t, length)
	want, wantText, wantTrap := x.askOne(x.a, hook, buffer, length)
	got, gotText, gotTrap := x.askOne(x.b, hook, buffer, length)
	question := buffer[:length]
	require.Equal(x.t, wantTrap, gotTrap, "%q", question)
	require.Equal(x.t, want, got, "%q", question)
	require.Equal(x.t, wantText, gotText, "%q", question)
	if x.asked++; x.repeatable && (x.asked%50 == 0 || wantTrap != "") {
		require.True(x.t, bytes.Equal(memoryOf(x.a), memoryOf(x.b)), "memory, after %q", question)
	}
	if wantTrap == "" {
		x.answers[want.status]++
		return
	}
	x.traps++
	x.renew()
}

// askOne gives the answer and what it refers to, or what the guest trapped with.
func (x *twins) askOne(i *instance, hook Hooks, buffer []byte, length int) (a answer, text, trap string) {
	into, ok := i.memory.Read(i.buffer, bufferBytes)
	require.True(x.t, ok)
	copy(into, buffer)
	f := map[Hooks]api.Function{Authenticate: i.authenticate, Authorize: i.authorize, Normalize: i.normalize}[hook]
	a, err := i.ask(f, length, nil)
	if err != nil {
		trap, _, _ = strings.Cut(err.Error(), "\n")
		return answer{}, "", trap
	}
	said, _ := i.memory.Read(a.at, a.length)
	return a, string(said), ""
}

// renew puts new instances in the place of those that trapped.
func (x *twins) renew() {
	x.a.close()
	x.b.close()
	var err error
	x.a = plainInstance(x.t, x.plain)
	x.b, err = x.metered.start()
	require.NoError(x.t, err)
	x.plain.slots[0].instance, x.metered.slots[0].instance = x.a, x.b
}

func memoryOf(i *instance) []byte {
	b, _ := i.memory.Read(0, i.memory.Size())
	return b
}

// A questioner makes questions of words.
type questioner struct {
	rnd     *rand.Rand
	words   []string
	careful bool // in this question: words are whole
}

func (q *questioner) write(w *writer, hook Hooks) int {
	q.careful = q.rnd.IntN(2) == 0
	if hook == Authenticate {
		return w.authenticate(q.connect(), q.time())
	}
	r := q.request()
	if hook == Normalize {
		return w.normalize(r, r.Resources)
	}
	return w.authorize(r, r.Resources, q.time())
}

// time is now, or any other.
func (q *questioner) time() int64 {
	if q.rnd.IntN(2) == 0 {
		return 1_700_000_000_000 + q.rnd.Int64N(1<<36)
	}
	return q.rnd.Int64()
}

// word is one, or several, or a damaged one.
func (q *questioner) word() string {
	w := q.words[q.rnd.IntN(len(q.words))]
	if q.careful {
		return w
	}
	switch q.rnd.IntN(12) {
	case 0:
		return w + q.word()
	case 1:
		return w + "\n" + q.word()
	case 2:
		return w[:q.rnd.IntN(len(w)+1)]
	case 3:
		b := append([]byte(w), ' ')
		b[q.rnd.IntN(len(b))] ^= 1 << q.rnd.IntN(7)
		return string(b)
	case 4:
		return strings.Repeat(w, q.rnd.IntN(20))
	}
	return w
}

// segment is a word as the protocol lets it through.
func segment(word string) []byte {
	return []byte(strings.ReplaceAll(strings.ToValidUTF8(word, ""), "\x00", ""))
}

// context is a word, or some, a line each.
func (q *questioner) context() string {
	if !q.careful {
		return q.word()
	}
	var some []string
	for _, w := range q.words {
		if q.rnd.IntN(6) == 0 && len(w) < 20 {
			some = append(some, w)
		}
	}
	return strings.Join(some, "\n")
}

func (q *questioner) request() *Request {
	r := &Request{
		Namespace: q.word(), Remote: q.word(), Operation: Operation(1 + q.rnd.IntN(5)),
		Identity: &Identity{Authenticated: true, Principal: q.word(), Context: q.context()},
	}
	if q.rnd.IntN(2) == 0 {
		r.Operation = Lock
	}
	for range 1 + q.rnd.IntN(1+q.rnd.IntN(6)) {
		x := Resource{Mode: Mode(q.rnd.IntN(4))}
		if q.rnd.IntN(2) == 0 {
			for _, s := range strings.Split(q.word(), "/") { // one that has slashes is a path
				x.Path = append(x.Path, segment(s))
			}
		}
		if q.rnd.IntN(2) == 0 {
			x.Path = append(x.Path, segment(r.Identity.Principal))
		}
		for range q.rnd.IntN(4) {
			x.Path = append(x.Path, segment(q.word()))
		}
		r.Resources = append(r.Resources, x)
	}
	return r
}

// fieldNames are those that plugins look for.
var fieldNames = []string{"authorization", "cookie", "x-api-key", "token", "access_token", "subject", "subject-cn", "san-dns", "san-email", "san-uri", "issuer", "fingerprint-sha256"}

func (q *questioner) connect() *Connect {
	c := &Connect{
		Namespace: q.word(), Remote: q.word(), URLPath: "/v1", RawQuery: q.word(), TLS: q.rnd.IntN(2) == 0, Verified: q.rnd.IntN(2) == 0,
	}
	for range q.rnd.IntN(8) {
		f := Field{FieldKind(q.rnd.IntN(5)), q.word(), q.word()}
		if q.rnd.IntN(3) > 0 {
			f.Name = fieldNames[q.rnd.IntN(len(fieldNames))]
		}
		if q.rnd.IntN(3) == 0 {
			f.Value = "Bearer " + f.Value
		}
		c.Fields = append(c.Fields, f)
	}
	return c
}
