package server

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/internal/fence"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// metricsOf reads the page, by the rules of the format: each sample of a metric comes behind what it is, and once.
func metricsOf(t *testing.T, n *fakeNet) map[string]string {
	t.Helper()
	rec := httptest.NewRecorder()
	n.s.pages().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, rec.Code)
	require.Equal(t, "text/plain; version=0.0.4; charset=utf-8", rec.Header().Get("Content-Type"))
	head := regexp.MustCompile(`^# (HELP|TYPE) (locktopus_[a-z_]+) (.+)$`)
	line := regexp.MustCompile(`^(locktopus_[a-z_]+)(\{(?:[a-z]+="(?:[^"\\]|\\[\\n"])*",?)+\})? (\S+)$`)
	samples, kinds, helped := map[string]string{}, map[string]string{}, ""
	text, whole := strings.CutSuffix(rec.Body.String(), "\n")
	require.True(t, whole, "the last line has an end")
	for l := range strings.SplitSeq(text, "\n") {
		if m := head.FindStringSubmatch(l); m != nil {
			if m[1] == "HELP" {
				helped = m[2]
				continue
			}
			require.Equal(t, helped, m[2], l)
			require.NotContains(t, kinds, m[2])
			kinds[m[2]] = m[3]
			require.Equal(t, strings.HasSuffix(m[2], "_total"), m[3] == "counter", l)
			continue
		}
		m := line.FindStringSubmatch(l)
		require.NotNil(t, m, "%q", l)
		require.Equal(t, helped, m[1], l)
		require.NotContains(t, samples, m[1]+m[2])
		samples[m[1]+m[2]] = m[3]
	}
	return samples
}

func TestMetricsSayHowThingsAre(t *testing.T) {
	n := newFake(testSettings(), fence.Memory())
	holder, waiter := n.mustConnect(t, "namespace=n"), n.mustConnect(t, "namespace=n")
	holder.say(writeA)
	waiter.say(writeA)
	other := n.connectV2(t)
	other.greet(t, helloV2)
	require.Equal(t, "1", metricsOf(t, n)[`locktopus_requests{state="waiting"}`])
	waiter.say("nonsense")
	got := metricsOf(t, n)
	for name, want := range map[string]string{
		"connections": "3", "sessions": "1", "namespaces": "1", `requests{state="held"}`: "1", `requests{state="waiting"}`: "0",
		`faults_total{kind="request"}`: "1", "state_failing": "0", "grace_seconds": "0", "deadlocks_total": "0",
	} {
		require.Equal(t, want, got["locktopus_"+name], "%s of %v", name, got)
	}
	require.NotContains(t, got, "locktopus_denied_total{what=\"request\"}", "there are no plugins")
}

func TestMetricsOfPluginsHaveTheirNames(t *testing.T) {
	n := newFake(testSettings(), fence.Memory())
	n.s.plugins = func() []host.Stats {
		return []host.Stats{{Name: "acl", Calls: 9, Denied: 2, Traps: 1}, {Name: "a \"\\\n", Overruns: 1}}
	}
	got := metricsOf(t, n)
	for name, want := range map[string]string{
		`plugin_calls_total{plugin="acl"}`: "9", `plugin_denials_total{plugin="acl"}`: "2", `plugin_failures_total{plugin="acl",kind="trap"}`: "1",
		`plugin_failures_total{plugin="a \"\\\n",kind="overrun"}`: "1", `denied_total{what="connection"}`: "0",
	} {
		require.Equal(t, want, got["locktopus_"+name], "%s of %v", name, got)
	}
}
