package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/locktopus-project/locktopus/v2/internal/oracle"
	"github.com/locktopus-project/locktopus/v2/internal/wire"
)

// client is one of a round's.
type client struct {
	line
	abandon time.Duration
	request *request // alive
}

// round plays a script. Its errors are findings, but for Refused and the context's.
type round struct {
	target   *Target
	patience time.Duration
	space    string
	clients  []*client
	model
	log   *transcript
	steps int // that were begun
}

// Played is what was played of a script.
type Played struct {
	Steps      int // that were begun
	Transcript string
}

// Play plays a script in a namespace that nobody else uses, and waits for each thing that must happen as
// long as patience says. An error is a finding, unless it is a *Refused or the context's.
func Play(ctx context.Context, t *Target, space string, script Script, patience time.Duration) (Played, error) {
	r := newRound(t, space, script.Clients, patience)
	defer r.dropAll()
	err := r.play(ctx, script)
	return Played{r.steps, r.log.String()}, err
}

func newRound(t *Target, space string, clients int, patience time.Duration) *round {
	r := &round{target: t, patience: patience, space: space, log: newTranscript()}
	for range clients {
		r.join()
	}
	return r
}

// join adds a client, which isn't connected yet.
func (r *round) join() *client {
	c := &client{line: line{n: len(r.clients), log: r.log, patience: r.patience}}
	r.clients = append(r.clients, c)
	return c
}

func (r *round) play(ctx context.Context, script Script) error {
	if err := playAll(ctx, script.Steps, &r.steps, r.step); err != nil {
		return err
	}
	return r.finish()
}

// playAll plays steps one by one, and counts them.
func playAll[S any](ctx context.Context, steps []S, played *int, play func(S) error) error {
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		*played++
		if err := play(s); err != nil {
			return err
		}
	}
	return nil
}

// step has a client do something, and waits until everybody knows what that has led to.
func (r *round) step(s Step) error {
	if c := r.clients[s.client]; s.act == proceed {
		if s.act = say; c.request != nil {
			s.text = releaseText
		}
	}
	r.log.add("%v", s)
	if err := r.do(s); err != nil {
		return err
	}
	return r.settle()
}

func (r *round) do(s Step) error {
	c := r.clients[s.client]
	if err := r.connect(c, s.abandon); err != nil {
		return err
	}
	switch s.act {
	case say:
		return r.say(c, s)
	case sayTwice:
		return r.sayTwice(c, s)
	case cross:
		return r.cross(c, r.clients[s.other], s)
	case misframe:
		return r.misframe(c, badFrames[s.fault])
	case misdial:
		return r.target.refusesUpgrade(badUpgrades[s.fault], r.space, r.patience)
	case sendClose:
		return r.close(c)
	case hangUp, reset:
		r.leave(c, oracle.Now())
		c.drop(s.act == reset)
		return nil
	case ping:
		c.ping(s.payload)
		return c.heardAll()
	case standStill:
		return stillHere(r.lines())
	}
	panic("probe: a step has no such act")
}

func (r *round) connect(c *client, abandon time.Duration) (err error) {
	if c.conn != nil {
		return nil
	}
	c.abandon, c.pings = abandon, nil
	c.conn, err = r.target.open(r.space, abandon, r.patience)
	r.log.note(c.n, "connects, abandon timeout %v", abandon)
	return err
}

// hear is the next answer that a client gets.
func (r *round) hear(c *client) (a answer, at oracle.Moment, err error) {
	e, err := c.next()
	switch {
	case err != nil:
		return a, e.at, err
	case e.end != nil:
		return a, e.at, fmt.Errorf("client %d waits for an answer: %v", c.n, e.end)
	}
	if a, err = parseAnswer(e.text); err != nil {
		if refusal := refusalOf(e.text); refusal != nil {
			return a, e.at, refusal
		}
		return a, e.at, fmt.Errorf("client %d: %w", c.n, err)
	}
	return a, e.at, nil
}

// refusalOf knows the texts that say that the server, or one of its plugins, doesn't want to.
func refusalOf(text string) error {
	why, ok := strings.CutPrefix(text, faultPrefix)
	if !ok {
		return nil
	}
	for _, part := range []string{"denied by ", "could not judge", "older than the server's plugins", "authentication of this connection has expired", "shutting down", "try again later"} {
		if strings.Contains(why, part) {
			return &Refused{why}
		}
	}
	return nil
}

func (r *round) say(c *client, s Step) error {
	m, err := meaningOf(s.text)
	at := oracle.Now()
	c.send(s.framing, s.text)
	switch {
	case err == nil && m.action == wire.V1Lock && c.request == nil:
		return r.locked(c, m.resources)
	case err == nil && m.action == wire.V1Release && c.request != nil:
		return r.released(c, nil)
	case !utf8.ValidString(s.text):
		return r.mustEnd(c, at, codeText)
	}
	return r.mustFault(c, at)
}

// errNothingBefore is what a request must not wait for.
var errNothingBefore = errors.New("nothing is before it")

// locked takes the answer to a lock.
func (r *round) locked(c *client, rs []oracle.Resource) error {
	a, at, err := r.hear(c)
	if err != nil {
		return err
	}
	q := &request{id: a.id, client: c.n, resources: rs}
	living, ghosts := r.before(q)
	switch {
	case a.action != "lock":
		return fmt.Errorf("client %d asked for a lock; the answer is %v", c.n, a)
	case a.id <= r.highest:
		return fmt.Errorf("client %d got id %d, after %d was given", c.n, a.id, r.highest)
	case a.state == "acquired" && len(living) > 0:
		return fmt.Errorf("client %d acquired %s at once; %v is before it", c.n, oracle.Text(rs), living[0])
	case a.state == "enqueued" && len(living)+len(ghosts) == 0:
		return fmt.Errorf("client %d must wait for %s, and %w", c.n, oracle.Text(rs), errNothingBefore)
	}
	c.request = q
	r.add(q)
	if a.state == "acquired" {
		return r.told(q, at)
	}
	return nil
}

// told says that a client knows that its request is acquired: what stood in its way as a ghost is gone,
// and must not be gone too early.
func (r *round) told(q *request, at oracle.Moment) error {
	q.told = true
	_, ghosts := r.before(q)
	for _, g := range ghosts {
		if g.until > at {
			return fmt.Errorf("client %d acquired %s %v before the abandon timeout of %v is over", q.client, oracle.Text(q.resources), time.Duration(g.until-at), g)
		}
		r.remove(g)
	}
	return nil
}

func (q *request) String() string {
	state := "waits"
	if q.told {
		state = "holds"
	}
	if q.ghost {
		state += ", its client gone"
	}
	return fmt.Sprintf("id %d of client %d (%s, %s)", q.id, q.client, oracle.Text(q.resources), state)
}

// released takes the answer to a release. What may stand in the request's way until then, and go
// meanwhile, are ghosts and the given one: the news that it is acquired may cross the release.
func (r *round) released(c *client, going *request) error {
	q := c.request
	a, at, err := r.hear(c)
	if err != nil {
		return err
	}
	if !q.told && a == (answer{q.id, "lock", "acquired"}) {
		living, _ := r.before(q)
		if len(living) > 1 || len(living) == 1 && living[0] != going {
			return fmt.Errorf("client %d was granted %s; %v is before it", c.n, oracle.Text(q.resources), living[0])
		}
		if err := r.told(q, at); err != nil {
			return err
		}
		if a, _, err = r.hear(c); err != nil {
			return err
		}
	}
	if want := (answer{q.id, "release", "ready"}); a != want {
		return fmt.Errorf("client %d released; the answer is %v, not %v", c.n, a, want)
	}
	c.request = nil
	r.remove(q)
	return nil
}

// sayTwice sends a request and takes it back before it can have been answered.
func (r *round) sayTwice(c *client, s Step) error {
	m, err := meaningOf(s.text)
	at := oracle.Now()
	c.send(s.framing, s.text, frame(ws.OpText, true, []byte(releaseText))...)
	if err != nil || m.action != wire.V1Lock || c.request != nil {
		return r.mustFault(c, at)
	}
	if err := r.locked(c, m.resources); err != nil {
		return err
	}
	return r.released(c, nil)
}

// cross has two clients release at the same time, so that what one gives up may cross the other's release.
func (r *round) cross(c, d *client, s Step) error {
	if err := r.connect(d, s.abandon); err != nil {
		return err
	}
	first := c.request
	at := oracle.Now()
	c.send(s.framing, releaseText)
	d.send(s.framing, releaseText)
	release := func(c *client, going *request) error {
		if c.request == nil {
			return r.mustFault(c, at)
		}
		return r.released(c, going)
	}
	// Each may hear of the other's going first; what is taken out of the model first doesn't matter.
	second := d.request
	if err := release(d, first); err != nil {
		return err
	}
	return release(c, second)
}

const faultPrefix = "communication error: "

// faultBytesMax is what a fault's text may be.
const faultBytesMax = 4096

// mustFault reads the server's complaint and the end of the connection.
func (r *round) mustFault(c *client, at oracle.Moment) error {
	e, err := c.next()
	if err != nil {
		return err
	}
	text, isFault := strings.CutPrefix(e.text, faultPrefix)
	switch {
	case e.end != nil:
		return fmt.Errorf("client %d broke the protocol and waits to be told so: %v", c.n, e.end)
	case !isFault || text == "" || len(text) > faultBytesMax || strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("client %d broke the protocol; the answer is %s, which is not \"%s…\"", c.n, shorten(e.text), faultPrefix)
	}
	return r.mustEnd(c, at, codeFault)
}

// mustEnd reads the end of a connection that the server must close with one of these codes. Its client
// has done something at that moment that ends it.
func (r *round) mustEnd(c *client, at oracle.Moment, codes ...int) error {
	if err := c.mustEnd(codes...); err != nil {
		return err
	}
	r.leave(c, at)
	return nil
}

// leave takes note that a client goes; its conn is the caller's.
func (r *round) leave(c *client, at oracle.Moment) {
	if c.request != nil {
		r.model.leave(c.request, at, c.abandon)
		c.request = nil
	}
}

func (r *round) misframe(c *client, bad badFrame) error {
	at := oracle.Now()
	c.conn.send(framing{}, bad.bytes)
	return r.mustEnd(c, at, bad.codes...)
}

func (r *round) close(c *client) error {
	at := oracle.Now()
	if err := c.close(); err != nil {
		return err
	}
	r.leave(c, at)
	return nil
}

func (r *round) lines() (lines []*line) {
	for _, c := range r.clients {
		lines = append(lines, &c.line)
	}
	return lines
}

// settle waits until everybody knows what the last step has led to.
func (r *round) settle() error {
	for due := r.due(); len(due) > 0; due = r.due() {
		for _, q := range due {
			if err := r.granted(r.clients[q.client]); err != nil {
				return err
			}
		}
	}
	return nil
}

// granted waits for the news that a client's request is acquired.
func (r *round) granted(c *client) error {
	q := c.request
	_, ghosts := r.before(q)
	a, at, err := r.hear(c)
	if err != nil {
		return fmt.Errorf("%v should know that it is acquired: %w%s", q, err, gone(ghosts))
	}
	if want := (answer{q.id, "lock", "acquired"}); a != want {
		return fmt.Errorf("client %d waits for %v, and gets %v", c.n, want, a)
	}
	return r.told(q, at)
}

// gone names requests that were before another one, and should have gone with their clients.
func gone(ghosts []*request) string {
	if len(ghosts) == 0 {
		return ""
	}
	return fmt.Sprintf(" (before it were %v)", ghosts)
}

// finish has everybody leave, and looks at what is left: one more client must get the whole namespace.
func (r *round) finish() error {
	steps := []Step{{act: standStill}}
	for _, c := range r.clients {
		if c.conn != nil {
			steps = append(steps, Step{client: c.n, act: sendClose})
		}
	}
	last := r.join()
	all := `{"action":"lock","resources":[{"type":"write","path":[]}]}`
	for _, s := range append(steps, Step{client: last.n, text: all}, Step{client: last.n, text: releaseText}, Step{client: last.n, act: sendClose}) {
		if err := r.step(s); err != nil {
			return err
		}
	}
	return nil
}

// dropAll ends what is left of a round.
func (r *round) dropAll() {
	for _, c := range r.clients {
		c.drop(true)
	}
}
