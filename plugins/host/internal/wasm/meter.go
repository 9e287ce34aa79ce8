package wasm

import "fmt"

// Metering says how a module is rewritten.
type Metering struct {
	Slice        int64  // units of fuel at instantiation, and what growing a memory or a table costs at least
	FuelExport   string // the name under which the fuel global, a mutable i64, is exported
	RefuelModule string // names of the import, of type () -> (), that is called when there is no fuel left
	RefuelName   string
	TableMax     uint32 // elements that a table may grow to, unless it is larger at the start
}

// Cost says what metering did.
type Cost struct {
	Functions int // defined ones
	Charges   int // places at which fuel is taken
	Loops     int // of these, where loops begin again
	Calls     int // of these, on the way into a call that may recur and back
	Bulk      int // of these, before operations charged by their length
	InBytes   int
	OutBytes  int
	Millis    int // that compiling takes, estimated; real programs take half of it
}

// A meter rewrites one module.
type meter struct {
	*Module
	Metering
	*survey
	cost    Cost
	heights []int32  // of functions that indirect calls may reach, by signature
	code    []byte   // rewritten functions
	labels  []uint32 // scratch
	scratch []byte
	effort  float64 // of compiling what has been rewritten, in milliseconds
}

// Meter rewrites the module. If that isn't valid, what comes out isn't either. What is charged for, and what may run
// without a charge, the package's documentation says. The Module itself stays as it is.
func (m *Module) Meter(o Metering) ([]byte, Cost, error) {
	if err := m.reserved(o); err != nil {
		return nil, Cost{}, err
	}
	w := meter{Module: m, Metering: o, survey: m.survey()}
	out, err := w.module()
	w.cost.Functions, w.cost.InBytes, w.cost.OutBytes = m.Functions, len(m.Bytes), len(out)
	w.cost.Millis = int(w.effort)
	return out, w.cost, err
}

// reserved refuses modules that use the names that metering needs.
func (m *Module) reserved(o Metering) error {
	for _, i := range m.Imports {
		if i.Module == o.RefuelModule && i.Name == o.RefuelName {
			return fmt.Errorf("it imports %q of %q, a reserved name", i.Name, i.Module)
		}
	}
	for _, e := range m.Exports {
		if e.Name == o.FuelExport {
			return fmt.Errorf("it exports %q, a reserved name", e.Name)
		}
	}
	return nil
}

func (w *meter) module() ([]byte, error) {
	out := append(make([]byte, 0, len(w.Bytes)+len(w.Bytes)/2), preamble...)
	for _, id := range sectionOrder {
		r := w.sections[id].reader(id)
		body, err := w.section(id, r)
		if err != nil {
			return nil, err
		}
		r.mustBeWell()
		if len(body) > 0 {
			out = appendSection(out, id, body)
		}
	}
	if w.names != nil {
		out = w.appendNames(out, w.names, 1)
	}
	return out, nil
}

func (w *meter) section(id byte, r *reader) ([]byte, error) {
	switch id {
	case secType:
		return grown(r, refuelType), nil
	case secImport:
		return grown(r, w.refuelImport()), nil
	case secTable:
		return w.tableSection(r), nil
	case secGlobal:
		return w.globalSection(r), nil
	case secExport:
		return w.exportSection(), nil
	case secStart:
		return w.startSection(r), nil
	case secElement:
		return w.elementSection(r), nil
	case secCode:
		return w.codeSection()
	}
	return r.b, nil
}

// refuelType is the signature of refuel.
var refuelType = []byte{0x60, 0, 0}

func (w *meter) refuelImport() []byte {
	i := append(appendName(appendName(nil, w.RefuelModule), w.RefuelName), byte(Function))
	return appendU32(i, uint32(len(w.types)))
}

// grown is a vector with one more item at its end.
func grown(r *reader, item []byte) []byte {
	n := uint32(0)
	if len(r.b) > 0 {
		n = r.u32()
	}
	out := appendU32(make([]byte, 0, len(r.b)+len(item)+5), n+1)
	return append(append(out, r.b[r.p:]...), item...)
}

// moved is a function's number after the import of refuel came in behind the other imports.
func (w *meter) moved(fn uint32) uint32 {
	if int(fn) >= w.imported() {
		return fn + 1
	}
	return fn
}

// refuel is the number of the function to call when fuel runs out.
func (w *meter) refuel() uint32 { return uint32(w.imported()) }

// fuel is the number of the fuel global. It is the first behind the module's own, which can't name it.
func (w *meter) fuel() uint32 { return uint32(w.Globals) }

// reference is the number of the global that holds a reference to a function. It takes the place of the
// instruction ref.func, each execution of which makes the runtime allocate memory that it doesn't give back.
func (w *meter) reference(fn uint32) uint32 { return w.fuel() + 1 + w.ref[fn] }

// tableSection gives every table a maximum.
func (w *meter) tableSection(r *reader) []byte {
	if w.Tables == 0 {
		return nil
	}
	out := appendU32(nil, r.u32())
	for range w.Tables {
		out = append(out, byte(r.refType()), 1)
		l := r.limits("table")
		most := max(w.TableMax, l.Min)
		if l.HasMax {
			most = min(most, l.Max)
		}
		out = appendU32(appendU32(out, l.Min), most)
	}
	return out
}

func (w *meter) globalSection(r *reader) []byte {
	out := appendU32(make([]byte, 0, len(r.b)+32+8*len(w.refs)), w.fuel()+1+uint32(len(w.refs)))
	if w.Globals > 0 {
		r.u32()
	}
	for range w.Globals {
		out = append(out, r.byte(), r.byte())
		out = w.constant(out, r)
	}
	out = append(out, byte(I64), 1, opI64Const)
	out = append(appendI64(out, int64(Fill(w.Slice))), opEnd)
	for _, fn := range w.refs {
		w.take(fn)
		out = append(out, byte(FuncRef), 0, opRefFunc)
		out = append(appendU32(out, w.moved(fn)), opEnd)
	}
	return out
}

// constant copies a constant expression.
func (w *meter) constant(to []byte, r *reader) []byte {
	for r.err == nil {
		i := r.next()
		if i.op == opRefFunc {
			w.take(i.first)
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

// take notes that indirect calls may reach a function.
func (w *meter) take(fn uint32) {
	if i := int(fn) - w.imported(); i >= 0 && i < len(w.functions) {
		w.functions[i].taken = true
	}
}

func (w *meter) exportSection() []byte {
	var out []byte
	out = appendU32(out, uint32(len(w.Exports)+1))
	for _, e := range w.Exports {
		out = append(appendName(out, e.Name), byte(e.Kind))
		if e.Kind == Function {
			e.index = w.moved(e.index)
		}
		out = appendU32(out, e.index)
	}
	out = append(appendName(out, w.FuelExport), byte(Global))
	return appendU32(out, w.fuel())
}

func (w *meter) startSection(r *reader) []byte {
	if !w.HasStart {
		return nil
	}
	return appendU32(nil, w.moved(r.u32()))
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
			continue
		}
		fn := r.u32()
		w.take(fn)
		to = appendU32(to, w.moved(fn))
	}
	return to
}

// codeSection rewrites functions in the plan's order and puts them down in their own.
func (w *meter) codeSection() ([]byte, error) {
	if w.Functions == 0 {
		return nil, nil
	}
	bodies, order := w.bodies(), w.plan()
	w.measure()
	for _, fn := range order {
		f := &w.functions[fn]
		f.at = len(w.code)
		if err := w.function(fn, bodies[fn]); err != nil {
			return nil, err
		}
		f.end = len(w.code)
	}
	out := appendU32(make([]byte, 0, len(w.code)+5*len(order)), uint32(w.Functions))
	for _, f := range w.functions {
		out = appendU32(out, uint32(f.end-f.at))
		out = append(out, w.code[f.at:f.end]...)
	}
	w.code = nil
	return out, nil
}

// measure finds how much stack an indirect call takes: as much as the worst function that it may reach.
func (w *meter) measure() {
	worst := map[string]int32{}
	key := func(t Signature) string { return fmt.Sprintf("%x:%x", t.Params, t.Results) }
	for i, f := range w.functions {
		if f.taken {
			k := key(w.signature(uint32(w.imported() + i)))
			worst[k] = max(worst[k], f.height)
		}
	}
	w.heights = make([]int32, len(w.types))
	for i, t := range w.types {
		w.heights[i] = worst[key(t)]
	}
}
