package config

import (
	"regexp"
	"slices"
	"strings"
)

const envPrefix = "LOCKTOPUS_"

// Variables with our prefix that are no settings: other programs of this project read them.
var otherPrograms = map[string]bool{
	"LOCKTOPUS_URL":           true, // where a client finds the server
	"LOCKTOPUS_AUTHORIZATION": true, // what it shows there
	"LOCKTOPUS_TOKEN":         true, // these are what locktopus run tells its command
	"LOCKTOPUS_LOCK_ID":       true,
	"LOCKTOPUS_PATHS":         true,
	"LOCKTOPUS_SEED":          true, // what random tests draw from
	"LOCKTOPUS_ADMIN_URL":     true, // where an administrator finds the server
	TokenVariable:             true, // no setting, so that nobody prints it
}

// Kubernetes sets variables for each service, by its name: a service called "locktopus" (or
// "locktopus-something") gives every pod of its namespace LOCKTOPUS_SERVICE_HOST, LOCKTOPUS_PORT and
// the like. Nobody wrote them, so they are no typing errors.
var (
	serviceLink = regexp.MustCompile(`^LOCKTOPUS_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	servicePort = regexp.MustCompile(`^LOCKTOPUS_([A-Z0-9_]+_)?PORT$`)
	serviceURL  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || servicePort.MatchString(name) && serviceURL.MatchString(value)
}

// environ applies the variables that name settings and blames the ones that seem to.
func (ld *loader) environ(environ []string) {
	for i, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		o := origin{where: "environment " + name, source: fromEnviron, at: i}
		switch s := byEnv[name]; {
		case s != nil:
			ld.text(s, value, o)
		case otherPrograms[name], isServiceLink(name, value):
		case isPlugins(name):
			ld.fault(o, "plugins can't be set by environment: write them into the file, each below its own [[plugins]]")
		default:
			ld.fault(o, "unknown setting%s", didYouMean(name, envNames()))
		}
	}
}

// isPlugins: meant for [[plugins]], and not for a setting whose table was left out.
func isPlugins(name string) bool {
	rest, ok := strings.CutPrefix(name, envPrefix+"PLUGINS")
	return ok && (rest == "" || rest[0] == '_') &&
		!slices.ContainsFunc(settings, func(s *setting) bool { return strings.HasSuffix(s.env, "_PLUGINS"+rest) })
}

func envNames() []string {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.env
	}
	return names
}
