// Conform asks a conformance guest all cases of the kit, and tells what it got wrong.
//
//	go run ./plugins/sdk/conformance/conform guest.wasm
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/locktopus-project/locktopus/v2/plugins/sdk/conformance"
)

// patience is for all cases together.
const patience = 2 * time.Minute

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: conform guest.wasm")
		os.Exit(2)
	}
	if err := conform(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s: all %d cases passed\n", os.Args[1], len(conformance.Cases()))
}

func conform(file string) error {
	wasm, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return conformance.Run(ctx, wasm)
}
