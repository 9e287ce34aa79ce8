package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"
)

// memory is a peer in this process: a channel for each path holds one token.
type memory struct {
	paths map[string]chan struct{}
	fault func(i int) error // of connect, and of the second lock
	loose bool              // it lets everybody in
}

func (m *memory) connect(_ context.Context, i int, path string) (locker, error) {
	if m.fault != nil {
		if err := m.fault(i); err != nil {
			return nil, err
		}
	}
	return &token{m, m.paths[path]}, nil
}

type token struct {
	m    *memory
	free chan struct{}
}

func (tk *token) lock(ctx context.Context, turn func() bool) error {
	if !turn() {
		return errEnded
	}
	if tk.m.loose {
		return nil
	}
	select {
	case <-tk.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (tk *token) unlock(context.Context) error {
	if !tk.m.loose {
		tk.free <- struct{}{}
	}
	return nil
}

// register makes a peer known for the time of a test.
func register(t *testing.T, m *memory) {
	peers["memory"] = func(_ context.Context, _ options, paths []string) (peer, error) {
		m.paths = map[string]chan struct{}{}
		for _, p := range paths {
			m.paths[p] = make(chan struct{}, 1)
			m.paths[p] <- struct{}{}
		}
		return m, nil
	}
	t.Cleanup(func() { delete(peers, "memory") })
}

// drivenBy serves a peer, and sends orders one by one; it returns what was answered, and serve's error.
func drivenBy(t *testing.T, opt options, orders int) (outcomes []outcome, err error) {
	opt.peer, opt.addr, opt.patience, opt.names = "memory", "nowhere", 10*time.Second, 1
	in, send := io.Pipe()
	receive, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- serve(t.Context(), opt, in, out)
		out.Close()
	}()
	lines := bufio.NewScanner(receive)
	for n := 0; lines.Scan(); {
		var a struct {
			Ready    bool
			Counting bool
			outcome
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &a))
		switch {
		case a.Counting:
			continue
		case !a.Ready:
			outcomes = append(outcomes, a.outcome)
		}
		if n++; n > orders {
			send.Close()
		} else {
			go send.Write([]byte(`{"warm_up_ns":1000000,"slice_ns":20000000}` + "\n"))
		}
	}
	return outcomes, <-done
}

func TestOrdersAreCarriedOut(t *testing.T) {
	register(t, &memory{})
	for _, paths := range []int{0, 1, 3} {
		outcomes, err := drivenBy(t, options{conns: 8, paths: paths}, 3)
		require.NoError(t, err)
		require.Len(t, outcomes, 3)
		for _, o := range outcomes {
			require.GreaterOrEqual(t, o.Slice, 20*time.Millisecond)
			if paths == 0 {
				require.Empty(t, o.HandOffs, "only shared paths are handed over")
			} else if o.Pairs > paths { // one of them was unlocked twice
				require.Positive(t, countOf(t, o.HandOffs))
			}
			if o.Pairs > 8 { // somebody locked and unlocked
				require.Positive(t, countOf(t, o.Waits))
			}
		}
	}
}

func countOf(t *testing.T, text string) int64 {
	h, err := hdrhistogram.Decode([]byte(text))
	require.NoError(t, err)
	return h.TotalCount()
}

func TestAPeerThatDoesNotExcludeIsFoundOut(t *testing.T) {
	register(t, &memory{loose: true})
	_, err := drivenBy(t, options{conns: 8, paths: 1}, 100)
	require.ErrorIs(t, err, errTwoHolders)
}

func TestAConnectionThatFailsEndsTheDriver(t *testing.T) {
	refused := errors.New("refused")
	register(t, &memory{fault: func(i int) error {
		if i == 3 {
			return refused
		}
		return nil
	}})
	_, err := drivenBy(t, options{conns: 8}, 1)
	require.ErrorIs(t, err, refused)
}

func TestTheFirstConnectionIsTriedAgain(t *testing.T) {
	tries := 0
	register(t, &memory{fault: func(i int) error {
		if i > 0 {
			return nil
		}
		if tries++; tries < 3 {
			return errors.New("starting up")
		}
		return nil
	}})
	outcomes, err := drivenBy(t, options{conns: 2}, 1)
	require.NoError(t, err)
	require.Len(t, outcomes, 1)
	require.Equal(t, 3, tries)
}

func TestWhatSpansAPauseIsNotCounted(t *testing.T) {
	d := newDriver()
	d.set(func() { d.order, d.running, d.counting = 1, true, true })
	p := &path{}
	order, began := d.begin()
	d.locked(p, order, began, true)
	require.EqualValues(t, 1, d.tally.waits.TotalCount())
	d.unlocking(p)
	order, began = d.begin()
	d.set(func() { d.order = 2 }) // another order: a pause lies between
	d.locked(p, order, began, true)
	require.EqualValues(t, 1, d.tally.waits.TotalCount())
	require.Zero(t, d.tally.handOff.TotalCount())
	d.unlocking(p)
	order, began = d.begin()
	d.locked(p, order, began, true)
	require.EqualValues(t, 2, d.tally.waits.TotalCount())
	require.EqualValues(t, 1, d.tally.handOff.TotalCount())
}

func TestStatesAreReadFromAnswers(t *testing.T) {
	for text, want := range map[string]string{
		`{"id":"1","action":"lock","state":"acquired"}`:       "acquired",
		`{"id":"1","action":"lock","state":"enqueued"}`:       "enqueued",
		`{"state":"ready","id":"1","action":"release"}`:       "ready",
		`{ "id":"1", "action":"release", "state" : "ready" }`: "ready",
	} {
		got, err := stateOf([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := stateOf([]byte("communication error: no"))
	require.Error(t, err)
}

func TestBadFlagsAreSentences(t *testing.T) {
	for _, args := range []string{
		"-peer oracle -addr x", "-peer etcd", "-peer etcd -addr x -conns 0", "-peer etcd -addr x -conns 10001",
		"-peer etcd -addr x -paths -1", "-peer etcd -addr x -names 0", "-peer etcd -addr x surplus", "-unknown",
	} {
		_, err := parseOptions(strings.Fields(args), io.Discard)
		require.Error(t, err, args)
	}
	opt, err := parseOptions(strings.Fields("-peer etcd -addr x -conns 7 -paths 2"), io.Discard)
	require.NoError(t, err)
	require.Equal(t, 7, opt.conns)
}
