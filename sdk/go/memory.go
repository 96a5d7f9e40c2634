package fanfare

import (
	"time"
	"unsafe"
)

// The host allows no calls of its functions while it calls `cabi_realloc`, and after a call has ended.
// The garbage collector may run then, and asks for the time: wasi.wat returns the last one while the
// byte at this address is 1.
const gate = 96

func init() {
	// Both clocks have a last time from now on.
	time.Now()
	shut()
}

// shut begins a time in which the host may call `cabi_realloc`. It returns the previous state.
func shut() uint8 { return pass(1) }

// open begins the run of a call.
func open() { pass(0) }

func pass(state uint8) uint8 {
	previous := get[uint8](gate)
	put(gate, state)
	return previous
}

// asking runs a function of the host that returns what needs memory.
func asking(call func()) {
	previous := shut()
	call()
	pass(previous)
}

// Memory of the current call that the host has or gets the address of. The garbage collector does
// not move it, and does not free it before the call ends.
var held [][]uint64

// hold returns zeroed memory. The host wants multiples of 8 as addresses of some values.
func hold(size int) uintptr {
	block := make([]uint64, (size+7)/8+1)
	held = append(held, block)
	return uintptr(unsafe.Pointer(unsafe.SliceData(block)))
}

func release() {
	clear(held)
	held = held[:0]
}

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uint32) unsafe.Pointer {
	at := hold(int(size))
	copy(bytesAt(at, min(oldSize, size)), unsafe.Slice((*byte)(old), min(oldSize, size)))
	return unsafe.Pointer(at)
}

func bytesAt(at uintptr, length uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(at)), length)
}

// get reads a number.
func get[T uint8 | uint16 | uint32 | uint64](at uintptr) T { return *(*T)(unsafe.Pointer(at)) }

// put writes a number.
func put[T uint8 | uint16 | uint32 | uint64](at uintptr, value T) { *(*T)(unsafe.Pointer(at)) = value }

// getBytes reads a list of bytes or a string, which is an address and a length, into new memory.
func getBytes(at uintptr) []byte {
	return append([]byte(nil), bytesAt(uintptr(get[uint32](at)), get[uint32](at+4))...)
}

func getString(at uintptr) string { return string(getBytes(at)) }

func getStrings(at uintptr) []string {
	first, count := uintptr(get[uint32](at)), uintptr(get[uint32](at+4))
	all := make([]string, count)
	for i := range all {
		all[i] = getString(first + uintptr(i)*8)
	}
	return all
}

// getOptional reads an `option<string>`. None is the empty string.
func getOptional(at uintptr) string {
	if get[uint8](at) == 0 {
		return ""
	}
	return getString(at + 4)
}

func getPairs(at uintptr) []Pair {
	first, count := uintptr(get[uint32](at)), uintptr(get[uint32](at+4))
	pairs := make([]Pair, count)
	for i := range pairs {
		pair := first + uintptr(i)*16
		pairs[i] = Pair{getString(pair), getString(pair + 8)}
	}
	return pairs
}

// holdBytes copies bytes for the host, and returns their address and length.
func holdBytes[T string | []byte](value T) (uint32, uint32) {
	at := hold(len(value))
	copy(bytesAt(at, uint32(len(value))), value)
	return uint32(at), uint32(len(value))
}

func putBytes[T string | []byte](at uintptr, value T) {
	first, length := holdBytes(value)
	put(at, first)
	put(at+4, length)
}

// putOptional writes an `option<string>`. The empty string is none.
func putOptional(at uintptr, value string) {
	if value != "" {
		put(at, uint8(1))
		putBytes(at+4, value)
	}
}

// holdPairs copies pairs for the host, and returns their address and number.
func holdPairs(pairs []Pair) (uint32, uint32) {
	first := hold(len(pairs) * 16)
	for i, pair := range pairs {
		putBytes(first+uintptr(i)*16, pair.Name)
		putBytes(first+uintptr(i)*16+8, pair.Value)
	}
	return uint32(first), uint32(len(pairs))
}

func putPairs(at uintptr, pairs []Pair) {
	first, count := holdPairs(pairs)
	put(at, first)
	put(at+4, count)
}

// holdPayload returns a payload as the three numbers of an argument.
func holdPayload(value any) (kind, at, length uint32) {
	switch value := value.(type) {
	case string:
		at, length = holdBytes(value)
		return 1, at, length
	case []byte:
		at, length = holdBytes(value)
		return 2, at, length
	}
	return 0, 0, 0
}

func putPayload(at uintptr, value any) {
	kind, first, length := holdPayload(value)
	put(at, uint8(kind))
	put(at+4, first)
	put(at+8, length)
}

func getPayload(at uintptr) []byte {
	if get[uint8](at) == 0 {
		return nil
	}
	return getBytes(at + 4)
}

// getBody reads a payload as nil, a string or []byte.
func getBody(at uintptr) any {
	switch get[uint8](at) {
	case 0:
		return nil
	case 1:
		return getString(at + 4)
	}
	return getBytes(at + 4)
}
