package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/locktopus-project/locktopus/v2/bench/internal/report"
)

// driver is a process of bench/tools/peers, which drives one server through a Go library.
type driver struct {
	*process
	orders io.WriteCloser
	lines  chan string // of its output; closed at its end
	stall  time.Duration
}

// Its answers and our orders; see bench/tools/peers.
type (
	driverOrder struct {
		WarmUp time.Duration `json:"warm_up_ns"`
		Slice  time.Duration `json:"slice_ns"`
	}
	driverAnswer struct {
		Ready    bool          `json:"ready"`
		Counting bool          `json:"counting"`
		Pairs    float64       `json:"pairs"`
		Slice    time.Duration `json:"slice_ns"`
		Waits    string        `json:"waits"`
		HandOffs string        `json:"hand_offs"`
	}
)

// connectTime bounds how long a driver may take for its connections, and for the first locks of all.
const connectTime = time.Minute

// startDriver returns when all connections are there.
func (s *scene) startDriver(peer, addr string, conns, paths int) (*driver, error) {
	in, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, answers, err := os.Pipe()
	if err != nil {
		orders.Close()
		return nil, err
	}
	s.drivers++
	p, _, err := launch(spec{
		core: s.cores.generator, program: s.peersProgram, stdin: in, stdout: answers,
		args: []string{"-peer", peer, "-addr", addr, "-conns", strconv.Itoa(conns), "-paths", strconv.Itoa(paths), "-patience", connectTime.String(), "-names", strconv.Itoa(s.drivers)},
	})
	answers.Close()
	if err != nil {
		return nil, errors.Join(err, orders.Close(), out.Close())
	}
	d := &driver{process: p, orders: orders, lines: make(chan string), stall: 2*connectTime + s.opt.stall}
	s.atEnd(d.end)
	go func() {
		defer close(d.lines)
		defer out.Close()
		for text := bufio.NewScanner(out); text.Scan(); {
			d.lines <- text.Text()
		}
	}()
	a, err := d.answer()
	if err == nil && !a.Ready {
		err = errors.New("it isn't ready")
	}
	d.stall = s.opt.stall
	return d, err
}

// end lets it go; it may be called again.
func (d *driver) end() {
	d.orders.Close()
	d.process.stop()
	for range d.lines { // whoever reads its output must come to the end
	}
}

var errDriverGone = errors.New("what drives the server ended")

// answer reads one line.
func (d *driver) answer() (a driverAnswer, err error) {
	select {
	case line, ok := <-d.lines:
		if !ok {
			<-d.gone
			return a, fmt.Errorf("%w:\n%s", errDriverGone, strings.Join(d.tail, "\n"))
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			return a, fmt.Errorf("an answer of what drives the server, %q: %w", line, err)
		}
		return a, nil
	case <-time.After(d.stall):
		return a, errStalled
	}
}

// drive is a contender's.
func (d *driver) drive(warmUp, slice time.Duration, counting func() error) (o outcome, err error) {
	text, err := json.Marshal(driverOrder{warmUp, slice})
	if err != nil {
		return o, err
	}
	if _, err := d.orders.Write(append(text, '\n')); err != nil {
		return o, errors.Join(errDriverGone, err)
	}
	d.stall += warmUp + slice
	defer func() { d.stall -= warmUp + slice }()
	var a driverAnswer
	for range 2 { // when counting begins and when it ends
		if a, err = d.answer(); err == nil && !a.Counting {
			err = errors.New("it doesn't count")
		}
		if err == nil {
			err = counting()
		}
		if err != nil {
			return o, err
		}
	}
	if a, err = d.answer(); err != nil {
		return o, err
	}
	return outcome{pairs: a.Pairs, took: a.Slice, values: func(s *report.Slice) error {
		return errors.Join(s.SetEncoded("lock", a.Waits), s.SetEncoded("hand-off", a.HandOffs))
	}}, nil
}
