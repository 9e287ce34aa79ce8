package main

import (
	"fmt"
	"strings"

	"github.com/locktopus-project/locktopus/v2/internal/config"
)

// flagValue is a flag. Its long name begins with two dashes; short may be empty.
type flagValue struct {
	long, short string
	value       *string
	each        func(name, value string) // instead of value, of a flag that may be given several times: as the user wrote it
	alone       *bool                    // instead of value, of a flag that takes none
	given       bool
	as          string // how the user wrote it
}

// parseFlags reads --flag VALUE and --flag=VALUE, in any order among at most operands other words.
// Behind "--" everything is an operand. A flag's each is called in the order of the flags.
func parseFlags(args []string, operands int, flags ...*flagValue) ([]string, error) {
	var rest []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			rest = append(rest, arg)
			continue
		}
		name, value, inline := strings.Cut(arg, "=")
		f := findFlag(flags, name)
		if f == nil {
			return nil, unknownFlag(name, flags)
		}
		if f.given && f.each == nil {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		if f.alone != nil {
			if inline {
				return nil, fmt.Errorf("%s takes no value", name)
			}
			*f.alone, f.given, f.as = true, true, name
			continue
		}
		if !inline {
			if i++; i == len(args) {
				return nil, fmt.Errorf("%s needs a value", name)
			}
			value = args[i]
		}
		if f.given, f.as = true, name; f.each != nil {
			f.each(name, value)
		} else {
			*f.value = value
		}
	}
	if len(rest) > operands {
		return nil, fmt.Errorf("unexpected %q", rest[operands])
	}
	return rest, nil
}

// findFlag also takes a long name with one dash, as Go programs do.
func findFlag(flags []*flagValue, name string) *flagValue {
	for _, f := range flags {
		if name == f.long || "-"+name == f.long || f.short != "" && name == f.short {
			return f
		}
	}
	return nil
}

func unknownFlag(name string, flags []*flagValue) error {
	var names []string
	for _, f := range flags {
		if f.short != "" && strings.HasPrefix(name, f.short) {
			return fmt.Errorf("unknown flag %s, did you mean %s %s?", name, f.short, name[len(f.short):])
		}
		names = append(names, f.long)
	}
	if best := config.Nearest("--"+strings.TrimLeft(name, "-"), names); best != "" {
		return fmt.Errorf("unknown flag %s, did you mean %s?", name, best)
	}
	return fmt.Errorf("unknown flag %s", name)
}
