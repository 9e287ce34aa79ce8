package strictjson

import (
	"strconv"
	"strings"
)

// Field is a place in a configuration: a value that should be there, and a name for people, such as
// keys[2].alg. The first thing that isn't as it should be is the fault of the whole configuration; from
// then on whatever is asked for is empty, so that callers need to look for faults at the end only.
type Field struct {
	config *config
	place  string
	value  Value
	given  bool
}

// config is what all fields of a configuration share.
type config struct{ fault string }

// Read reads a configuration, which is a table. None is an empty one.
func Read(text []byte) Field {
	root := Field{config: &config{}, value: Value{kind: Table}, given: true}
	if len(text) == 0 {
		return root
	}
	v, err := Parse(text)
	if err != nil {
		root.Fail(err.Error())
		return root
	}
	root.value = v
	return root
}

// Fault is the first thing that was wrong anywhere in the configuration, with its place; "" if nothing was.
func (f Field) Fault() string { return f.config.fault }

// Fail says what is wrong here.
func (f Field) Fail(what string) {
	if f.config.fault != "" {
		return
	}
	if f.place != "" {
		what = f.place + ": " + what
	}
	f.config.fault = what
}

// Given says whether anything is here.
func (f Field) Given() bool { return f.given }

// Place is the name for people; "" of the whole configuration.
func (f Field) Place() string { return f.place }

// is says whether something of this kind is here. If something else is, that is a fault.
func (f Field) is(kind Kind, name string) bool {
	if f.config.fault != "" || !f.given {
		return false
	}
	if f.value.kind != kind {
		f.Fail("it must be " + name)
		return false
	}
	return true
}

// Table says which keys there are in a table; any other one is a fault. So it is to be called before Key.
func (f Field) Table(keys ...string) Field {
	if !f.is(Table, "a table") {
		return f
	}
	for _, name := range f.value.names {
		if !contains(keys, name) {
			f.under(name).Fail("there is no such key; there are " + strings.Join(keys, ", "))
		}
	}
	return f
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

// nameMax is how much of a key is shown.
const nameMax = 40

func cut(name string) string {
	if len(name) <= nameMax {
		return name
	}
	n := nameMax
	for name[n]&0xc0 == 0x80 {
		n--
	}
	return name[:n]
}

// under is an empty field of a table.
func (f Field) under(key string) Field {
	place := cut(key)
	if f.place != "" {
		place = f.place + "." + place
	}
	return Field{config: f.config, place: place}
}

// Key is a field of a table. It may be empty.
func (f Field) Key(key string) Field {
	member := f.under(key)
	if f.config.fault == "" {
		member.value, member.given = f.value.Member(key)
	}
	return member
}

// Must is a field of a table that has to be there.
func (f Field) Must(key string) Field {
	member := f.Key(key)
	if f.given && !member.given {
		f.Fail(key + " is missing")
	}
	return member
}

// Keys are the names of a table that may have any.
func (f Field) Keys() []string {
	if !f.is(Table, "a table") {
		return nil
	}
	return f.value.names
}

// List are the elements of a list.
func (f Field) List() []Field {
	if !f.is(List, "a list") {
		return nil
	}
	fields := make([]Field, len(f.value.items))
	for i, v := range f.value.items {
		fields[i] = Field{config: f.config, place: f.place + "[" + strconv.Itoa(i) + "]", value: v, given: true}
	}
	return fields
}

// IsList says whether a list is here, for what may be one or another.
func (f Field) IsList() bool { return f.value.kind == List }

// Text is a string's.
func (f Field) Text(otherwise string) string {
	if !f.is(String, "a string") {
		return otherwise
	}
	return f.value.text
}

// Texts are a list's of strings, which isn't empty.
func (f Field) Texts() (all []string) {
	for _, e := range f.List() {
		all = append(all, e.Text(""))
	}
	if f.given && len(all) == 0 {
		f.Fail("the list is empty")
	}
	return all
}

// Bool is true or false.
func (f Field) Bool(otherwise bool) bool {
	if !f.is(Bool, "true or false") {
		return otherwise
	}
	return f.value.True()
}

// Integer is a number from low to high.
func (f Field) Integer(otherwise, low, high int64) int64 {
	if !f.is(Number, "an integer") {
		return otherwise
	}
	n, ok := f.value.Integer()
	if !ok || n < low || n > high {
		f.Fail("it must be an integer from " + strconv.FormatInt(low, 10) + " to " + strconv.FormatInt(high, 10))
		return otherwise
	}
	return n
}

// Value is what is here, whatever it is.
func (f Field) Value() Value { return f.value }
