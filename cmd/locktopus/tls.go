package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// certificates hands each new TLS connection the files as they were last loaded.
type certificates struct {
	current atomic.Pointer[tls.Config]
}

// config is what a listener of TLS connections gets, once and for all.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
}

// fileFault is a file that can't be used, and the setting that names it.
type fileFault struct {
	key string
	err error
}

// loadTLS reads the files that the settings name. All faults are returned, and no config if there are any.
func loadTLS(t config.TLS) (*tls.Config, []fileFault) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	var faults []fileFault
	read := func(key, path string) []byte {
		pem, err := os.ReadFile(path)
		if err != nil {
			faults = append(faults, fileFault{key, fmt.Errorf("cannot read %s: %w", path, bareError(err))})
		}
		return pem
	}
	cert, key := read("server.tls.cert", t.Cert), read("server.tls.key", t.Key)
	if len(faults) == 0 {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			faults = append(faults, fileFault{"server.tls.cert", fmt.Errorf("%s with %s: %w", t.Cert, t.Key, err)})
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if t.ClientCA != "" {
		if pem := read("server.tls.client_ca", t.ClientCA); pem != nil {
			c.ClientCAs = x509.NewCertPool()
			if !c.ClientCAs.AppendCertsFromPEM(pem) {
				faults = append(faults, fileFault{"server.tls.client_ca", fmt.Errorf("%s holds no certificate in PEM form", t.ClientCA)})
			}
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
		// A ticket would carry a client past authorities that were replaced since it was given.
		c.SessionTicketsDisabled = true
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

// until is when the loaded certificate ends.
func until(c *tls.Config) time.Time { return c.Certificates[0].Leaf.NotAfter }
