package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/locktopus-project/locktopus/v2/internal/config"
	"github.com/locktopus-project/locktopus/v2/internal/server"
	"github.com/locktopus-project/locktopus/v2/plugins/host"
)

// spareInstances are those of a plugin beside the one of each event loop: for the time in which an
// instance is replaced, and for connections that no loop serves (TLS).
const spareInstances = 2

// openGate loads the plugins, before anybody can connect.
func (s *service) openGate(loops int) bool {
	o := host.Options{Instances: loops + spareInstances, Log: s.log, CacheDir: s.pluginCache()}
	s.gate = host.New(o)
	return s.loadPlugins(s.config)
}

// pluginCache is where compiled plugins are kept: beside what else survives a restart.
func (s *service) pluginCache() string {
	if s.fence.Dir() == "" {
		return ""
	}
	return filepath.Join(s.fence.Dir(), "plugins")
}

// loadPlugins makes the gate what c says, or says what is wrong and leaves it as it is.
func (s *service) loadPlugins(c *config.Loaded) bool {
	seen := watchFiles(c.Plugins)
	err := s.gate.Load(pluginSpecs(c))
	s.watched = seen
	if err == nil {
		s.gate.SetBounds(host.Bounds{Segments: c.Limits.PathSegments, SegmentBytes: c.Limits.SegmentBytes})
		return true
	}
	for _, fault := range pluginFaults(err) {
		s.log.Error(faultLine(c, fault))
	}
	return false
}

// pluginFaults are what Gate.Load found, each at the setting that it is about.
func pluginFaults(err error) (faults []fileFault) {
	for _, e := range each(err) {
		le, ok := errors.AsType[*host.LoadError](e)
		if !ok {
			faults = append(faults, fileFault{"plugins", e})
			continue
		}
		for _, why := range each(le.Err) {
			faults = append(faults, fileFault{config.PluginKey(le.Plugin, faultySetting(why)), why})
		}
	}
	return faults
}

// faultySetting is the setting that a plugin can't be loaded with, if its fault speaks of one, and else
// where the module comes from.
func faultySetting(fault error) string {
	for _, f := range [...]struct{ word, setting string }{
		{" configuration", "config"}, // first, for a plugin may speak of anything in what it says of it
		{"module_bytes", "module_bytes"},
		{"memory_bytes", "memory_bytes"},
		{"init_timeout", "init_timeout"},
	} {
		if strings.Contains(fault.Error(), f.word) {
			return f.setting
		}
	}
	return "path"
}

// each takes errors that were joined apart, and those that were joined before.
func each(err error) (all []error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, e := range joined.Unwrap() {
		all = append(all, each(e)...)
	}
	return all
}

func pluginSpecs(c *config.Loaded) []host.Spec {
	specs := make([]host.Spec, len(c.Plugins))
	for k, p := range c.Plugins {
		specs[k] = pluginSpec(p)
	}
	return specs
}

// newJudge gives each of the server's workers its own asker.
func (s *service) newJudge() server.Judge { return s.gate.Caller() }

// fileState is what tells a file from what it was before.
type fileState struct {
	info os.FileInfo // nil: it can't be looked at
}

func (f fileState) same(o fileState) bool {
	if f.info == nil || o.info == nil {
		return f.info == nil && o.info == nil
	}
	return os.SameFile(f.info, o.info) && f.info.Size() == o.info.Size() && f.info.ModTime().Equal(o.info.ModTime())
}

// watchFiles takes note of the plugins' files as they are, behind symbolic links.
func watchFiles(plugins []config.Plugin) map[string]fileState {
	states := map[string]fileState{}
	for _, p := range plugins {
		info, err := os.Stat(p.Path)
		if err != nil {
			info = nil
		}
		states[p.Path] = fileState{info}
	}
	return states
}

// pollInterval is never so short that looking would be work.
func (s *service) pollInterval() time.Duration {
	if len(s.config.Plugins) == 0 || s.config.Server.PluginsPoll == 0 {
		return 0
	}
	return max(s.config.Server.PluginsPoll, 100*time.Millisecond)
}

// pollPlugins loads plugins whose files have changed since they were loaded last, or tried to be. A
// file that changed since the last look is left alone until it has been the same for two: somebody may be
// writing it.
func (s *service) pollPlugins() {
	now := watchFiles(s.config.Plugins)
	settled := s.polled != nil && sameFiles(now, s.polled)
	s.polled = now
	if !settled || sameFiles(now, s.watched) {
		return
	}
	s.log.Info("the file of a plugin has changed: loading")
	if s.loadPlugins(s.config) {
		s.log.Info("plugins reloaded", "plugins", len(s.config.Plugins))
	} else {
		s.log.Error("nothing was reloaded: a plugin is faulty; the old plugins stay in use")
	}
}

func sameFiles(a, b map[string]fileState) bool {
	if len(a) != len(b) {
		return false
	}
	for path, state := range a {
		if other, ok := b[path]; !ok || !state.same(other) {
			return false
		}
	}
	return true
}
