package wire

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParsingAllocatesNothing(t *testing.T) {
	for name, msg := range map[string]string{
		"canonical lock":       twoResources,
		"release":              `{"action":"release"}`,
		"white space":          strings.ReplaceAll(twoResources, `:`, " :\n "),
		"unusual order":        `{"resources":[{"path":["a"],"type":"w"}],"action":"lock"}`,
		"UTF-8":                lockOf(`{"type":"w","path":["é😀"]}`),
		"escapes":              lockOf(`{"type":"w","path":["\u00e9\ud83d\ude00\n","\\"]},{"t\u0079pe":"\u0072","path":[]}`),
		"unknown members":      `{"id":17,"action":"lock","by":{"name":["me",null]},"resources":[{"note":"x","type":"w","path":["a"]}]}`,
		"release with more":    `{"action":"release","resources":[{"type":"w","path":["a"]}]}`,
		"many resources":       lockOf(strings.Repeat(`{"type":"w","path":["a","b","c"]},`, 500) + `{"type":"w","path":["d"]}`),
		"many, with an escape": lockOf(strings.Repeat(`{"type":"w","path":["a","b","c"]},`, 40) + `{"type":"w","path":["\u0064"]}`),
	} {
		t.Run(name, func(t *testing.T) {
			var p V1Parser
			buf := make([]byte, len(msg))
			parse := func() {
				copy(buf, msg) // Parse may modify it
				if _, err := p.Parse(buf); err != nil {
					t.Fatal(err)
				}
			}
			require.Zero(t, testing.AllocsPerRun(100, parse))
		})
	}
}

func TestParsingV2AllocatesNothing(t *testing.T) {
	for name, msg := range map[string]string{
		"canonical lock":   twoResourcesV2,
		"a lock with all":  `{"op":"lock","id":7,"resources":[{"type":"p","path":["p"],"limit":3,"weight":2}],"wait_ms":1000,"lease_ms":30000,"note":"deploy 12","leave":true}`,
		"release":          `{"op":"release","id":8,"lock":7}`,
		"renew":            `{"op":"renew","id":9}`,
		"renew a lease":    `{"op":"renew","id":9,"lock":7,"lease_ms":60000}`,
		"upgrade":          `{"op":"upgrade","id":9,"lock":7}`,
		"escapes":          `{"op":"lock","id":7,"n\u006fte":"\u00e9\n","resources":[{"type":"p","path":["\ud83d\ude00"],"limit":3}],"wait_ms":1000}`,
		"unknown members":  `{"op":"lock","id":7,"by":{"name":["me",null]},"resources":[{"x":1.5,"type":"w","path":["a"]}]}`,
		"release with all": `{"op":"release","id":8,"lock":7,"resources":[{"type":"w","path":["a"]}],"path":["x"],"credentials":{"a":"b"}}`,
		"renew, unusual":   `{"op":"renew","id":9,"lock":7,"lease_ms":60000,"x":[]}`,
		"inspect":          `{"op":"inspect","id":9,"path":["a"],"limit":60000,"after":"41"}`,
		"many resources":   lockOfV2(strings.Repeat(`{"type":"w","path":["a","b","c"]},`, 500) + `{"type":"w","path":["d"]}`),
	} {
		t.Run(name, func(t *testing.T) {
			var p V2Parser
			buf := make([]byte, len(msg))
			require.Zero(t, testing.AllocsPerRun(100, func() {
				copy(buf, msg)
				if _, err := p.Parse(buf); err != nil {
					t.Fatal(err)
				}
			}))
		})
	}
}

func TestPrintingV2AllocatesNothing(t *testing.T) {
	r, err := new(V2Parser).Parse([]byte(twoResourcesV2))
	require.NoError(t, err)
	buf := make([]byte, 0, 4096)
	blockers := []V2Blocker{{Session: []byte("w"), Note: []byte("n"), Lock: 3, Type: Write, Path: r.Resources[0].Path, State: V2Acquired}}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		buf = AppendV2(buf[:0], &V2Message{ID: 7, State: V2Acquired, Token: 41, Slots: []uint32{1}})
		buf = AppendV2(buf[:0], &V2Message{Event: 7, Lock: 3, State: V2Timeout, Blockers: blockers})
		buf = AppendV2Request(buf[:0], r)
	}))
}

func TestPrintingAllocatesNothing(t *testing.T) {
	r, err := new(V1Parser).Parse([]byte(twoResources))
	require.NoError(t, err)
	buf := make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		buf = AppendV1(buf[:0], 1<<63, V1Release, V1Ready)
		buf = AppendV1Request(buf[:0], r)
	}))
}

// allocated is how many bytes f allocates, given back or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestHostileMessagesCostLittleMemory bounds what one message makes a new parser allocate: eight
// times its own size, and a constant for errors; and for messages of many values, whose tree
// fastjson grows in steps, a constant that V1Values bounds.
func TestHostileMessagesCostLittleMemory(t *testing.T) {
	const k, fewMB = 1 << 10, 10 << 20
	rep := strings.Repeat
	for name, c := range map[string]struct {
		msg   string
		extra uint64
	}{
		"a million brackets":              {msg: rep("[", 1<<20)},
		"a million brackets in a member":  {msg: `{"a":` + rep("[", 1<<20)},
		"a million braces":                {msg: rep(`{"a":`, 1<<20)},
		"64 KB of nested garbage":         {msg: `{"action":` + rep(`[{"a":[`, 8) + rep(`x`, 64*k)},
		"64 KB of garbage at the bottom":  {msg: rep(`{"a":[`, V1Depth/2) + `"` + rep(`\"\\`, 16*k)},
		"a huge number":                   {msg: `{"action":"release","n":` + rep("9", 1<<20) + `}`},
		"a huge fraction, cut off":        {msg: `{"n":0.` + rep("0", 1<<20) + `e`},
		"a megabyte of backslashes":       {msg: `{"action":"` + rep(`\`, 1<<20) + `"}`},
		"backslashes, never closed":       {msg: `{"action":"` + rep(`\`, 1<<20)},
		"backslashes in a segment":        {msg: lockOf(`{"type":"r","path":["` + rep(`\\`, 512*k) + `"]}`)},
		"escaped quotes in a segment":     {msg: lockOf(`{"type":"r","path":["` + rep(`\"`, 512*k) + `"]}`)},
		"a megabyte of white space":       {msg: rep(" ", 1<<20) + `{"action":"release"}` + rep("\n", 1<<20)},
		"white space, then nothing":       {msg: rep("\t", 1<<20)},
		"an unknown member of a million":  {msg: `{"action":"release","x":[0` + rep(",0", 512*k) + `]}`},
		"an action of a million":          {msg: `{"action":[0` + rep(",0", 512*k) + `]}`},
		"a type of a million":             {msg: lockOf(`{"type":{"":[0` + rep(",0", 512*k) + `]},"path":[]}`)},
		"a path of objects":               {msg: lockOf(`{"type":"r","path":{"":[0` + rep(",0", 512*k) + `]}}`)},
		"a long unknown action":           {msg: `{"action":"` + rep("é", 512*k) + `"}`},
		"a long name":                     {msg: `{"` + rep("é", 512*k) + `":0,"action":"release"}`},
		"64 KB of white space in objects": {msg: `{"action":"release","x":[` + rep(`{ },`, 16*k) + `0]}`},
		"too many members":                {msg: `{"action":"release"` + rep(`,"":0`, 512*k) + `}`},
		"too many segments":               {msg: lockOf(`{"type":"r","path":[""` + rep(`,""`, 512*k) + `]}`), extra: fewMB},
		"as many segments as allowed":     {msg: lockOf(`{"type":"r","path":["\u0061"` + rep(`,""`, V1Values-6) + `]}`), extra: fewMB},
		"as many members as allowed":      {msg: `{"action":"release"` + rep(`,"":0`, V1Values-1) + `}`, extra: fewMB},
		"as many resources as allowed":    {msg: lockOf(`{}` + rep(`,{}`, V1Values-3)), extra: fewMB},
	} {
		t.Run(name, func(t *testing.T) {
			var p V1Parser
			msg := []byte(c.msg)
			got := allocated(func() { _, _ = p.Parse(msg) })
			bound := 8*uint64(len(msg)) + 4*k + c.extra
			require.LessOrEqual(t, got, bound, "%d bytes", len(msg))
			t.Logf("%d bytes allocated for %d", got, len(msg))
		})
	}
}

// TestHostileV2MessagesCostLittleMemory is the same for what only version 2 has.
func TestHostileV2MessagesCostLittleMemory(t *testing.T) {
	const k, fewMB = 1 << 10, 10 << 20
	rep := strings.Repeat
	for name, c := range map[string]struct {
		msg   string
		extra uint64
	}{
		"a huge id":              {msg: `{"op":"bye","id":` + rep("9", 1<<20) + `}`},
		"a huge limit":           {msg: lockOfV2(`{"type":"p","path":[],"limit":` + rep("9", 1<<20) + `}`)},
		"a huge cursor":          {msg: `{"op":"locks","id":1,"after":"` + rep("9", 1<<20) + `"}`},
		"a huge op":              {msg: `{"op":"` + rep("é", 512*k) + `"}`},
		"a huge note":            {msg: `{"op":"lock","id":1,"resources":[{"type":"r","path":[]}],"note":"` + rep(`\u00e9`, 128*k) + `"}`},
		"a huge secret":          {msg: `{"op":"hello","resume":{"session":"","secret":"` + rep(`\"`, 512*k) + `"}}`},
		"too many credentials":   {msg: `{"op":"hello","credentials":{"":""` + rep(`,"":""`, V2Values-3) + `}}`, extra: fewMB},
		"credentials of no use":  {msg: `{"op":"bye","id":1,"credentials":{"":""` + rep(`,"":""`, 512*k) + `}}`, extra: fewMB},
		"a credential of values": {msg: `{"op":"hello","credentials":{"a":[0` + rep(`,0`, 512*k) + `]}}`},
		"too many resources":     {msg: lockOfV2(`{"type":"r","path":[]}` + rep(`,{"type":"r","path":[]}`, 64*k)), extra: fewMB},
	} {
		t.Run(name, func(t *testing.T) {
			var p V2Parser
			msg := []byte(c.msg)
			got := allocated(func() { _, _ = p.Parse(msg) })
			require.LessOrEqual(t, got, 8*uint64(len(msg))+4*k+c.extra, "%d bytes", len(msg))
			t.Logf("%d bytes allocated for %d", got, len(msg))
		})
	}
}

func TestAV2ParserGivesAHugeMessagesMemoryBack(t *testing.T) {
	p := new(V2Parser)
	base := live(p)
	_, err := p.Parse([]byte(`{"op":"hello","resume":{"session":"","secret":"` + strings.Repeat(`x`, 4<<20) + `"}}`))
	require.NoError(t, err)
	require.Less(t, live(p)-base, int64(64<<10))
}

// TestLargeMessagesInARowCostLittleMemory: a parser that threw its tree away after each message
// would allocate hundreds of bytes per byte.
func TestLargeMessagesInARowCostLittleMemory(t *testing.T) {
	var p V1Parser
	text := lockOf(`{"type":"r","path":["\u0061"` + strings.Repeat(`,""`, V1Values-6) + `]}`)
	msg := make([]byte, len(text))
	const rounds = 30
	got := allocated(func() {
		for range rounds {
			copy(msg, text)
			if _, err := p.Parse(msg); err != nil {
				t.Fatal(err)
			}
		}
	})
	require.LessOrEqual(t, got, uint64(32*rounds*len(msg)))
	t.Logf("%d bytes allocated for %d", got, rounds*len(msg))
}

// live is how much memory is in use with p still there.
func live(p any) int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	runtime.KeepAlive(p)
	return int64(m.HeapAlloc)
}

func TestAParserGivesAHugeMessagesMemoryBack(t *testing.T) {
	var p V1Parser
	base := live(&p)
	for _, segment := range []string{"a", `\u0061`} { // by the scanner, and not
		msg := []byte(lockOf(`{"type":"r","path":["` + strings.Repeat(segment, 4<<20) + `"]}`))
		_, err := p.Parse(msg)
		require.NoError(t, err)
	}
	require.Less(t, live(&p)-base, int64(64<<10))
}

// TestAParserStaysSmallWhateverTheShapes sends the same number of segments at ever other places of
// fastjson's tree, each of which keeps the memory of the largest path that was ever there.
func TestAParserStaysSmallWhateverTheShapes(t *testing.T) {
	p := V1Parser{Values: 16384}
	base := live(&p)
	for n := 0; n < 600; n += 5 {
		short := strings.Repeat(`{"type":"r","path":["\u0061"]},`, n)
		long := `{"type":"r","path":[""` + strings.Repeat(`,""`, 12000) + `]}`
		_, err := p.Parse([]byte(lockOf(short + long)))
		require.NoError(t, err, "resource %d", n)
	}
	kept := live(&p) - base
	require.Less(t, kept, int64(12<<20))
	t.Logf("%d bytes kept", kept)
}
