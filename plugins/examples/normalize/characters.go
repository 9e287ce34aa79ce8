package main

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// character is what there is to know of a character that the rules don't just leave as it is. That may be
// the case only because others stand beside it.
type character struct {
	parts  []rune // it decomposes to; none: itself
	folded []rune // what has no parts becomes by folding case; none: itself
	alone  string // its normal form, if nothing that joins stands behind it
	class  uint8  // that marks are sorted by; 0: it is no such mark
	joins  bool   // it may become one character with those before it
	stays  bool   // it is its own normal form, if it doesn't join
}

// characters are all that are in Unicode's tables, and in Go's own package for them. They are laid out for
// being found fast: package norm takes some microseconds for a character, in WebAssembly, and there can be
// ten thousands of them in a request.
type characters struct {
	pages [unicode.MaxRune>>8 + 1]*[256]uint16 // indices of known; 0: there is nothing to know
	known []character
	pairs map[pair]rune // that make one character
}

type pair struct{ first, second rune }

// letters are where the characters are that there is something to know of, besides the syllables of
// Hangul, which follow from a formula.
var letters = [...]struct{ first, last rune }{
	{'A', 0x24ff}, {0x2a00, 0x30ff}, {0xa640, 0xabff}, {0xf900, 0xffff}, {0x10100, 0x105ff}, {0x10a00, 0x11fff},
	{0x16a00, 0x16fff}, {0x1bc00, 0x1bcff}, {0x1d100, 0x1d2ff}, {0x1df00, 0x1e9ff}, {0x2f800, 0x2faff},
}

// newCharacters reads the tables, in some milliseconds.
func newCharacters(fold bool) characters {
	c := characters{known: make([]character, 1, 5000), pairs: map[pair]rune{}}
	for _, block := range letters {
		for r := block.first; r <= block.last; r++ {
			c.decompose(r)
		}
	}
	if fold {
		c.fold()
	}
	for first, all := range c.pages {
		c.compose(rune(first)<<8, all)
	}
	for first, all := range c.pages {
		c.judge(rune(first)<<8, all)
	}
	return c
}

// decompose finds out how a character decomposes and joins.
func (c *characters) decompose(r rune) {
	var text [utf8.UTFMax]byte
	p := norm.NFC.Properties(utf8.AppendRune(text[:0], r))
	parts := p.Decomposition()
	if parts == nil && p.CCC() == 0 && p.BoundaryBefore() {
		return
	}
	known := c.put(r)
	known.parts, known.class, known.joins = []rune(string(parts)), p.CCC(), !p.BoundaryBefore()
}

// fold finds out what characters fold to.
func (c *characters) fold() {
	for _, all := range unicode.CaseRanges {
		for r := rune(all.Lo); r <= rune(all.Hi); r++ {
			if to := simpleFold(r); to != r {
				c.put(r).folded = []rune{to}
			}
		}
	}
	for r, to := range expansions {
		c.put(r).folded = []rune(to)
	}
}

// put is a character that there will be something to know of.
func (c *characters) put(r rune) *character {
	page := &c.pages[r>>8]
	if *page == nil {
		*page = new([256]uint16)
	}
	at := &(*page)[r&0xff]
	if *at == 0 {
		*at = uint16(len(c.known))
		c.known = append(c.known, character{})
	}
	return &c.known[*at]
}

// of is what there is to know of a character; nil: nothing.
func (c *characters) of(r rune) *character {
	if page := c.pages[r>>8]; page != nil && page[r&0xff] > 0 {
		return &c.known[page[r&0xff]]
	}
	return nil
}

// stays says whether the character is its own normal form, whatever stands beside it that stays.
func (c *characters) stays(r rune) bool {
	known := c.of(r)
	return known == nil || known.stays && !known.joins
}

func (c *characters) joins(r rune) bool {
	known := c.of(r)
	return known != nil && known.joins
}

// compose finds the characters of a page that are made of pairs. Each is made of its last part and of what
// the others make; some that decompose are never made again.
func (c *characters) compose(first rune, page *[256]uint16) {
	if page == nil {
		return
	}
	for i, at := range page {
		parts := c.known[at].parts
		if len(parts) < 2 {
			continue
		}
		r, last := first+rune(i), len(parts)-1
		if s := []byte(string(r)); norm.NFC.QuickSpan(s) < len(s) {
			continue
		}
		rest := parts[0]
		if last > 1 {
			rest, _ = utf8.DecodeRuneInString(norm.NFC.String(string(parts[:last])))
		}
		c.pairs[pair{rest, parts[last]}] = r
	}
}

// judge finds out what the characters of a page become when they are alone.
func (c *characters) judge(first rune, page *[256]uint16) {
	if page == nil {
		return
	}
	var w writer
	for i, at := range page {
		if at == 0 {
			continue
		}
		r := first + rune(i)
		w.start()
		w.begin()
		w.add(c, r)
		known := &c.known[at]
		known.alone = string(w.end(c, nil))
		known.stays = known.alone == string(r)
	}
}

// expansions are the characters that fold to several. Unicode has more of them, which decompose.
var expansions = map[rune]string{
	'ß': "ss", 'ẞ': "ss", 'ŉ': "ʼn", 'և': "եւ", 'ẚ': "aʾ",
	'ﬀ': "ff", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬃ': "ffi", 'ﬄ': "ffl", 'ﬅ': "st", 'ﬆ': "st",
	'ﬓ': "մն", 'ﬔ': "մե", 'ﬕ': "մի", 'ﬖ': "վն", 'ﬗ': "մխ",
}

// simpleFold is the one character that a character folds to. That is a small letter, but in Cherokee,
// which had none at first.
func simpleFold(r rune) rune {
	upper := unicode.ToUpper(r)
	if unicode.Is(unicode.Cherokee, r) {
		return upper
	}
	lower := unicode.ToLower(upper)
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		if other == lower {
			return lower
		}
	}
	return r
}
