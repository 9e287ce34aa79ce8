package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// listen opens the server's socket: the one that a service manager passed (LISTEN_FDS), or else the
// one that server.listen names. Its errors are sentences that say what to do.
func listen(setting string) (ln net.Listener, passed bool, err error) {
	passedOn, err := activation.Listeners()
	if err != nil {
		return nil, true, fmt.Errorf("cannot take over the socket that the service manager passed: %w", err)
	}
	switch {
	case len(passedOn) > 1:
		return nil, true, fmt.Errorf("the service manager passed %d sockets; give the socket unit one ListenStream", len(passedOn))
	case len(passedOn) == 1 && passedOn[0] == nil:
		return nil, true, errors.New("the service manager passed something that is no listening stream socket; give the socket unit a ListenStream and Accept=no")
	case len(passedOn) == 1:
		return passedOn[0], true, nil
	}
	ln, err = openSocket(setting, "--listen or server.listen")
	return ln, false, err
}

// openSocket listens where a setting says, which can be changed with that.
func openSocket(setting, changedBy string) (net.Listener, error) {
	network, address, err := config.SplitListen(setting)
	if err != nil {
		return nil, fmt.Errorf("%s: the address %w", changedBy, err)
	}
	ln, err := net.Listen(network, address)
	if network == "unix" && addressInUse(err) && clearStale(address) {
		ln, err = net.Listen(network, address)
	}
	if err != nil {
		return nil, listenError(setting, changedBy, err)
	}
	return ln, nil
}

func listenError(setting, changedBy string, err error) error {
	switch {
	case addressInUse(err):
		return fmt.Errorf("cannot listen on %s: another process already does (another locktopus?); stop it, or choose another address with %s", setting, changedBy)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot listen on %s: this user may not; choose another address with %s", setting, changedBy)
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		err = oe.Err
	}
	return fmt.Errorf("cannot listen on %s: %w", setting, err)
}

// clearStale removes a unix socket that nobody listens on any more: a process that was killed leaves
// its socket behind. Anything else at that path is left alone.
func clearStale(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return false
	}
	return connectionRefused(err) && os.Remove(path) == nil
}
