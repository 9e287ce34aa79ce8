package conformance_test

import (
	"context"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/locktopus-project/locktopus/v2/plugins/internal/build"
	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

func TestWhatIsNoModuleDoesNotPass(t *testing.T) {
	require.ErrorContains(t, conformance.Run(t.Context(), []byte("\x00asm\x01\x00")), "load: ")
}

func TestMissingHooksAreNamed(t *testing.T) {
	err := conformance.Run(t.Context(), build.Go(t, "../../examples/smallest-go"))
	for _, hook := range []string{"init", "authenticate", "normalize"} {
		require.ErrorContains(t, err, "locktopus_"+hook+" is not exported")
	}
	require.NotContains(t, err.Error(), "locktopus_authorize")
}

func TestWrongAnswersAreTold(t *testing.T) {
	err := conformance.Smallest(t.Context(), build.Go(t, "../go/conformance"))
	require.ErrorContains(t, err, "authorize/smallest-plain (writing one's own, reading another's): authorize: got status 2")
	require.ErrorContains(t, err, "authorize/smallest-write")
}

// looping is a guest that never comes back:
//
//	(module (memory (export "memory") 2)
//	  (func (export "locktopus_abi_1") (result i32) (loop (br 0)) (unreachable))
//	  (func (export "locktopus_buffer") (param i32) (result i32) (i32.const 0))
//	  (func (export "locktopus_authorize") (param i32) (result i64) (i64.const 1)))
const looping = "0061736d01000000010f036000017f60017f017f60017f017e0304030001020503010002074504066d656d6f727902000f6c" +
	"6f636b746f7075735f6162695f310000106c6f636b746f7075735f6275666665720001136c6f636b746f7075735f61757468" +
	"6f72697a6500020a1403080003400c000b000b040041000b040042010b"

func TestALoopEndsWithTheContext(t *testing.T) {
	wasm, err := hex.DecodeString(looping)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.Error(t, conformance.Smallest(ctx, wasm))
	require.Error(t, ctx.Err())
}
