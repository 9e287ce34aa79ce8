package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"time"
)

// Options of a run. All but the Target have defaults.
type Options struct {
	Target   Target
	Space    string        // names of namespaces begin with it; "": fuzz
	Seed     uint64        // of everything that is drawn
	First    int           // the first round
	Rounds   int           // at most; 0: DefaultRounds
	Time     time.Duration // no round begins after it; 0: DefaultTime
	Patience time.Duration // for each thing that must happen; 0: DefaultPatience
	Findings int           // the run ends with so many; 0: one
	Progress io.Writer     // nil: none

	asFound bool // no shorter script is looked for
}

// Defaults of Options.
const (
	DefaultRounds   = 1000
	DefaultTime     = time.Minute
	DefaultPatience = 10 * time.Second
)

// roundBytes is what a round's script is drawn from.
const roundBytes = 600

// stormEvery: so many rounds, and then a storm.
const stormEvery = 5

// Report is what came of a run.
type Report struct {
	Rounds     int // played, storms and findings among them
	Steps      int
	StormLocks int
	Findings   []Finding
}

// Finding is a promise that was broken.
type Finding struct {
	Round   int
	Storm   bool
	Err     error
	Script  []string // the least that it takes, as far as that was found out
	Repeats bool     // it was met again when the script was played again
	Text    string   // transcript, or history
}

// Run plays rounds until there are enough of them, or of findings, or the time is over. The error says why
// it could not begin, or go on: the server can't be reached, it doesn't want to (*Refused), or ctx ended.
func Run(ctx context.Context, o Options) (Report, error) {
	p := &prober{Options: o.orDefaults(), run: rand.Uint32()}
	deadline := time.Now().Add(p.Time)
	if err := p.reach(ctx); err != nil {
		return p.report, err
	}
	for n := p.First; n-p.First < p.Rounds && len(p.report.Findings) < p.Findings && time.Now().Before(deadline); n++ {
		if err := p.round(ctx, n); err != nil {
			return p.report, err
		}
	}
	return p.report, nil
}

func (o Options) orDefaults() Options {
	o.Space = cmp.Or(o.Space, "fuzz")
	o.Rounds = cmp.Or(o.Rounds, DefaultRounds)
	o.Time = cmp.Or(o.Time, DefaultTime)
	o.Patience = cmp.Or(o.Patience, DefaultPatience)
	o.Findings = cmp.Or(o.Findings, 1)
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return o
}

// prober is a run.
type prober struct {
	Options
	run    uint32 // in names of namespaces, so that no run meets what is left of another
	spaces int    // used so far
	report Report
}

// space is a namespace that nobody has used.
func (p *prober) space() string {
	p.spaces++
	return fmt.Sprintf("%s-%08x-%d", p.Space, p.run, p.spaces)
}

// reach looks whether the server is one, and lets itself be probed.
func (p *prober) reach(ctx context.Context) error {
	version, err := "v1", error(nil)
	if p.Target.isV2() {
		version = "v2"
		_, err = PlayV2(ctx, &p.Target, p.space(), ScriptV2{Clients: 1, Steps: []StepV2{{act: doStandStill}}}, p.Patience)
	} else {
		lock := Step{act: say, text: `{"action":"lock","resources":[{"type":"read","path":["a"]}]}`}
		_, err = Play(ctx, &p.Target, p.space(), Script{Clients: 1, Steps: []Step{lock}}, p.Patience)
		if errors.Is(err, errNothingBefore) { // version 1 has no words for the grace period
			return &Refused{fmt.Sprintf("if it was killed, it grants nothing until its grace period is over: %v", err)}
		}
	}
	var refused *Refused
	if err != nil && !errors.As(err, &refused) && ctx.Err() == nil {
		return fmt.Errorf("that is no server of protocol %s that can be probed: %w", version, err)
	}
	return err
}

// isV2 says whether the server is one of version 2: the path tells.
func (t *Target) isV2() bool { return path.Base(t.URL.Path) == "v2" }

// round plays one, and notes what it finds.
func (p *prober) round(ctx context.Context, n int) error {
	rng := rand.New(rand.NewPCG(p.Seed, uint64(n)))
	f := Finding{Round: n}
	switch data := roundData(rng); {
	case p.Target.isV2():
		script := ScriptV2Of(data)
		script.Steps = append(script.Steps, slowStepsV2(n)...)
		playRound(ctx, p, &f, script.Steps, func(steps []StepV2) (Played, error) {
			return PlayV2(ctx, &p.Target, p.space(), ScriptV2{script.Clients, steps}, p.Patience)
		})
	case n%stormEvery == stormEvery-1:
		f.Storm = true
		f.Text, f.Err = Storm(ctx, &p.Target, p.space(), rng.Uint64(), p.Patience)
		p.report.StormLocks += stormClients * stormLocks
	default:
		script := ScriptOf(data)
		playRound(ctx, p, &f, script.Steps, func(steps []Step) (Played, error) {
			return Play(ctx, &p.Target, p.space(), Script{script.Clients, steps}, p.Patience)
		})
	}
	if f.Err != nil && !isFinding(ctx, f.Err) {
		return f.Err
	}
	p.report.Rounds++
	if f.Err != nil {
		p.report.Findings = append(p.report.Findings, f)
	}
	fmt.Fprintf(p.Progress, "round %d: %v\n", n, cmp.Or[any](f.Err, "nothing found"))
	return nil
}

// roundData is what a script is drawn from.
func roundData(rng *rand.Rand) []byte {
	data := make([]byte, roundBytes)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

// playRound plays a script, and looks for a shorter one if it has broken a promise.
func playRound[S fmt.Stringer](ctx context.Context, p *prober, f *Finding, steps []S, play func([]S) (Played, error)) {
	played, err := play(steps)
	p.report.Steps += played.Steps
	f.Text, f.Err = played.Transcript, err
	if isFinding(ctx, err) && !p.asFound {
		shrink(ctx, f, steps[:played.Steps], play) // the others don't matter
	}
}

// isFinding tells broken promises from reasons to stop.
func isFinding(ctx context.Context, err error) bool {
	var refused *Refused
	return err != nil && ctx.Err() == nil && !errors.As(err, &refused)
}

// Bounds of the search for a shorter script.
const (
	shrinkTime = 30 * time.Second
	shrinkMost = 300 // scripts tried
)

// shrink looks for a script with fewer steps that also breaks a promise, if perhaps another one.
func shrink[S fmt.Stringer](ctx context.Context, f *Finding, steps []S, play func([]S) (Played, error)) {
	deadline, tried := time.Now().Add(shrinkTime), 0
	breaks := func(less []S) bool {
		if tried++; tried > shrinkMost || time.Now().After(deadline) {
			return false
		}
		played, err := play(less)
		if !isFinding(ctx, err) {
			return false
		}
		steps = less[:played.Steps]
		f.Text, f.Err, f.Repeats = played.Transcript, err, true
		return true
	}
	if breaks(steps) {
		for size := len(steps) / 2; size > 0; size /= 2 {
			for at := 0; at < len(steps); {
				if !breaks(slices.Concat(steps[:at], steps[min(at+size, len(steps)):])) {
					at += size
				}
			}
		}
	}
	for _, s := range steps {
		f.Script = append(f.Script, s.String())
	}
}
