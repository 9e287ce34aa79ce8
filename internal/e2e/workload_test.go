package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
	"github.com/locktopus-project/locktopus/v2/internal/testseed"
)

const (
	workloadMembers = 96
	workloadPhases  = 3
	workloadPhase   = 1500 * time.Millisecond
)

var workloadSpaces = []string{"one", "two", "three"}

// TestRandomWorkload lets many clients do what clients do, the bad ones too, and has the oracle judge
// what they saw. Now and then everybody stands still, holding and waiting: then nobody may be
// waiting without a reason. In the end everybody is served.
func TestRandomWorkload(t *testing.T) {
	srv := start(t, setup{config: "[limits]\nping_interval = \"1s\"\npong_timeout = \"2s\"\n"})
	w := &world{t: t, srv: srv, news: make(chan struct{}, 1)}
	seed := testseed.New(t)
	for i := range workloadMembers {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		w.members = append(w.members, &member{
			w: w, n: i, rng: rng, space: workloadSpaces[rng.IntN(len(workloadSpaces))],
		})
	}
	for phase := range workloadPhases + 1 {
		w.finishing = phase == workloadPhases
		w.run()
		if !w.finishing {
			w.settle()
		}
	}
	w.silent.Wait() // the server has noticed all who went without a word
	for _, v := range w.verdicts() {
		t.Error(v)
	}
	for _, space := range workloadSpaces {
		eventually(t, "abandoned locks go", func() bool { return srv.stats(space) == statistics{} })
	}
	require.False(t, t.Failed())
	t.Log(w.summary())
}

// world is the workload as a whole.
type world struct {
	t         *testing.T
	srv       *server
	members   []*member
	finishing bool          // nobody begins anything; changed only while nobody runs
	halt      chan struct{} // closed: everybody stands still; replaced only while nobody runs
	late      atomic.Bool   // the phase is about to end: who goes silent now doesn't hold up the rest of it
	silent    sync.WaitGroup
	news      chan struct{} // holds one when a request was acquired

	mu      sync.Mutex // guards history, its records, and broken
	history []*oracle.Record
	broken  []string // what went wrong with members themselves
}

// run lets everybody work for a phase, or to the end.
func (w *world) run() {
	w.halt = make(chan struct{})
	var running sync.WaitGroup
	for _, m := range w.members {
		running.Go(m.work)
	}
	if !w.finishing {
		<-time.After(workloadPhase)
		w.late.Store(true)
		<-time.After(workloadPhase / 8)
		close(w.halt)
	}
	running.Wait()
	w.late.Store(false)
}

// settle waits until nobody is owed anything, and the server's own numbers agree with what clients
// know: who went is forgotten, who is left either holds or waits.
func (w *world) settle() {
	for _, m := range w.members {
		m.listen()
	}
	deadline := time.After(patience)
	for {
		debts := w.owed()
		if len(debts) == 0 {
			break
		}
		select {
		case <-w.news:
		case <-deadline:
			w.t.Fatalf("nothing stands in their way, and still they wait:\n\t%s", strings.Join(debts, "\n\t"))
		}
	}
	for _, space := range workloadSpaces {
		holding, waiting := w.count(space)
		eventually(w.t, "the server agrees about "+space, func() bool {
			st := w.srv.stats(space)
			return st.GroupsAcquired == holding && st.GroupsPending == waiting
		})
	}
	for _, m := range w.members {
		m.listened()
	}
}

func (w *world) owed() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.broken) > 0 {
		w.t.Fatal(strings.Join(w.broken, "\n"))
	}
	for _, r := range oracle.Owed(w.history) {
		all = append(all, r.String())
	}
	return all
}

func (w *world) count(space string) (holding, waiting int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.history {
		switch {
		case r.Space != space || r.How != oracle.Alive:
		case r.Acquired != 0:
			holding++
		default:
			waiting++
		}
	}
	return holding, waiting
}

func (w *world) verdicts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(oracle.Judge(w.history), w.broken...)
}

func (w *world) summary() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := map[string]int{}
	for _, r := range w.history {
		n["requests"]++
		if r.Acquired != 0 {
			n["acquired"]++
		}
		if r.How == oracle.Dropped {
			n["dropped"]++
		}
		if r.Held != 0 {
			n["abandoned"]++
		}
	}
	return fmt.Sprint(n)
}

// event is what a member's connection brings.
type event struct {
	answer
	at  oracle.Moment
	err error
}

// member is a client that draws what it does. Its fields belong to its own goroutine, of which there
// is one at a time: work, or listening between the phases.
type member struct {
	w     *world
	n     int
	rng   *rand.Rand
	space string

	conn    *rawClient // nil: not connected
	events  chan event
	abandon time.Duration
	current *oracle.Record // alive: held, or waited for

	quiet, quieted chan struct{}
}

// work goes on until the world halts, or, when it is finishing, until the member has nothing left.
func (m *member) work() {
	for !m.w.stopped() {
		if !m.turn() {
			return // in the middle of something: the next phase goes on with it
		}
		if m.w.finishing && m.current == nil {
			m.part()
			return
		}
	}
}

func (w *world) stopped() bool {
	select {
	case <-w.halt:
		return true
	default:
		return false
	}
}

// turn does one thing. False: the world halted meanwhile, or something broke.
func (m *member) turn() bool {
	switch {
	case m.current == nil && m.w.finishing:
		return true
	case m.current == nil:
		return m.connect() && m.begin()
	case m.current.Acquired == 0:
		return m.wait()
	}
	return m.finish()
}

func (m *member) connect() bool {
	if m.conn != nil && m.rng.IntN(50) > 0 {
		return true
	}
	if !m.part() {
		return false
	}
	m.abandon = []time.Duration{0, 2 * time.Millisecond, 20 * time.Millisecond}[m.rng.IntN(3)]
	c, _, err := dialRawFrom("", m.w.srv.target(m.space, m.abandon))
	if !m.check(err) {
		return false
	}
	if m.rng.IntN(2) == 0 {
		c.rng = rand.New(rand.NewPCG(m.rng.Uint64(), 0))
	}
	m.conn, m.events = c, make(chan event, 4)
	go receive(c, m.events)
	return true
}

// part closes the connection between two locks, properly.
func (m *member) part() bool {
	if m.conn == nil {
		return true
	}
	if !m.check(m.conn.write(frame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))) {
		return false
	}
	m.conn = nil
	return m.check(wantClosed((<-m.events).err, int(ws.StatusNormalClosure)))
}

// receive stamps what comes, until the connection ends.
func receive(c *rawClient, events chan<- event) {
	defer c.Conn.Close()
	defer close(events)
	for {
		text, err := c.Recv()
		e := event{at: oracle.Now(), err: err}
		if err == nil {
			e.answer, e.err = parseAnswer(text)
		}
		events <- e
		if e.err != nil {
			return
		}
	}
}

// draw makes up a request on a small tree, where many conflict and many don't.
func (m *member) draw() []resource {
	rs := make([]resource, 1+m.rng.IntN(3))
	for i := range rs {
		depth := 1 + m.rng.IntN(3)
		if m.rng.IntN(100) == 0 {
			depth = 0
		}
		rs[i].Write = m.rng.IntN(2) == 0
		for range depth {
			rs[i].Path = append(rs[i].Path, string(rune('a'+m.rng.IntN(6))))
		}
	}
	return rs
}

// begin asks for a lock; now and then it takes the request back in the same packet, or goes at once.
func (m *member) begin() bool {
	r := &oracle.Record{Space: m.space, Member: m.n, Resources: m.draw(), Asked: oracle.Now()}
	m.w.mu.Lock()
	m.w.history = append(m.w.history, r)
	m.w.mu.Unlock()
	m.current = r
	switch fate := m.rng.IntN(100); {
	case fate < 5:
		m.end(oracle.Released)
		both := append(frame(ws.OpText, true, []byte(lockText(r.Resources...))), frame(ws.OpText, true, []byte(releaseText))...)
		return m.check(m.conn.write(both)) && m.answered(r) && m.ready(r)
	case fate < 7:
		return m.check(m.conn.Send(lockText(r.Resources...))) && m.leave()
	}
	return m.check(m.conn.Send(lockText(r.Resources...))) && m.answered(r)
}

// answered takes the answer to a lock.
func (m *member) answered(r *oracle.Record) bool {
	e := <-m.events
	if !m.check(e.err) {
		return false
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	r.ID, r.Answered = e.id, e.at
	switch {
	case e.action != "lock", e.state != "acquired" && e.state != "enqueued":
		return m.fail("answer %+v to a lock", e.answer)
	case e.state == "acquired" && r.How == oracle.Alive:
		r.Acquired = e.at
	}
	return true
}

// wait waits for the news that the lock is acquired, or loses patience.
func (m *member) wait() bool {
	switch fate := m.rng.IntN(100); {
	case m.w.finishing:
		select {
		case e := <-m.events:
			return m.granted(e)
		case <-time.After(patience):
			return m.check(errors.New("never served"))
		}
	case fate < 15:
		return m.giveBack() // may race the grant
	case fate < 20:
		return m.leave()
	}
	select {
	case e := <-m.events:
		return m.granted(e)
	case <-m.w.halt:
		return false
	}
}

func (m *member) granted(e event) bool {
	if !m.check(e.err) {
		return false
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if want := (answer{m.current.ID, "lock", "acquired"}); e.answer != want {
		return m.fail("got %+v, want %+v", e.answer, want)
	}
	m.current.Acquired = e.at
	select {
	case m.w.news <- struct{}{}:
	default:
	}
	return true
}

// finish ends an acquired lock.
func (m *member) finish() bool {
	if !m.w.finishing && m.rng.IntN(25) == 0 {
		return m.leave()
	}
	return m.giveBack()
}

// giveBack releases, and takes the answer unless the connection is dropped behind the release.
func (m *member) giveBack() bool {
	r := m.current
	m.end(oracle.Released)
	if !m.check(m.conn.Send(releaseText)) {
		return false
	}
	if !m.w.finishing && m.rng.IntN(40) == 0 {
		m.conn.Drop()
		m.forsake()
		return true
	}
	return m.ready(r)
}

// ready takes the answer to a release, and a grant that crossed it.
func (m *member) ready(r *oracle.Record) bool {
	e := <-m.events
	if r.Acquired == 0 && e.answer == (answer{r.ID, "lock", "acquired"}) {
		e = <-m.events
	}
	if !m.check(e.err) {
		return false
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if want := (answer{r.ID, "release", "ready"}); e.answer != want {
		return m.fail("got %+v, want %+v", e.answer, want)
	}
	return true
}

// leave drops the connection in one of the ways that connections are dropped.
func (m *member) leave() bool {
	m.end(oracle.Dropped)
	ways := 2
	if m.w.late.Load() {
		ways = 3
	}
	switch m.rng.IntN(ways) {
	case 0:
		m.conn.write(frame(ws.OpClose, true, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")))
	case 1:
		m.conn.Drop()
	case 2:
		m.conn.silent.Store(true)
		m.w.silent.Add(1)
		events := m.events
		go func() {
			defer m.w.silent.Done()
			drain(events)
		}()
		m.conn = nil
		return true
	}
	m.forsake()
	return true
}

// forsake lets the connection end without the member.
func (m *member) forsake() {
	go drain(m.events)
	m.conn = nil
}

func drain(events <-chan event) {
	for range events {
	}
}

// end is called before the server can know: from here on the member claims nothing but that an
// acquired lock stays locked for its abandon timeout if the connection is dropped.
func (m *member) end(how oracle.Ending) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	r := m.current
	r.How, r.Ended = how, oracle.Now()
	if how == oracle.Dropped && r.Acquired != 0 {
		r.Held = r.Ended + oracle.Moment(m.abandon)
	}
	m.current = nil
}

// listen takes grants while everybody stands still.
func (m *member) listen() {
	m.quiet, m.quieted = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(m.quieted)
		for m.current != nil && m.current.Acquired == 0 {
			select {
			case e := <-m.events:
				if !m.granted(e) {
					return
				}
			case <-m.quiet:
				return
			}
		}
	}()
}

func (m *member) listened() {
	close(m.quiet)
	<-m.quieted
}

func (m *member) check(err error) bool {
	if err == nil {
		return true
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.fail("%v", err)
}

// fail says what went wrong with the member; the world's mutex is held.
func (m *member) fail(format string, args ...any) bool {
	m.w.broken = append(m.w.broken, fmt.Sprintf("member %d, %v: ", m.n, m.current)+fmt.Sprintf(format, args...))
	return false
}
