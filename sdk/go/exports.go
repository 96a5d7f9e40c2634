package fanfare

// The offsets are those of the canonical ABI for the records of the contract: `wit/types.wit`.

var triggers = [...]string{
	"http", "broadcast", "rpc", "schedule", "subscription", "client", "channel", "hook", "startup", "other",
}

// The id of the current call, which imports pass to the host. 0: there is none.
var caller uint64

//go:wasmexport fanfare:module/handler@0.1.0#handle
func handle(from uint32) uint32 {
	at := uintptr(from)
	call := &Call{
		ID:         get[uint64](at),
		Handler:    getString(at + 8),
		Trigger:    triggers[get[uint8](at+16)],
		DeadlineMs: get[uint32](at + 108),
		Params:     getPairs(at + 112),
		Query:      getString(at + 120),
		Body:       getPayload(at + 128),
		Extra:      getPairs(at + 140),
	}
	caller = call.ID
	reply, failure := run(call)
	caller = 0
	result := hold(44)
	if failure != nil {
		put(result, uint8(1))
		putBytes(result+4, failure.Name)
		putBytes(result+12, failure.Message)
		put(result+20, uint16(failure.Status))
		return uint32(result)
	}
	put(result+8, uint16(reply.Status))
	putPairs(result+12, reply.Headers)
	putPayload(result+20, reply.Body)
	return uint32(result)
}

//go:wasmexport cabi_post_fanfare:module/handler@0.1.0#handle
func handled(uint32) { release() }

//go:wasmexport fanfare:module/describe@0.1.0#handlers
func describe() uint32 {
	all, result := names(), hold(8)
	first := hold(len(all) * 8)
	for i, name := range all {
		putBytes(first+uintptr(i)*8, name)
	}
	put(result, uint32(first))
	put(result+4, uint32(len(all)))
	return uint32(result)
}

//go:wasmexport cabi_post_fanfare:module/describe@0.1.0#handlers
func described(uint32) { release() }

//go:wasmexport fanfare:module/snapshot@0.1.0#save
func save() uint32 {
	result := hold(16)
	if saves == nil {
		return uint32(result)
	}
	state, err := saves()
	if err != nil {
		put(result, uint8(1))
		putBytes(result+4, err.Error())
		return uint32(result)
	}
	putPayload(result+4, string(state))
	return uint32(result)
}

//go:wasmexport cabi_post_fanfare:module/snapshot@0.1.0#save
func saved(uint32) { release() }

//go:wasmexport fanfare:module/snapshot@0.1.0#load
func load(from, fromLength, kind, state, length uint32) uint32 {
	result := hold(12)
	if loads == nil || kind == 0 {
		return uint32(result)
	}
	if err := loads(bytesAt(uintptr(state), length)); err != nil {
		put(result, uint8(1))
		putBytes(result+4, err.Error())
	}
	return uint32(result)
}

//go:wasmexport cabi_post_fanfare:module/snapshot@0.1.0#load
func loaded(uint32) { release() }
