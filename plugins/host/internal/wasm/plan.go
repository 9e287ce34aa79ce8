package wasm

// maxHeight is how many bytes of stack, by estimate, functions may take that call each other without an account.
// An account assumes the most that may lie between it and the next, so more makes larger errors; less makes more
// accounts, which take time. With 16 KiB, a sixth of the calls of a large Go program are accounted, nearly all of
// them because they may recur.
const maxHeight = 16 << 10

// A visitState says how far plan is with a function.
type visitState byte

const (
	unseen visitState = iota
	entered
	left
)

// A visit is a function whose calls are being followed.
type visit struct {
	fn   uint32
	next int // of its calls
}

// plan decides which calls are accounted, and gives the order in which functions are rewritten: callees first.
//
// An accounted call is charged before and after, so that neither a recursion that goes down nor one that comes
// back up gets away; and the charges say how deep the stack is. The calls that are left form no cycles, which
// bounds the stack and the code between two charges by numbers that are known beforehand. Indirect calls don't
// appear here, since they all are accounted.
func (s *survey) plan() (order []uint32) {
	order = make([]uint32, 0, len(s.functions))
	var stack []visit
	for root := range s.functions {
		if s.functions[root].state == unseen {
			stack = s.enter(stack, uint32(root))
		}
		for len(stack) > 0 {
			v := &stack[len(stack)-1]
			if calls := s.callsOf(v.fn); v.next < len(calls) {
				callee := calls[v.next].callee()
				if v.next++; s.functions[callee].state == unseen {
					stack = s.enter(stack, callee)
				}
				continue
			}
			s.leave(v.fn)
			order = append(order, v.fn)
			stack = stack[:len(stack)-1]
		}
	}
	return order
}

func (s *survey) callsOf(fn uint32) []call {
	end := len(s.calls)
	if int(fn)+1 < len(s.functions) {
		end = int(s.functions[fn+1].calls)
	}
	return s.calls[s.functions[fn].calls:end]
}

func (s *survey) enter(stack []visit, fn uint32) []visit {
	s.functions[fn].state = entered
	return append(stack, visit{fn: fn})
}

// leave decides on the calls of a function of which all callees are decided, except those that called it.
func (s *survey) leave(fn uint32) {
	f := &s.functions[fn]
	calls, below := s.callsOf(fn), int32(0)
	for i, c := range calls {
		callee := &s.functions[c.callee()]
		if callee.state == entered || f.frame+callee.height > maxHeight {
			calls[i] |= accounted
			continue
		}
		below = max(below, callee.height)
	}
	f.height = f.frame + below
	f.state = left
}
