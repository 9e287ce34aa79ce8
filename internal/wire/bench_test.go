package wire

import (
	"encoding/json"
	"testing"
)

const twoResources = `{"action":"lock","resources":[{"type":"write","path":["group_x","entity_a"]},{"type":"read","path":["group_y"]}]}`

// BenchmarkV1 compares the two ways to parse and encoding/json on the same lock of two resources;
// "unusual" is the same lock in a shape that only the general way takes.
func BenchmarkV1(b *testing.B) {
	const unusual = `{"action":"lock","by":"me","resources":[{"type":"write","path":["group\u005fx","entity_a"]},{"type":"read","path":["group_y"]}]}`
	b.Run("scanner", func(b *testing.B) {
		var p V1Parser
		msg := []byte(twoResources)
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := p.scan(msg); !ok {
				b.Fatal("the scanner doesn't know the canonical form")
			}
		}
	})
	for name, text := range map[string]string{"fastjson": twoResources, "fastjson unusual": unusual} {
		b.Run(name, func(b *testing.B) {
			var p V1Parser
			msg := []byte(text)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.parse(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("encoding-json", func(b *testing.B) {
		msg := []byte(twoResources)
		b.ReportAllocs()
		for b.Loop() {
			var r struct {
				Action    string
				Resources []struct {
					Type string
					Path []string
				}
			}
			if err := json.Unmarshal(msg, &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendV1(b *testing.B) {
	buf := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendV1(buf[:0], 123456789, V1Lock, V1Acquired)
	}
}

// BenchmarkV2 parses what clients send all the time, and prints what they are answered.
func BenchmarkV2(b *testing.B) {
	for name, text := range map[string]string{
		"lock": twoResourcesV2, "release": `{"op":"release","id":8,"lock":7}`, "renew": `{"op":"renew","id":9}`,
		"unusual lock": `{"op":"lock","id":7,"by":"me","resources":[{"type":"write","path":["group\u005fx","entity_a"]},{"type":"read","path":["group_y"]}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			var p V2Parser
			msg, buf := []byte(text), make([]byte, len(text))
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, msg)
				if _, err := p.Parse(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("answer", func(b *testing.B) {
		buf := make([]byte, 0, 128)
		m := V2Message{ID: 123456, State: V2Acquired, Token: 123456789}
		b.ReportAllocs()
		for b.Loop() {
			buf = AppendV2(buf[:0], &m)
		}
	})
}
