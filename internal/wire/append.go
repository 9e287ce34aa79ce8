package wire

import (
	"strconv"
	"unicode/utf8"
)

func appendResources(dst []byte, rs []Resource) []byte {
	dst = append(dst, '[')
	for i, r := range rs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"type":"`...)
		dst = append(dst, r.Type.String()...)
		dst = appendPath(append(dst, `","path":`...), r.Path)
		if r.Type == Permit {
			dst = append(dst, `,"limit":`...)
			dst = strconv.AppendUint(dst, uint64(r.Limit), 10)
			dst = append(dst, `,"weight":`...)
			dst = strconv.AppendUint(dst, uint64(r.Weight), 10)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendPath(dst []byte, path [][]byte) []byte {
	dst = append(dst, '[')
	for i, segment := range path {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, segment)
	}
	return append(dst, ']')
}

// appendText appends a JSON string. What isn't valid UTF-8 becomes U+FFFD.
func appendText(dst, text []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		switch {
		case plain[c]:
			dst = append(dst, c)
		case c < ' ':
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		default:
			dst = append(dst, '\\', c)
		}
		i++
	}
	return append(dst, '"')
}
