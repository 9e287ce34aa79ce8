package locktopus

import "unsafe"

//go:wasmimport locktopus log
func hostLog(level Level, text unsafe.Pointer, n uint32)

func init() {
	logLine = func(level Level, text string) {
		hostLog(level, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
	}
}
