package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/internal/session"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
	"github.com/locktopus-project/locktopus/v2/wsnet"
)

// TestAnswersHaveRoomInTheOutput behind what may wait there when the next request is read.
func TestAnswersHaveRoomInTheOutput(t *testing.T) {
	for _, c := range []struct{ output, pause, want int }{
		{1 << 20, 64 << 10, session.Defaults.AnswerBytes},
		{256 << 10, 64 << 10, 192<<10 - 1024},
		{256 << 10, 256 << 10, 128<<10 - 1024}, // who sets it so has it so
		{4096, 1024, 2048},
		{4096, 4096, 1024},
		{500_000_000, 1024, session.Defaults.AnswerBytes},
	} {
		require.Equal(t, c.want, answerBytes(&config.Limits{OutputBytes: c.output, PauseReadingBytes: c.pause}), "%+v", c)
	}
}

// leaves calls f with each field of a struct that is none itself, and its name; of those in it with a point between.
func leaves(v reflect.Value, under string, f func(name string, field reflect.Value)) {
	for i := range v.NumField() {
		name := under + v.Type().Field(i).Name
		if v.Field(i).Kind() == reflect.Struct {
			leaves(v.Field(i), name+".", f)
		} else {
			f(name, v.Field(i))
		}
	}
}

// renamed are the settings that have another name in server.Settings than in the configuration.
var renamed = map[string]string{
	"Limits.PauseReadingBytes": "Net.PauseBytes",
	"Limits.NamespaceRequests": "Engine.Requests", "Limits.NamespaceBytes": "Engine.Bytes",
	"Limits.SessionLocks": "Sessions.Locks", "Limits.SessionAnswers": "Sessions.Answers", "Limits.SessionEvents": "Sessions.Events",
	"Limits.SessionWatches": "Sessions.Watches", "Limits.NamespaceWatches": "Sessions.AllWatches",
	"Limits.SessionNameBytes": "Sessions.NameBytes", "Limits.NoteBytes": "Sessions.NoteBytes",
	"Limits.Sessions": "SessionsMax", "Limits.SessionsPerAddress": "SessionsFrom", "Limits.AbandonedPerAddress": "Abandoned",
	"Limits.NamespaceNameBytes":   "NamespaceName",
	"Locks.DefaultAbandonTimeout": "DefaultAbandon", "Locks.AbandonTimeoutMax": "AbandonMax",
	"Server.AllowedOrigins": "Origins", "Log.Clients": "LogClients", "Log.Locks": "LogLocks",
}

// TestEachSettingReachesTheServer in the place that is meant: no two are mixed up, and none is forgotten.
func TestEachSettingReachesTheServer(t *testing.T) {
	all := map[string]bool{}
	leaves(reflect.ValueOf(config.Config{}), "", func(key string, _ reflect.Value) {
		table, name, _ := strings.Cut(key, ".")
		places := []string{name, "Net." + name, "Engine." + name, "Sessions." + name}
		if other := renamed[key]; other != "" {
			places = []string{other}
		}
		var c config.Config
		leaves(reflect.ValueOf(&c).Elem(), "", func(name string, field reflect.Value) {
			if name == key {
				distinct(field)
			}
		})
		var reached []string
		leaves(reflect.ValueOf(settings(&c)), "", func(name string, field reflect.Value) {
			if name != "Sessions.AnswerBytes" && !field.IsZero() { // which follows from others: see above
				reached = append(reached, name)
			}
		})
		if table == "Limits" || table == "Locks" || table == "Sessions" || renamed[key] != "" {
			require.Len(t, reached, 1, key)
			require.Contains(t, places, reached[0], key)
			all[reached[0]] = true
		} else {
			require.Empty(t, reached, key)
		}
	})
	leaves(reflect.ValueOf(server.Settings{}), "", func(name string, _ reflect.Value) {
		require.True(t, all[name] || name == "Sessions.AnswerBytes", "no setting reaches %s", name)
	})
}

// distinct gives a field a value that isn't its zero value.
func distinct(field reflect.Value) {
	switch field.Kind() {
	case reflect.Bool:
		field.SetBool(true)
	case reflect.Slice:
		field.Set(reflect.MakeSlice(field.Type(), 1, 1))
	case reflect.String:
		field.SetString("x")
	case reflect.Uint64:
		field.SetUint(1)
	default:
		field.SetInt(1)
	}
}

// TestPackagesHaveTheDefaultsOfTheFile where they have any of their own.
func TestPackagesHaveTheDefaultsOfTheFile(t *testing.T) {
	c, err := config.Load(config.Input{})
	require.NoError(t, err)
	set := settings(&c.Config)
	require.Equal(t, wsnet.DefaultLimits(), set.Net)
	require.Equal(t, session.Defaults, set.Sessions)
	require.Equal(t, host.DefaultLimits(), pluginSpec(config.NewPlugin()).Limits)
}
