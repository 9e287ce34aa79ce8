package strictjson

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfigurationIsRead(t *testing.T) {
	c := Read([]byte(`{"name": "a", "on": true, "n": 7, "list": [{"x": "y"}, {}], "texts": ["b", "c"], "more": {"k": "v", "l": null}}`))
	c.Table("name", "on", "n", "list", "texts", "more", "absent")
	require.Equal(t, "a", c.Key("name").Text("z"))
	require.True(t, c.Must("on").Bool(false))
	require.Equal(t, int64(7), c.Key("n").Integer(1, 0, 7))
	list := c.Key("list").List()
	require.Len(t, list, 2)
	require.Equal(t, "list[1].x", list[1].Key("x").Place())
	require.Equal(t, "y", list[0].Table("x").Key("x").Text(""))
	require.True(t, c.Key("texts").IsList())
	require.Equal(t, []string{"b", "c"}, c.Key("texts").Texts())
	require.Equal(t, []string{"k", "l"}, c.Key("more").Keys())
	require.Equal(t, Null, c.Key("more").Key("l").Value().Kind())

	absent := c.Key("absent")
	require.False(t, absent.Given())
	require.Equal(t, "z", absent.Text("z"))
	require.True(t, absent.Bool(true))
	require.Equal(t, int64(3), absent.Integer(3, 0, 1))
	require.Empty(t, absent.List())
	require.Empty(t, absent.Texts())
	require.Empty(t, absent.Keys())
	require.False(t, absent.Table("x").Must("x").Given(), "what isn't there lacks nothing")
	require.Empty(t, c.Fault())
}

func TestNoConfigurationIsAnEmptyOne(t *testing.T) {
	c := Read(nil)
	require.Equal(t, "z", c.Table("a").Key("a").Text("z"))
	require.Empty(t, c.Fault())
	c.Must("a")
	require.Equal(t, "a is missing", c.Fault())
}

func TestFaultsOfConfigurations(t *testing.T) {
	for _, test := range []struct {
		text, want string
		read       func(c Field)
	}{
		{`{`, "it isn't JSON: a string is missing", nil},
		{`[]`, "it must be a table", nil},
		{`{"b": 1}`, "b: there is no such key; there are a, c", func(c Field) { c.Table("a", "c") }},
		{`{"` + strings.Repeat("é", 30) + `": 1}`, strings.Repeat("é", 20) + ": there is no such key; there are a", func(c Field) { c.Table("a") }},
		{`{"a": {}}`, "a: b is missing", func(c Field) { c.Key("a").Must("b") }},
		{`{"a": [{"b": 1}]}`, "a[0].b: it must be a string", func(c Field) { c.Key("a").List()[0].Key("b").Text("") }},
		{`{"a": "b"}`, "a: it must be a list", func(c Field) { c.Key("a").List() }},
		{`{"a": ["b", 1]}`, "a[1]: it must be a string", func(c Field) { c.Key("a").Texts() }},
		{`{"a": []}`, "a: the list is empty", func(c Field) { c.Key("a").Texts() }},
		{`{"a": null}`, "a: it must be true or false", func(c Field) { c.Key("a").Bool(true) }},
		{`{"a": "1"}`, "a: it must be an integer", func(c Field) { c.Key("a").Integer(0, 0, 1) }},
		{`{"a": 1.0}`, "a: it must be an integer from 0 to 1", func(c Field) { c.Key("a").Integer(0, 0, 1) }},
		{`{"a": 2}`, "a: it must be an integer from 0 to 1", func(c Field) { c.Key("a").Integer(0, 0, 1) }},
		{`{"a": -1}`, "a: it must be an integer from 0 to 1", func(c Field) { c.Key("a").Integer(0, 0, 1) }},
		{`{"a": 1}`, "a: it must be a table", func(c Field) { c.Key("a").Keys() }},
		{`{"a": 1}`, "a: it must be odd", func(c Field) { c.Key("a").Fail("it must be odd"); c.Fail("it must be even") }},
	} {
		c := Read([]byte(test.text))
		if test.read != nil {
			test.read(c)
		}
		c.Table("a")
		require.Equal(t, test.want, c.Fault(), test.text)
		require.False(t, c.Key("a").Given(), "nothing is read after a fault")
		require.Equal(t, "z", c.Key("a").Text("z"))
	}
}
