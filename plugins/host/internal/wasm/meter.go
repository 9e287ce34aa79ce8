package wasm

import (
	"errors"
	"fmt"
)

// Metering says how a module is rewritten.
type Metering struct {
	Slice        int64  // units of fuel at instantiation
	FuelExport   string // the name under which the fuel global is exported
	RefuelModule string // of the import that is called when there is no fuel left
	RefuelName   string
	TableMax     uint32 // elements that a table may grow to, unless it is larger at the start
}

// Cost says what metering did.
type Cost struct {
	Functions int
	Charges   int // places at which fuel is taken
	Loops     int // of these, loops
	Bulk      int // of these, operations charged by their length
	InBytes   int
	OutBytes  int
}

// A meter rewrites one module.
type meter struct {
	*Module
	Metering
	cost  Cost
	fuel  uint32 // the global's index
	types uint32 // the index of refuel's signature
}

// Meter rewrites the module, which the compiler must have found valid. See the package's documentation for what
// is charged. The module itself stays as it is.
func (m *Module) Meter(o Metering) ([]byte, Cost, error) {
	for _, i := range m.Imports {
		if i.Module == o.RefuelModule && i.Name == o.RefuelName {
			return nil, Cost{}, fmt.Errorf("it imports %q of %q, which is reserved", i.Name, i.Module)
		}
	}
	for _, e := range m.Exports {
		if e.Name == o.FuelExport {
			return nil, Cost{}, fmt.Errorf("it exports %q, which is reserved", e.Name)
		}
	}
	w := meter{Module: m, Metering: o, fuel: uint32(m.Globals), types: uint32(len(m.types))}
	w.cost.InBytes = len(m.Bytes)
	w.cost.Functions = m.Functions
	out, err := w.module()
	w.cost.OutBytes = len(out)
	return out, w.cost, err
}

func (w *meter) module() ([]byte, error) {
	out := append(make([]byte, 0, len(w.Bytes)+len(w.Bytes)/2), preamble...)
	for _, id := range sectionOrder {
		s := w.sections[id]
		r := s.reader(id)
		body := s.body
		switch id {
		case secType:
			body = w.typeSection(r)
		case secImport:
			body = w.importSection(r)
		case secTable:
			body = w.tableSection(r)
		case secGlobal:
			body = w.globalSection(r)
		case secExport:
			body = w.exportSection(r)
		case secStart:
			if s.there {
				body = appendU32(nil, w.moved(r.u32()))
			}
		case secElement:
			body = w.elementSection(r)
		case secCode:
			body = w.codeSection(r)
		}
		if r.err != nil {
			return nil, r.err
		}
		if len(body) > 0 {
			out = appendSection(out, id, body)
		}
	}
	return out, nil
}

// moved is where a function is after the import of refuel came in behind the other imports.
func (w *meter) moved(fn uint32) uint32 {
	if int(fn) >= w.imported() {
		return fn + 1
	}
	return fn
}

// refuel is the function that is called when fuel runs out.
func (w *meter) refuel() uint32 { return uint32(w.imported()) }

// grown is a vector with more items at its end.
func grown(r *reader, by int, items func(to []byte) []byte) []byte {
	n := 0
	if len(r.b) > 0 {
		n = int(r.u32())
	}
	out := appendU32(make([]byte, 0, len(r.b)+64), uint32(n+by))
	return items(append(out, r.b[r.p:]...))
}

func (w *meter) typeSection(r *reader) []byte {
	return grown(r, 1, func(to []byte) []byte { return append(to, 0x60, 0, 0) })
}

func (w *meter) importSection(r *reader) []byte {
	return grown(r, 1, func(to []byte) []byte {
		to = append(appendName(appendName(to, w.RefuelModule), w.RefuelName), byte(Function))
		return appendU32(to, w.types)
	})
}

// tableSection gives every table a maximum.
func (w *meter) tableSection(r *reader) []byte {
	if w.Tables == 0 {
		return nil
	}
	out := appendU32(nil, r.u32())
	for range w.Tables {
		out = append(out, byte(r.refType()), 1)
		l := r.limits("table")
		most := w.TableMax
		if l.HasMax {
			most = min(most, l.Max)
		}
		out = appendU32(appendU32(out, l.Min), max(most, l.Min))
	}
	return out
}

func (w *meter) globalSection(r *reader) []byte {
	out := appendU32(make([]byte, 0, len(r.b)+32), uint32(w.Globals+1))
	if w.Globals > 0 {
		r.u32()
	}
	for range w.Globals {
		out = append(out, r.byte(), r.byte())
		out = w.constant(out, r)
	}
	out = append(out, byte(I64), 1, opI64Const)
	return append(appendI64(out, int64(Fill(w.Slice))), opEnd)
}

// constant copies a constant expression, with the functions' new indices.
func (w *meter) constant(to []byte, r *reader) []byte {
	for r.err == nil {
		i := r.next()
		if i.op == opRefFunc {
			to = appendU32(append(to, opRefFunc), w.moved(i.first))
		} else {
			to = append(to, r.b[i.at:i.end]...)
		}
		if i.op == opEnd {
			break
		}
	}
	return to
}

func (w *meter) exportSection(r *reader) []byte {
	out := appendU32(make([]byte, 0, len(r.b)+64), uint32(len(w.Exports)+1))
	for _, e := range w.Exports {
		out = append(appendName(out, e.Name), byte(e.Kind))
		if e.Kind == Function {
			e.index = w.moved(e.index)
		}
		out = appendU32(out, e.index)
	}
	out = append(appendName(out, w.FuelExport), byte(Global))
	return appendU32(out, w.fuel)
}

func (w *meter) elementSection(r *reader) []byte {
	if len(r.b) == 0 {
		return nil
	}
	n := r.u32()
	out := appendU32(make([]byte, 0, len(r.b)+len(r.b)/4), n)
	for ; n > 0 && r.err == nil; n-- {
		flags := r.u32()
		out = appendU32(out, flags)
		if flags&1 == 0 {
			if flags&2 != 0 {
				out = appendU32(out, r.u32())
			}
			out = w.constant(out, r)
		}
		if flags&3 != 0 {
			out = append(out, r.byte()) // the elements' kind
		}
		out = w.elements(out, r, flags&4 != 0)
	}
	return out
}

func (w *meter) elements(to []byte, r *reader, constants bool) []byte {
	n := r.u32()
	to = appendU32(to, n)
	for ; n > 0 && r.err == nil; n-- {
		if constants {
			to = w.constant(to, r)
		} else {
			to = appendU32(to, w.moved(r.u32()))
		}
	}
	return to
}

func (w *meter) codeSection(r *reader) []byte {
	if w.Functions == 0 {
		return nil
	}
	out := appendU32(make([]byte, 0, len(r.b)+len(r.b)/2), r.u32())
	var body []byte
	for i := range w.Functions {
		fn := uint32(w.imported() + i)
		code := r.sub(int(r.u32()), fmt.Sprintf("function %d", fn))
		body = w.function(body[:0], fn, code)
		if code.err != nil {
			r.err = code.err
			return nil
		}
		out = append(appendU32(out, uint32(len(body))), body...)
	}
	return out
}

var errUnbalanced = errors.New("blocks don't match: the module must be validated first")
