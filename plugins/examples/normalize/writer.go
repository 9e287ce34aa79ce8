package main

import "unicode/utf8"

// writer makes the normal form of a few characters that may join: a letter, say, and the marks on it.
// Unicode says how, in chapter 3.11 of the standard: decompose all, sort the marks, fold (chapter 3.13), and
// compose again.
type writer struct {
	parts  []part
	folded []part
	marks  int    // how many of the last parts are marks
	left   int    // how many characters may still come
	fault  string // what was wrong, if anything was
}

type part struct {
	r     rune
	class uint8
}

// Limits of what joins.
const (
	// marksMax is how many marks may stand one after the other. Texts of people have far fewer, and
	// sorting more of them would take long. (Unicode's Stream-Safe Text Format has the same limit.)
	marksMax = 30

	// joinedMax is how many characters of a request may be joined: they take long, and a call mustn't.
	joinedMax = 4096
)

// start takes up another request.
func (w *writer) start() { w.left, w.fault = joinedMax, "" }

func (w *writer) begin() { w.parts, w.marks = w.parts[:0], 0 }

// add adds a character's parts, each sorted in.
func (w *writer) add(c *characters, r rune) {
	if w.left--; w.left < 0 {
		w.fault = "the request has more than 4096 characters that join others: ask for less at once"
		return
	}
	if leading, vowel, trailing, is := hangulParts(r); is {
		w.put(part{leading, 0})
		w.put(part{vowel, 0})
		if trailing > 0 {
			w.put(part{trailing, 0})
		}
		return
	}
	known := c.of(r)
	switch {
	case known == nil:
		w.put(part{r, 0})
	case len(known.parts) == 0:
		w.put(part{r, known.class})
	default:
		for _, p := range known.parts {
			w.put(part{p, c.class(p)})
		}
	}
}

func (c *characters) class(r rune) uint8 {
	if known := c.of(r); known != nil {
		return known.class
	}
	return 0
}

// put adds a part, behind those marks that are of the same class or of a lower one.
func (w *writer) put(p part) {
	at := len(w.parts)
	if p.class == 0 {
		w.marks = 0
		w.parts = append(w.parts, p)
		return
	}
	if w.marks++; w.marks > marksMax {
		w.fault = "there are more than 30 marks on one letter"
		return
	}
	w.parts = append(w.parts, p)
	for ; at > 0 && w.parts[at-1].class > p.class; at-- {
		w.parts[at] = w.parts[at-1]
	}
	w.parts[at] = p
}

// end appends the normal form of what was added.
func (w *writer) end(c *characters, to []byte) []byte {
	w.fold(c)
	for _, p := range w.compose(c) {
		to = utf8.AppendRune(to, p.r)
	}
	return to
}

func (w *writer) fold(c *characters) {
	w.folded = w.folded[:0]
	for _, p := range w.parts {
		known := c.of(p.r)
		if known == nil || known.folded == nil {
			w.folded = append(w.folded, p)
			continue
		}
		for _, r := range known.folded {
			w.folded = append(w.folded, part{r, c.class(r)})
		}
	}
}

// compose makes characters of pairs. A part joins the last letter, unless something is in between that
// isn't of a lower class.
func (w *writer) compose(c *characters) []part {
	whole := w.folded[:0]
	letter := -1
	for _, p := range w.folded {
		if n := len(whole); letter >= 0 && (letter == n-1 || whole[n-1].class < p.class) {
			if r := c.joined(whole[letter].r, p.r); r > 0 {
				whole[letter].r = r
				continue
			}
		}
		if p.class == 0 {
			letter = len(whole)
		}
		whole = append(whole, p)
	}
	return whole
}

// joined is the character that two make; 0: none.
func (c *characters) joined(first, second rune) rune {
	if r := hangulJoined(first, second); r > 0 {
		return r
	}
	return c.pairs[pair{first, second}]
}

// The syllables of Hangul are numbered by their parts: chapter 3.12 of the standard.
const (
	leadingFirst, leadingCount   = 0x1100, 19
	vowelFirst, vowelCount       = 0x1161, 21
	trailingFirst, trailingCount = 0x11a7, 28 // the first of them is none
	syllableFirst, syllableCount = 0xac00, leadingCount * vowelCount * trailingCount
)

func hangulParts(r rune) (leading, vowel, trailing rune, is bool) {
	n := r - syllableFirst
	if n < 0 || n >= syllableCount {
		return 0, 0, 0, false
	}
	leading = leadingFirst + n/(vowelCount*trailingCount)
	vowel = vowelFirst + n/trailingCount%vowelCount
	if n%trailingCount > 0 {
		trailing = trailingFirst + n%trailingCount
	}
	return leading, vowel, trailing, true
}

func hangulJoined(first, second rune) rune {
	if l, v := first-leadingFirst, second-vowelFirst; 0 <= l && l < leadingCount && 0 <= v && v < vowelCount {
		return syllableFirst + (l*vowelCount+v)*trailingCount
	}
	if s, t := first-syllableFirst, second-trailingFirst; 0 <= s && s < syllableCount && s%trailingCount == 0 && 0 < t && t < trailingCount {
		return first + t
	}
	return 0
}
