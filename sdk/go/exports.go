package fanfare

// The offsets are those of the canonical ABI for the records of the contract: `wit/types.wit`.

// The id of the current call, which imports pass to the host. 0: there is none.
var caller uint64

//go:wasmexport fanfare:module/handler@0.1.0#handle
func handle(from uint32) uint32 {
	open()
	defer shut()
	at := uintptr(from)
	call := &Call{
		ID:         get[uint64](at),
		Handler:    getString(at + 8),
		Trigger:    getTrigger(get[uint8](at+16), at+24),
		Subdomain:  getOptional(at + 96),
		DeadlineMs: get[uint32](at + 108),
		Params:     getPairs(at + 112),
		Query:      getString(at + 120),
		Body:       getPayload(at + 128),
		Extra:      getPairs(at + 140),
	}
	caller = call.ID
	end, failure := run(call)
	caller = 0
	result := hold(44)
	switch end := end.(type) {
	case Reply:
		put(result+8, uint16(end.Status))
		putPairs(result+12, end.Headers)
		putPayload(result+20, end.Body)
	case Pass:
		put(result+4, uint8(1))
		if end.Payload != nil {
			put(result+8, uint8(1))
			putPayload(result+12, end.Payload)
		}
		putPairs(result+24, end.Facts)
	}
	if failure != nil {
		put(result, uint8(1))
		putBytes(result+4, failure.Name)
		putBytes(result+12, failure.Message)
		put(result+20, uint16(failure.Status))
		putPayload(result+24, failure.Data)
		putPairs(result+36, failure.Extra)
	}
	return uint32(result)
}

//go:wasmexport cabi_post_fanfare:module/handler@0.1.0#handle
func handled(uint32) { release() }

var (
	triggers = [...]string{
		"http", "broadcast", "rpc", "schedule", "subscription", "client", "channel", "hook", "startup", "other",
	}
	methods = [...]string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	actions = [...]string{"subscribe", "unsubscribe", "publish", "deliver"}
	reasons = [...]string{"start", "swap", "restart"}
)

// getName reads a case of a variant whose last case has a text.
func getName(names []string, at uintptr) string {
	if tag := int(get[uint8](at)); tag < len(names) {
		return names[tag]
	}
	return getString(at + 4)
}

func getTrigger(tag uint8, at uintptr) Trigger {
	trigger := Trigger{Kind: triggers[tag]}
	switch trigger.Kind {
	case "http":
		trigger.Method = getName(methods[:], at)
	case "broadcast":
		trigger.Name, trigger.Number, trigger.Seq = getString(at), get[uint64](at+8), get[uint64](at+16)
		trigger.SameAsCaller = get[uint8](at+24) == 1
	case "schedule":
		trigger.Name, trigger.DueMs, trigger.Run = getString(at), get[uint64](at+8), getString(at+16)
	case "subscription":
		trigger.Name, trigger.Source, trigger.Topic = getString(at), getString(at+8), getString(at+16)
		trigger.Position = getOptional(at + 24)
	case "client":
		trigger.Session, trigger.Name, trigger.WantsReply = getString(at), getString(at+8), get[uint8](at+16) == 1
	case "channel":
		trigger.Channel, trigger.Action = getString(at), getName(actions[:], at+8)
		trigger.Session = getOptional(at + 20)
	case "hook":
		trigger.Name = getString(at)
	case "startup":
		trigger.Name, trigger.Reason = getString(at), getName(reasons[:], at+8)
	case "other":
		trigger.Kind, trigger.Data = getString(at), getString(at+8)
	}
	return trigger
}

//go:wasmexport fanfare:module/describe@0.1.0#handlers
func describe() uint32 {
	open()
	defer shut()
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
	open()
	defer shut()
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
	open()
	defer shut()
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
