package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// pluginConfig is a server's configuration with a plugin.
type pluginConfig struct{ name, file string }

// aclPolicy is what plugin-go has in its source.
const aclPolicy = `
[plugins.config]
allow = [
  { who = ["*"], modes = ["read"], paths = ["shared"] },
  { who = ["*"], modes = ["write", "permit"], paths = ["jobs/*"] },
  { who = ["*"], paths = ["teams/*/builds"] },
  { who = ["*"], paths = ["bench/*"] },
]
deny = [{ who = ["*"], modes = ["write", "permit"], paths = ["shared/prod"] }]
`

// pluginConfigs builds the plugins that there are compilers for: the smallest there can be, which
// shows what being asked costs, and one policy in two languages; and the user's own.
func (s *scene) pluginConfigs() ([]pluginConfig, error) {
	configs := []pluginConfig{{name: "none"}}
	module, err := moduleDir(s.ctx)
	if err != nil {
		return nil, err
	}
	add := func(name, wasm, policy string) error {
		file := filepath.Join(s.dir, fmt.Sprintf("plugins-%d.toml", len(configs)))
		configs = append(configs, pluginConfig{name, file})
		text := fmt.Sprintf("[[plugins]]\nname = \"bench\"\npath = %q\nhooks = [\"authorize\"]\n%s", wasm, policy)
		return os.WriteFile(file, []byte(text), 0o600)
	}
	if err := add("smallest", filepath.Join(module, "bench", "testdata", "allow.wasm"), ""); err != nil {
		return nil, err
	}
	if wasm, err := s.buildC(module); err != nil {
		s.remark("plugins: acl in C: %v", err)
	} else if err := add("acl (C)", wasm, aclPolicy); err != nil {
		return nil, err
	}
	wasm, err := s.buildGo(module)
	if err == nil {
		err = add("acl (Go)", wasm, "")
	}
	if s.opt.plugins != "" {
		configs = append(configs, pluginConfig{"yours", s.opt.plugins})
	}
	return configs, err
}

// buildC does what the README of the example says.
func (s *scene) buildC(module string) (string, error) {
	wasm := filepath.Join(s.dir, "acl.wasm")
	for _, tool := range []string{"clang", "wasm-ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s isn't installed: apt-get install clang lld", tool)
		}
	}
	return wasm, s.built(exec.CommandContext(s.ctx, "clang", filepath.Join(module, "plugins", "examples", "acl", "plugin.c"),
		"-std=c11", "--target=wasm32", "-O2", "-nostdlib", "-Wl,--no-entry", "-Wl,--stack-first", "-Wl,--strip-all", "-o", wasm))
}

func (s *scene) buildGo(module string) (string, error) {
	wasm := filepath.Join(s.dir, "go.wasm")
	cmd := exec.CommandContext(s.ctx, "go", "build", "-C", module, "-buildmode=c-shared", "-ldflags=-s -w", "-o", wasm, "./bench/plugin-go")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	return wasm, s.built(cmd)
}

// built runs a compiler.
func (b *bench) built(cmd *exec.Cmd) error {
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, text)
	}
	return nil
}
