package wasm

// Cost is an estimate of how long code takes to run, in bytes of simple instructions: most take a tenth of a
// nanosecond, and loads that miss every cache take ten.
const (
	// unitRun is the cost that one unit of fuel pays for.
	unitRun = 256

	// maxRun is the cost from which on a charge follows.
	maxRun = 512

	// maxMoves is the most that is reckoned for the values that a branch or a call may have to move.
	maxMoves = 128

	// maxStep is the most that one instruction costs, or the entry into a function.
	maxStep = 8 + maxMoves

	// maxTail is the most that a function runs after its last charge: a return from just below maxRun.
	maxTail = maxRun + maxStep

	// maxStretch is the most that is ever run without a charge; see the package's documentation.
	maxStretch = 2*maxRun + maxStep

	// hostUnits is what a call of the host costs, which takes much longer than the instruction.
	hostUnits = 8

	// memoryShift and tableShift say how much of a memory, in bytes, or a table, in elements, one unit pays
	// for, as powers of two.
	memoryShift = 8
	tableShift  = 5
)

// weights are the costs of instructions for which their length is no estimate.
var weights = func() (all [256]byte) {
	for _, s := range []struct{ first, last, cost byte }{
		{0x25, 0x26, 8},                    // tables
		{0x28, 0x3e, 8},                    // loads and stores
		{0x6d, 0x70, 16}, {0x7f, 0x82, 16}, // divisions of integers
		{0x91, 0x91, 16}, {0x95, 0x95, 16}, {0x9f, 0x9f, 16}, {0xa3, 0xa3, 16}, // square roots and divisions
		{0x96, 0x97, 8}, {0xa4, 0xa5, 8}, // minimum and maximum
		{0xa8, 0xab, 8}, {0xae, 0xb1, 8}, // floats to integers
		{0xb5, 0xb5, 8}, {0xba, 0xba, 8}, // unsigned integers to floats
		{opMisc, opMisc, 16}, {opVec, opVec, 16},
	} {
		for op := int(s.first); op <= int(s.last); op++ {
			all[op] = s.cost
		}
	}
	return all
}()

// cost is that of an instruction that is neither a call nor a branch.
func (i instr) cost() int {
	if w := weights[i.op]; w != 0 {
		return int(w)
	}
	return min(i.end-i.at, 8)
}

// moves is the cost of n values that may have to be moved.
func moves(n int) int { return min(n/16, maxMoves) }

func callCost(s Signature) int { return 16 + min((len(s.Params)+len(s.Results))/4, maxMoves-16) }
