package main

import (
	"github.com/locktopus-project/locktopus/v2/engine"
	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// settings maps the configuration to what a running server can take over.
func settings(c *config.Config) server.Settings {
	return server.Settings{
		Net:            netLimits(&c.Limits),
		Engine:         engineLimits(&c.Limits),
		MessageValues:  c.Limits.MessageValues,
		MemoryBytes:    c.Limits.MemoryBytes,
		Abandoned:      c.Limits.AbandonedPerAddress,
		Sessions:       sessionLimits(c),
		SessionsMax:    c.Limits.Sessions,
		SessionsFrom:   c.Limits.SessionsPerAddress,
		Namespaces:     c.Limits.Namespaces,
		NamespaceName:  c.Limits.NamespaceNameBytes,
		DefaultAbandon: c.Locks.DefaultAbandonTimeout,
		AbandonMax:     c.Locks.AbandonTimeoutMax,
		Origins:        c.Server.AllowedOrigins,
		LogClients:     c.Log.Clients,
		LogLocks:       c.Log.Locks,
	}
}

func netLimits(l *config.Limits) wsnet.Limits {
	return wsnet.Limits{
		Connections:           l.Connections,
		ConnectionsPerAddress: l.ConnectionsPerAddress,
		HeaderBytes:           l.HeaderBytes,
		MessageBytes:          l.MessageBytes,
		Fragments:             l.Fragments,
		OutputBytes:           l.OutputBytes,
		PauseBytes:            l.PauseReadingBytes,
		HandshakeTimeout:      l.HandshakeTimeout,
		MessageTimeout:        l.MessageTimeout,
		WriteTimeout:          l.WriteTimeout,
		CloseTimeout:          l.CloseTimeout,
		PingInterval:          l.PingInterval,
		PongTimeout:           l.PongTimeout,
	}
}

func engineLimits(l *config.Limits) engine.Limits {
	return engine.Limits{
		PathSegments: l.PathSegments,
		SegmentBytes: l.SegmentBytes,
		Resources:    l.Resources,
		Requests:     l.NamespaceRequests,
		Bytes:        l.NamespaceBytes,
	}
}

func sessionLimits(c *config.Config) session.Limits {
	return session.Limits{
		TTLDefault: c.Sessions.TTLDefault,
		TTLMin:     c.Sessions.TTLMin,
		TTLMax:     c.Sessions.TTLMax,
		WaitMax:    c.Sessions.WaitMax,
		LeaseMin:   c.Sessions.LeaseMin,
		Locks:      c.Limits.SessionLocks,
		Answers:    c.Limits.SessionAnswers,
		Events:     c.Limits.SessionEvents,
		Watches:    c.Limits.SessionWatches,
		AllWatches: c.Limits.NamespaceWatches,
		NoteBytes:  c.Limits.NoteBytes,
		NameBytes:  c.Limits.SessionNameBytes,

		AnswerBytes: answerBytes(&c.Limits),
	}
}

// answerBytes is how long an answer about others' locks may be: it has room in a connection's output behind all
// that is there when the next request is read, and isn't so long that it holds up others.
func answerBytes(l *config.Limits) int {
	const head = 1024 // of the message that it is in
	return min(max(l.OutputBytes-l.PauseReadingBytes, l.OutputBytes/2)-head, session.Defaults.AnswerBytes)
}

// hooksOf are the hooks that the words of plugins.hooks mean.
func hooksOf(words []string) (hooks host.Hooks) {
	for _, word := range words {
		h, err := parseHook(word)
		if err != nil {
			panic("locktopus: config let it through: " + err.Error())
		}
		hooks |= h
	}
	return hooks
}

// pluginSpec maps a plugin's configuration to what the host loads.
func pluginSpec(p config.Plugin) host.Spec {
	return host.Spec{
		Name: p.Name, Path: p.Path, Hooks: hooksOf(p.Hooks), Config: p.Config, Namespaces: p.Namespaces,
		Limits: host.Limits{
			ModuleBytes: p.ModuleBytes,
			MemoryBytes: p.MemoryBytes,
			Call:        p.CallTimeout,
			Init:        p.InitTimeout,
			LogLines:    p.LogLines,
		},
	}
}
