package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/locktopus-project/locktopus/v2/internal/admin"
	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// adminToken is what administrators have to show: the environment's, or that of the file. "" if nobody listens
// for them.
func (p process) adminToken(c *config.Config) (string, *fileFault) {
	switch token := p.getenv(config.TokenVariable); {
	case c.Admin.Listen == "":
		return "", nil
	case token != "":
		if err := admin.CheckToken(token); err != nil {
			return "", &fileFault{"admin.listen", fmt.Errorf("environment %s: %w", config.TokenVariable, err)}
		}
		return token, nil
	case c.Admin.TokenFile == "":
		return "", &fileFault{"admin.listen", fmt.Errorf("needs a token: name a file that holds it (admin.token_file), or put it into the environment (%s)", config.TokenVariable)}
	}
	token, err := readToken(c.Admin.TokenFile)
	if err != nil {
		return "", &fileFault{"admin.token_file", err}
	}
	return token, nil
}

// readToken reads a file that holds a token, and perhaps the end of its line.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, bareError(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, admin.TokenBytesMax+3))
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, bareError(err))
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if err := admin.CheckToken(string(text)); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return string(text), nil
}

// administration is what administrators reach.
type administration struct {
	*admin.Service
	listener net.Listener
	token    string // until the service is made
}

// loadToken finds the token, before anything is listened to.
func (s *service) loadToken() bool {
	token, fault := s.adminToken(&s.config.Config)
	if fault != nil {
		s.log.Error(faultLine(s.config, *fault))
		return false
	}
	if s.config.Admin.Listen != "" {
		s.admin = &administration{token: token}
	}
	return true
}

// openAdmin listens for administrators.
func (s *service) openAdmin() (err error) {
	if s.admin == nil {
		return nil
	}
	s.admin.listener, err = openSocket(s.config.Admin.Listen, "admin.listen")
	return err
}

// serveAdmin lets administrators in, once there is a server.
func (s *service) serveAdmin(tc *tls.Config) {
	if s.admin == nil {
		return
	}
	c := &s.config.Admin
	s.admin.Service = admin.New(s.server, s.admin.token, admin.Limits{
		Connections: c.Connections, RequestBytes: c.RequestBytes, Timeout: c.Timeout, ReasonBytes: c.ReasonBytes,
	}, s.log)
	s.admin.token = ""
	address := s.admin.listener.Addr()
	if tcp, ok := address.(*net.TCPAddr); ok && tc == nil && !tcp.IP.IsLoopback() {
		s.log.Warn("administrators' token crosses the network unencrypted: turn TLS on (server.tls), or listen on a loopback address (admin.listen)",
			"address", address.String())
	}
	s.log.Info("listening for administrators", "admin_address", address.String(), "tls", tc != nil)
	go func() {
		if err := s.admin.Serve(s.admin.listener, tc); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Error("administrators can't connect any more", "error", err)
		}
	}()
}

// freshToken reads the token again; "" if nobody listens for administrators.
func (s *service) freshToken(next *config.Loaded) (string, bool) {
	token, fault := s.adminToken(&next.Config)
	if fault != nil {
		s.log.Error(faultLine(next, *fault))
		s.log.Error("nothing was reloaded: there is no good token for administrators; the old one stays in use")
		return "", false
	}
	return token, true
}

func (s *service) useToken(token string) {
	if s.admin != nil && s.admin.SetToken(token) {
		s.log.Info("administrators need another token now")
	}
}

// closeAdmin ends administration, when the server has ended.
func (s *service) closeAdmin() {
	if s.admin == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.config.Limits.CloseTimeout)
	defer cancel()
	s.admin.Close(ctx)
}
