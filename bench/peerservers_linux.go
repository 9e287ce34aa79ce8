package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// peerServer is how we start a server of another project: with its defaults, but that it listens on
// loopback only, keeps its data in our directory, and takes enough connections. It must keep what it
// keeps by default; none is told to be faster than that.
type peerServer struct {
	name  string   // of what drives it
	of    string   // the server's name, where several drive one; "": the same
	needs []string // programs, or files
	apt   string   // packages of Debian that bring them
	start func(s *scene, dir, port string) (spec, error)
	// apart says that it has a process for each connection. A thousand of those, and what the system does for their
	// memory, disturb whoever has a turn: so it takes turns with ours alone.
	apart bool
	// version is a command that prints it, or a file that is called by it.
	version []string
}

const (
	zooKeeperJar  = "/usr/share/java/zookeeper.jar"
	postgreSQLBin = "/usr/lib/postgresql/*/bin/"
)

var peerServers = []peerServer{
	{name: "redis", needs: []string{"redis-server"}, apt: "redis-server", start: redisServer, version: []string{"redis-server", "--version"}},
	{name: "redis-list", of: "redis", needs: []string{"redis-server"}, apt: "redis-server", start: redisServer},
	{name: "etcd", needs: []string{"etcd"}, apt: "etcd-server", start: etcdServer, version: []string{"etcd", "--version"}},
	{name: "zookeeper", needs: []string{"java", zooKeeperJar}, apt: "zookeeper default-jre-headless", start: zooKeeperServer, version: []string{zooKeeperJar}},
	{name: "postgresql", needs: []string{postgreSQLBin + "initdb", postgreSQLBin + "postgres"}, apt: "postgresql", start: postgreSQLServer, apart: true, version: []string{postgreSQLBin + "postgres", "--version"}},
}

// find returns where a program or a file is.
func find(name string) (string, error) {
	if !strings.Contains(name, "/") {
		return exec.LookPath(name)
	}
	found, err := filepath.Glob(name)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("there is no %s", name)
	}
	if err != nil {
		return "", err
	}
	return found[len(found)-1], nil
}

// missing says what a server would need and how to get it.
func (p *peerServer) missing() error {
	for _, name := range p.needs {
		if _, err := find(name); err != nil {
			return fmt.Errorf("%s isn't installed: apt-get install %s", filepath.Base(name), p.apt)
		}
	}
	return nil
}

// run starts the server in a directory of its own.
func (p *peerServer) run(s *scene) (*process, error) {
	dir := filepath.Join(s.dir, p.name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	spec, err := p.start(s, dir, port)
	if err != nil {
		return nil, err
	}
	spec.core, spec.dir, spec.addr = s.cores.server, dir, "127.0.0.1:"+port
	return s.ending(start(s.ctx, spec))
}

// freePort is one that nobody has at the moment.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, errors.Join(err, ln.Close())
}

func redisServer(_ *scene, dir, port string) (spec, error) {
	return spec{program: "redis-server", args: []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--maxclients", "20000"}}, nil
}

func etcdServer(_ *scene, dir, port string) (spec, error) {
	peer, err := freePort()
	if err != nil {
		return spec{}, err
	}
	clients, peers := "http://127.0.0.1:"+port, "http://127.0.0.1:"+peer
	return spec{program: "etcd", args: []string{
		"--data-dir", filepath.Join(dir, "data"), "--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default=" + peers,
	}}, nil
}

func zooKeeperServer(_ *scene, dir, port string) (spec, error) {
	config := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("tickTime=2000\ndataDir=%s\nclientPort=%s\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n",
		filepath.Join(dir, "data"), port)
	err := os.WriteFile(config, []byte(text), 0o600)
	return spec{program: "java", args: []string{
		"-cp", zooKeeperJar, "-Djava.awt.headless=true", "-Dzookeeper.jmx.log4j.disable=true",
		"org.apache.zookeeper.server.quorum.QuorumPeerMain", config,
	}}, err
}

func postgreSQLServer(s *scene, dir, port string) (spec, error) {
	initdb, err := find(postgreSQLBin + "initdb")
	if err != nil {
		return spec{}, err
	}
	who, err := unprivileged()
	if err != nil {
		return spec{}, err
	}
	if who != nil {
		// The way to its directory must be open to it; what else is there is ours alone.
		if err := errors.Join(os.Chmod(s.dir, 0o711), os.Chown(dir, int(who.Uid), int(who.Gid))); err != nil {
			return spec{}, err
		}
	}
	data := filepath.Join(dir, "data")
	cmd := exec.CommandContext(s.ctx, initdb, "-D", data, "-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8")
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: who}, dir
	if err := s.built(cmd); err != nil {
		return spec{}, err
	}
	return spec{program: filepath.Join(filepath.Dir(initdb), "postgres"), user: who, forks: true, args: []string{
		"-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + dir, "-c", "max_connections=1200",
	}}, nil
}

// unprivileged is whom PostgreSQL may run as, which refuses to run as root; nil is ourselves.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
	}
	return nil, errors.New("it doesn't run as root, and there is no user postgres or nobody")
}

// versionOf is what the server's own program says, on one line, or what its file is called.
func (p *peerServer) versionOf() string {
	if len(p.version) == 0 {
		return ""
	}
	program, err := find(p.version[0])
	if err != nil {
		return ""
	}
	if len(p.version) == 1 {
		file, err := filepath.EvalSymlinks(program)
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(filepath.Base(file), ".jar")
	}
	text, err := exec.Command(program, p.version[1:]...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}
