package fanfare

import (
	"encoding/json"
	"fmt"
)

// A Level is that of a line of the log.
type Level uint32

const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// A CallError is the error of a function of the host. A handler that returns it ends its call with
// the failure of the other handler, or with a failure that has the name of the kind.
type CallError struct {
	// The kind in the contract: `forbidden`, `not-found` and so on.
	Kind, Message string
	// Of the kind `failure`: what the other handler returned. nil otherwise.
	Failure *Failure
}

func (e *CallError) Error() string { return e.Kind + ": " + e.Message }

// Unwrap returns the failure that the error becomes.
func (e *CallError) Unwrap() error {
	if e.Failure != nil {
		return e.Failure
	}
	return Fail(e.Kind, statuses[e.Kind], e.Message)
}

var kinds = [...]string{
	"failure", "timeout", "not-found", "forbidden", "overloaded", "crashed", "unavailable", "would-deadlock",
	"too-deep", "invalid", "other",
}

// The HTTP status of each kind, as in the problem documents of the host.
var statuses = map[string]int{
	"timeout": 504, "not-found": 404, "forbidden": 403, "overloaded": 503, "crashed": 500, "unavailable": 503,
	"would-deadlock": 508, "too-deep": 508, "invalid": 400, "other": 502,
}

// getResult reads a `result<_, call-error>` whose payload is at an offset.
func getResult(at, payload uintptr) error {
	if get[uint8](at) == 0 {
		return nil
	}
	at += payload
	err := &CallError{Kind: kinds[get[uint8](at)]}
	switch err.Kind {
	case "failure":
		err.Failure = &Failure{Name: getString(at + 4), Message: getString(at + 12), Status: int(get[uint16](at + 20))}
		err.Failure.Data, err.Failure.Extra = getBody(at+24), getPairs(at+36)
		err.Message = err.Failure.Error()
	case "timeout":
		err.Message = "the deadline passed"
	case "other":
		err.Message = getString(at+4) + ": " + getString(at+12)
	default:
		err.Message = getString(at + 4)
	}
	return err
}

// The current call, as an `option<call-id>`.
func current() (uint32, uint64) {
	if caller == 0 {
		return 0, 0
	}
	return 1, caller
}

//go:wasmimport fanfare:module/host@0.1.0 log
func hostLog(has uint32, caller uint64, level, text, length, fields, count uint32)

// Log writes one line to the host's log.
func Log(level Level, message string) {
	has, id := current()
	text, length := holdBytes(message)
	hostLog(has, id, uint32(level), text, length, 0, 0)
}

// An Identity is where the module runs.
type Identity struct {
	Node, Server string
	// Such as `worker-0`.
	Isolate string
	// The number of workers of the node.
	Workers            int
	Module, Generation string
}

//go:wasmimport fanfare:module/host@0.1.0 whoami
func hostWhoami(result uint32)

// Whoami returns where the module runs.
func Whoami() Identity {
	at := hold(44)
	asking(func() { hostWhoami(uint32(at)) })
	who := Identity{
		Node: getString(at), Server: getString(at + 8), Workers: int(get[uint32](at + 24)), Module: getString(at + 28),
		Generation: getString(at + 36),
	}
	who.Isolate = "master"
	if tag := get[uint8](at + 16); tag < 2 {
		who.Isolate = fmt.Sprint([...]string{"worker", "broker"}[tag], "-", get[uint32](at+20))
	}
	return who
}

//go:wasmimport fanfare:module/config@0.1.0 get
func configGet(has uint32, caller uint64, pointer, length, result uint32)

// Config reads the value at a JSON Pointer, such as `/limits/most`, of the module's configuration.
// It returns whether there is one.
func Config(pointer string, into any) (bool, error) {
	has, id := current()
	text, length := holdBytes(pointer)
	result := hold(12)
	asking(func() { configGet(has, id, text, length, uint32(result)) })
	if get[uint8](result) == 0 {
		return false, nil
	}
	return true, json.Unmarshal(getBytes(result+4), into)
}

//go:wasmimport fanfare:module/broadcast-blocking@0.1.0 emit
func broadcastEmit(has uint32, caller uint64, hasModule, module, moduleLength, name, nameLength, hasTenant, tenant,
	tenantLength, extra, extraCount, kind, payload, payloadLength, result uint32)

// Emit queues a broadcast of this module in every worker, and returns at once. The payload is nil, a
// string, []byte, or a value that is sent as JSON. It returns the number of workers.
func Emit(name string, payload any) (int, error) {
	result, err := emit(broadcastEmit, name, payload)
	if err != nil {
		return 0, err
	}
	return int(get[uint32](result + 24)), nil
}

//go:wasmimport fanfare:module/durable-blocking@0.1.0 emit
func durableEmit(has uint32, caller uint64, hasModule, module, moduleLength, name, nameLength, hasTenant, tenant,
	tenantLength, extra, extraCount, kind, payload, payloadLength, result uint32)

// EmitDurable emits a broadcast with `"delivery": "durable"` in the manifest, and returns when the
// stream has it. While it waits, the instance runs nothing else. It returns the place in the stream.
// After the error `timeout`, the stream may have the broadcast.
func EmitDurable(name string, payload any) (uint64, error) {
	result, err := emit(durableEmit, name, payload)
	if err != nil {
		return 0, err
	}
	return get[uint64](result + 16), nil
}

// Calls a function of the host that emits. Returns where its receipt is.
func emit(function func(has uint32, caller uint64, hasModule, module, moduleLength, name, nameLength, hasTenant, tenant,
	tenantLength, extra, extraCount, kind, payload, payloadLength, result uint32), name string, payload any) (uintptr, error) {
	payload, _, err := encode(payload)
	if err != nil {
		return 0, err
	}
	has, id := current()
	text, length := holdBytes(name)
	kind, body, bodyLength := holdPayload(payload)
	result := hold(56)
	asking(func() {
		function(has, id, 0, 0, 0, text, length, 0, 0, 0, 0, 0, kind, body, bodyLength, uint32(result))
	})
	return result, getResult(result, 8)
}
