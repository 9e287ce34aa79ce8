package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

const memoryOnly = "fencing ids are kept in memory only: they restart at 1 when the server does"

// service is a running server and what a reload needs to know. Its methods are called by one goroutine.
type service struct {
	process
	in      config.Input
	config  *config.Loaded // what is in effect
	level   slog.LevelVar
	log     *slog.Logger
	queue   *logQueue     // of log
	flush   time.Duration // how long the end waits for it
	certs   *certificates // nil: plain connections
	fence   *fence.Fence
	gate    *host.Gate // the plugins; nil before they are loaded
	server  *server.Server
	admin   *administration // nil: nobody listens for administrators
	signals <-chan os.Signal

	watched, polled map[string]fileState // the plugins' files as they were loaded last, and looked at last
}

func (p process) serve(args []string) int {
	var file, listen, stateDir string
	listenFlag := &flagValue{long: "--listen", value: &listen}
	stateFlag := &flagValue{long: "--state-dir", value: &stateDir}
	if _, err := parseFlags(args, 0, &flagValue{long: "--config", short: "-c", value: &file}, listenFlag, stateFlag); err != nil {
		return p.misused("serve", "locktopus serve: %v", err)
	}
	s := &service{process: p, in: config.Input{Path: file, Environ: p.environ}}
	if listenFlag.given {
		s.in.Flags = append(s.in.Flags, config.Flag{Name: listenFlag.as, Key: "server.listen", Value: listen})
	}
	if stateFlag.given {
		s.in.Flags = append(s.in.Flags, config.Flag{Name: stateFlag.as, Key: "state.dir", Value: stateDir})
	}
	received, stop := signals()
	defer stop()
	s.signals = received
	return s.run()
}

// run is the server's life: start, serve until told to stop, stop.
func (s *service) run() int {
	c, err := config.Load(s.in)
	if err != nil {
		return s.configFaults(err)
	}
	s.config = c
	s.openLog()
	defer func() { s.queue.close(s.flush) }()
	if !s.loadCertificates() || !s.loadToken() {
		return exitConfig
	}
	if err := s.start(); err != nil {
		if !errors.Is(err, errPlugins) {
			s.log.Error(err.Error())
		}
		return s.failed(err)
	}
	s.notify(daemon.SdNotifyReady)
	for {
		timer := s.nextPoll()
		select {
		case <-timer:
			s.pollPlugins()
		case sig := <-s.signals:
			if !isReload(sig) {
				return s.stop(sig)
			}
			s.reload()
		}
	}
}

// nextPoll ticks when the plugins' files are to be looked at; never, if they aren't.
func (s *service) nextPoll() <-chan time.Time {
	if d := s.pollInterval(); d > 0 {
		return time.After(d)
	}
	return nil
}

// failed gives back what a start that failed had taken.
func (s *service) failed(err error) int {
	if s.gate != nil {
		s.gate.Close()
	}
	if s.fence != nil {
		s.fence.Close()
	}
	if errors.Is(err, errPlugins) {
		return exitConfig
	}
	return exitFailed
}

// errPlugins says that plugins can't be loaded; why was logged, fault by fault.
var errPlugins = errors.New("the plugins cannot be loaded")

// openLog puts a queue before standard error, which may be a pipe that nobody reads.
func (s *service) openLog() {
	s.level.Set(logLevel(s.config))
	s.queue, s.flush = newLogQueue(s.stderr, s.logHandler(s.stderr)), logPatience
	s.log = slog.New(s.logHandler(s.queue))
}

func (s *service) logHandler(w io.Writer) slog.Handler {
	opt := &slog.HandlerOptions{Level: &s.level}
	if s.config.Log.Format == "json" {
		return slog.NewJSONHandler(w, opt)
	}
	return slog.NewTextHandler(w, opt)
}

// logLevel reads log.level, whose words are slog's own.
func logLevel(c *config.Loaded) (l slog.Level) {
	if err := l.UnmarshalText([]byte(c.Log.Level)); err != nil {
		panic("locktopus: config let an unknown log.level through: " + err.Error())
	}
	return l
}

func (s *service) loadCertificates() bool {
	if s.config.Server.TLS.Cert == "" {
		return true
	}
	c, faults := loadTLS(s.config.Server.TLS)
	for _, f := range faults {
		s.log.Error(faultLine(s.config, f))
	}
	if len(faults) > 0 {
		return false
	}
	s.certs = &certificates{}
	s.certs.current.Store(c)
	return true
}

// start opens the state directory first: it is what keeps two servers apart.
func (s *service) start() error {
	if err := s.openFence(); err != nil {
		return err
	}
	loops := eventLoops(s.config.Server.Loops)
	if !s.openGate(loops) {
		return errPlugins
	}
	if err := s.openAdmin(); err != nil {
		return err
	}
	ln, passed, err := listen(s.config.Server.Listen)
	if err != nil {
		return err
	}
	if passed {
		s.log.Info("using the socket that the service manager passed; server.listen is not used")
	}
	var tc *tls.Config
	if s.certs != nil {
		tc = s.certs.config()
	}
	s.server, err = server.New(server.Options{
		Listener: ln,
		TLS:      tc,
		Loops:    loops,
		Settings: settings(&s.config.Config),
		Fence:    s.fence,
		Log:      s.log,
		Version:  programVersion(),
		Grace:    s.grace(),
		NewJudge: s.newJudge,
		Plugins:  s.gate.Stats,
	})
	if err != nil {
		return err
	}
	s.serveAdmin(tc)
	s.log.Info("listening", "address", ln.Addr().String(), "tls", tc != nil, "state_dir", s.fence.Dir(),
		"plugins", len(s.config.Plugins), "config", s.in.Path, "version", programVersion(), "pid", os.Getpid())
	return nil
}

// loopsMax is the most event loops that wsnet serves with, and the most that server.loops may be.
const loopsMax = 256

// eventLoops is how many event loops there will be, and leaves the runtime one processor more: a
// loop that is busy doesn't give its own up, and everything else, HTTP for example, would wait until
// the runtime takes it away, ten milliseconds at a time.
func eventLoops(configured int) int {
	loops := configured
	if loops == 0 {
		loops = min(runtime.GOMAXPROCS(0), loopsMax)
	}
	runtime.GOMAXPROCS(loops + 1)
	return loops
}

func (s *service) openFence() error {
	dir, err := s.stateDir(s.config.State.Dir)
	if err != nil {
		return err
	}
	if dir == "" {
		s.log.Warn(memoryOnly)
		s.fence = fence.Memory()
		return nil
	}
	s.fence, err = fence.Open(dir, s.config.State.Block, s.log)
	return err
}

// grace is for how long nothing is granted, as clients of servers before may believe in their locks.
func (s *service) grace() fence.Debt {
	owed := s.fence.Debt()
	switch longest := owed.Longest(); {
	case longest == 0:
		return fence.Debt{}
	case !s.config.State.Grace:
		s.log.Warn("the last server has not told all of its clients that their locks are lost, and others can have these at once (state.grace is false)",
			"for", longest.Round(time.Millisecond).String(), "in", where(owed))
		if err := s.fence.Forgive(); err != nil {
			s.log.Error("the next server will wait for them all the same", "error", err)
		}
		return fence.Debt{}
	default:
		s.log.Warn("the last server has not told all of its clients that their locks are lost: no lock is granted until they must know (state.grace)",
			"for", longest.Round(time.Millisecond).String(), "in", where(owed))
		return owed
	}
}

// namesShown is how many namespaces a line of the log names.
const namesShown = 8

// where says in which namespaces somebody is owed something.
func where(owed fence.Debt) string {
	var names, excused []string
	for name, left := range owed.Named {
		if left > 0 {
			names = append(names, name)
		} else {
			excused = append(excused, name)
		}
	}
	switch {
	case owed.Others == 0:
		return listed(names)
	case len(excused) > 0:
		return "all namespaces but " + listed(excused)
	}
	return "all namespaces"
}

// listed is some of those names, in their order.
func listed(names []string) string {
	slices.Sort(names)
	if more := len(names) - namesShown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namesShown], ", "), more)
	}
	return strings.Join(names, ", ")
}

// reload takes over what a new reading of the sources says, all of it or, if there is any fault, nothing.
func (s *service) reload() {
	s.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	defer s.notify(daemon.SdNotifyReady)
	next, err := config.Load(s.in)
	if err != nil {
		var faults config.Faults
		errors.As(err, &faults)
		for _, f := range faults {
			s.log.Error(f.Error())
		}
		s.log.Error("nothing was reloaded: the configuration is faulty", "faults", len(faults))
		return
	}
	changes := config.Changes(&s.config.Config, &next.Config)
	config.Keep(&s.config.Config, &next.Config)
	certs, ok := s.freshCertificates(next)
	if !ok {
		return
	}
	token, ok := s.freshToken(next)
	if !ok {
		return
	}
	if !s.loadPlugins(next) {
		s.log.Error("nothing was reloaded: a plugin is faulty; the old plugins stay in use")
		return
	}
	s.useCertificates(certs)
	s.useToken(token)
	s.server.Reload(settings(&next.Config))
	s.config = next
	s.tellChanges(changes, logLevel(next))
}

// freshCertificates reads the files again even if their names are the same; nil if TLS is off.
func (s *service) freshCertificates(next *config.Loaded) (*tls.Config, bool) {
	if s.certs == nil {
		return nil, true
	}
	c, faults := loadTLS(next.Server.TLS)
	for _, f := range faults {
		s.log.Error(faultLine(next, f))
	}
	if len(faults) > 0 {
		s.log.Error("nothing was reloaded: the TLS files are faulty; the old certificate stays in use", "faults", len(faults))
		return nil, false
	}
	return c, true
}

func (s *service) useCertificates(c *tls.Config) {
	if c == nil {
		return
	}
	s.certs.current.Store(c)
	s.log.Info("TLS files reloaded for new connections", "certificate_until", until(c).UTC().Format(time.RFC3339))
}

// tellChanges logs under the more talkative of the old level and the new one, so that the change of
// the level itself is told too.
func (s *service) tellChanges(changes []config.Change, level slog.Level) {
	s.level.Set(min(s.level.Level(), level))
	defer s.level.Set(level)
	restart := 0
	for _, c := range changes {
		if c.Restart {
			restart++
			s.log.Warn("setting changed, but needs a restart", "setting", c.Key, "in_effect", c.From, "configured", c.To)
			continue
		}
		s.log.Info("setting changed", "setting", c.Key, "from", c.From, "to", c.To)
	}
	s.log.Info("reloaded", "changed", len(changes)-restart, "need_restart", restart)
}

// stop lets clients finish for the drain time, unless a second signal says otherwise.
func (s *service) stop(sig os.Signal) int {
	drain := s.config.Server.Drain
	s.log.Info("stopping: clients may finish what they hold; a second signal stops at once", "signal", sig.String(), "drain", drain.String())
	// systemd would otherwise kill a service that takes longer than its TimeoutStopSec.
	longest := drain + s.config.Limits.CloseTimeout + 10*time.Second
	s.notify(fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d", daemon.SdNotifyStopping, longest.Microseconds()))
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := s.server.Shutdown(ctx)
		s.closeAdmin()
		done <- err
	}()
	for {
		select {
		case err := <-done:
			return s.stopped(err)
		case sig := <-s.signals:
			if isReload(sig) {
				s.log.Warn("nothing was reloaded: the server is stopping")
				continue
			}
			s.log.Warn("stopped at once by a second signal", "signal", sig.String())
			s.flush = lastWords
			return exitFailed
		}
	}
}

func (s *service) stopped(err error) int {
	code := exitOK
	late := errors.Is(err, context.DeadlineExceeded)
	switch {
	case late:
		s.log.Warn("the drain time was over before all clients had finished: they were disconnected")
	case err != nil:
		s.log.Error("shutting down failed", "error", err)
		code = exitFailed
	}
	if late || err == nil {
		s.settle()
	}
	s.gate.Close()
	if err := s.fence.Close(); err != nil {
		s.log.Error("closing the state directory failed: the next server may wait for more clients, and for longer, than it must (state.grace)", "error", err)
		code = exitFailed
	}
	s.log.Info("stopped")
	return code
}

// settle leaves word for the next server of how long it has to wait. All is closed by now.
func (s *service) settle() {
	owed := s.fence.Settle(s.server.Owed())
	if longest := owed.Longest(); longest > 0 && s.fence.Dir() != "" {
		s.log.Warn("clients that could not be told may believe in their locks: the next server will grant none until they must know (state.grace)",
			"for", longest.Round(time.Millisecond).String(), "in", where(owed))
	}
}

// notify tells systemd, if it started us, in which state the service is.
func (s *service) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("systemd could not be told the service's state", "state", state, "error", err)
	}
}
