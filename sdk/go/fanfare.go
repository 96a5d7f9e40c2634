// Package fanfare writes Fanfare modules in Go.
//
//	func main() {}
//
//	func init() {
//		fanfare.Handle("greet", func(call *fanfare.Call) (any, error) {
//			return "Hello, " + call.Param("name"), nil
//		})
//	}
//
// An instance runs one call at a time. What a handler returns becomes the reply: nil is no content,
// a string is text, []byte is bytes, a Reply is itself, and any other value is JSON. An error becomes
// a failure: a Failure with its name and status, any other error with the name `error` and status
// 500.
package fanfare

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// A Call is the input of a handler, and who made it.
type Call struct {
	ID      uint64
	Handler string
	// Trigger says what caused the call: `http`, `broadcast`, `rpc` and so on.
	Trigger    string
	Params     []Pair
	Query      string
	Body       []byte
	DeadlineMs uint32
	// Facts that middlewares passed on.
	Extra []Pair
}

// A Pair is a name and its value.
type Pair struct{ Name, Value string }

// Param returns the segment of the path with this name.
func (c *Call) Param(name string) string {
	for _, pair := range c.Params {
		if pair.Name == name {
			return pair.Value
		}
	}
	return ""
}

// JSON parses the body. Its error is the failure `invalid-body` with status 400.
func (c *Call) JSON(into any) error {
	if err := json.Unmarshal(c.Body, into); err != nil {
		return Fail("invalid-body", 400, err.Error())
	}
	return nil
}

// A Reply has a status and header fields.
type Reply struct {
	Status  int
	Headers []Pair
	// nil, a string, []byte, or a value that is sent as JSON.
	Body any
}

// A Failure refuses a call.
type Failure struct {
	Name, Message string
	Status        int
}

func (f *Failure) Error() string { return f.Name + ": " + f.Message }

// Fail makes a failure. The name is for programs, the message for people.
func Fail(name string, status int, message string) error {
	return &Failure{Name: name, Message: message, Status: status}
}

// A Handler runs one call.
type Handler func(call *Call) (any, error)

var handlers = map[string]Handler{}

// Handle names a handler. Call it in `init`, which also runs before each start of an instance.
func Handle(name string, handler Handler) { handlers[name] = handler }

var (
	saves func() ([]byte, error)
	loads func(state []byte) error
)

// Snapshot hands the state of the module to its next generation, as JSON.
func Snapshot[T any](save func() T, load func(state T)) {
	saves = func() ([]byte, error) { return json.Marshal(save()) }
	loads = func(state []byte) error {
		var value T
		if err := json.Unmarshal(state, &value); err != nil {
			return err
		}
		load(value)
		return nil
	}
}

func names() []string {
	var all []string
	for name := range handlers {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// place returns where the handler panicked.
func place() string {
	frames := runtime.CallersFrames(callers())
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf(" at %s:%d in %s", frame.File, frame.Line, frame.Function)
		}
		if !more {
			return ""
		}
	}
}

// callers returns the stack below the function that recovers.
func callers() []uintptr {
	stack := make([]uintptr, 32)
	return stack[:runtime.Callers(4, stack)]
}

// run runs a handler. A panic of the handler is an error of the call, and a line of the log.
func run(call *Call) (reply Reply, failure *Failure) {
	defer func() {
		if problem := recover(); problem != nil {
			Log(LevelError, fmt.Sprint(problem, place()))
			reply, failure = Reply{}, &Failure{Name: "error", Message: fmt.Sprint(problem), Status: 500}
		}
	}()
	handler, ok := handlers[call.Handler]
	if !ok {
		return Reply{}, &Failure{Name: "no-such-handler", Message: "there is no handler " + call.Handler, Status: 500}
	}
	result, err := handler(call)
	if err != nil {
		if errors.As(err, &failure) {
			return Reply{}, failure
		}
		Log(LevelError, err.Error())
		return Reply{}, &Failure{Name: "error", Message: err.Error(), Status: 500}
	}
	switch result := result.(type) {
	case Reply:
		reply = result
	case *Reply:
		reply = *result
	default:
		reply.Body = result
	}
	switch reply.Body.(type) {
	case nil, string, []byte:
		return reply, nil
	}
	text, err := json.Marshal(reply.Body)
	if err != nil {
		return Reply{}, &Failure{Name: "invalid-result", Message: err.Error(), Status: 500}
	}
	reply.Body = string(text)
	reply.Headers = append([]Pair{{"content-type", "application/json"}}, reply.Headers...)
	return reply, nil
}
