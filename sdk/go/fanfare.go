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
// a string is text, []byte is bytes, a Reply and a Pass are themselves, and any other value is JSON.
// An error becomes a failure: a Failure with its name and status, the error of a function of the host
// with its kind, and any other error with the name `error` and status 500.
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
	Trigger Trigger
	// The tenant, or empty.
	Subdomain string
	Params    []Pair
	// Without its `?`, not decoded.
	Query      string
	Body       []byte
	DeadlineMs uint32
	// Facts that middlewares passed on, each named `<module>.<name>`.
	Extra []Pair
}

// A Trigger is what caused a call. A field that the kind does not have is empty.
type Trigger struct {
	// `http`, `broadcast`, `rpc`, `schedule`, `subscription`, `client`, `channel`, `hook`, `startup`,
	// or a later kind, such as `stream`.
	Kind string
	// http: such as `GET`. `HEAD` arrives as `GET`.
	Method string
	// broadcast, schedule, subscription, hook, startup: the name in the manifest. client: the name of
	// the message.
	Name string
	// broadcast: its number on its node, its position in the module's order, and whether this worker
	// emitted it.
	Number, Seq  uint64
	SameAsCaller bool
	// schedule: when it was due, in milliseconds since 1970, and the id of the run in the cluster.
	DueMs uint64
	Run   string
	// subscription: `event`, `redis` or `channel`; the type or channel; the position.
	Source, Topic, Position string
	// client, and channel if a client acts: the id of the session.
	Session string
	// client: whether it waits for a reply.
	WantsReply bool
	// channel: its name, and `subscribe`, `unsubscribe`, `publish`, `deliver`, `join` or `leave`.
	Channel, Action string
	// startup: `start`, `swap` or `restart`.
	Reason string
	// A later kind: JSON. For a stream `{"key": .., "lastEventId": ..}`.
	Data string
}

// A Pair is a name and its value.
type Pair struct{ Name, Value string }

// Param returns the segment of the path with this name.
func (c *Call) Param(name string) string { return find(c.Params, name) }

// Fact returns a fact that a middleware passed on, such as `login.user`, or an empty string.
func (c *Call) Fact(name string) string { return find(c.Extra, name) }

func find(pairs []Pair, name string) string {
	for _, pair := range pairs {
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

// A Pass lets a call continue with its next step, for middlewares, filters and routes of channels.
type Pass struct {
	// Replaces the payload of the call. nil keeps it. A string is text, []byte is bytes, and any other
	// value is sent as JSON.
	Payload any
	// Facts for the next steps, which find each in Extra as `<module>.<name>`.
	Facts []Pair
}

// A Failure refuses a call.
type Failure struct {
	Name, Message string
	Status        int
	// For the caller's program: nil, a string, []byte, or a value that is sent as JSON.
	Data  any
	Extra []Pair
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

// run runs a handler. It returns a Reply or a Pass, with what they carry as string or []byte. A panic
// of the handler is an error of the call, and a line of the log.
func run(call *Call) (end any, failure *Failure) {
	defer func() {
		if problem := recover(); problem != nil {
			Log(LevelError, fmt.Sprint(problem, place()))
			end, failure = nil, &Failure{Name: "error", Message: fmt.Sprint(problem), Status: 500}
		}
	}()
	handler, ok := handlers[call.Handler]
	if !ok {
		return nil, &Failure{Name: "no-such-handler", Message: "there is no handler " + call.Handler, Status: 500}
	}
	result, err := handler(call)
	if err == nil {
		end, err = ended(result)
	}
	if err == nil {
		return end, nil
	}
	if !errors.As(err, &failure) {
		Log(LevelError, err.Error())
		failure = &Failure{Name: "error", Message: err.Error(), Status: 500}
	}
	copied := *failure
	if copied.Data, _, err = encode(copied.Data); err != nil {
		copied.Data = nil
	}
	return nil, &copied
}

// ended returns how a call ends with the result of its handler.
func ended(result any) (any, error) {
	var err error
	var reply Reply
	switch result := result.(type) {
	case Pass:
		result.Payload, _, err = encode(result.Payload)
		return result, err
	case *Pass:
		return ended(*result)
	case Reply:
		reply = result
	case *Reply:
		reply = *result
	default:
		reply.Body = result
	}
	body, isJSON, err := encode(reply.Body)
	if isJSON {
		reply.Headers = append([]Pair{{"content-type", "application/json"}}, reply.Headers...)
	}
	reply.Body = body
	return reply, err
}

// encode returns a value as what a payload can be: nil, a string or []byte. It also returns whether
// it made JSON of the value.
func encode(value any) (any, bool, error) {
	switch value.(type) {
	case nil, string, []byte:
		return value, false, nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, false, Fail("invalid-result", 500, err.Error())
	}
	return string(text), true, nil
}
