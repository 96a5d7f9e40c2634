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

// A CallError is the error of a function of the host.
type CallError struct {
	// The kind in the contract: `forbidden`, `not-found` and so on.
	Kind, Message string
}

func (e *CallError) Error() string { return e.Kind + ": " + e.Message }

var kinds = [...]string{
	"failure", "timeout", "not-found", "forbidden", "overloaded", "crashed", "unavailable", "would-deadlock",
	"too-deep", "invalid", "other",
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

//go:wasmimport fanfare:module/config@0.1.0 get
func configGet(has uint32, caller uint64, pointer, length, result uint32)

// Config reads the value at a JSON Pointer, such as `/limits/most`, of the module's configuration.
// It returns whether there is one.
func Config(pointer string, into any) (bool, error) {
	has, id := current()
	text, length := holdBytes(pointer)
	result := hold(12)
	configGet(has, id, text, length, uint32(result))
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
	switch payload.(type) {
	case nil, string, []byte:
	default:
		text, err := json.Marshal(payload)
		if err != nil {
			return 0, fmt.Errorf("the payload of %s: %w", name, err)
		}
		payload = string(text)
	}
	has, id := current()
	text, length := holdBytes(name)
	kind, body, bodyLength := holdPayload(payload)
	result := hold(56)
	broadcastEmit(has, id, 0, 0, 0, text, length, 0, 0, 0, 0, 0, kind, body, bodyLength, uint32(result))
	if get[uint8](result) == 0 {
		return int(get[uint32](result + 24)), nil
	}
	err := &CallError{Kind: kinds[get[uint8](result+8)]}
	if err.Kind != "timeout" {
		err.Message = getString(result + 12)
	}
	return 0, err
}
