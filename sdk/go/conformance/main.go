// The module that tests the package: each kind of call, and each function of the host that the
// templates do not use.
package main

import (
	"encoding/json"
	"errors"
	"os"
	"strings"

	"fanfare"
)

// The triggers of the calls since the last `seen`, and the number of all calls.
var (
	triggers []map[string]any
	calls    int
)

func init() {
	fanfare.Handle("show", show)
	fanfare.Handle("see", see)
	fanfare.Handle("seen", seen)
	fanfare.Handle("pass", pass)
	fanfare.Handle("fail", fail)
	fanfare.Handle("panic", func(*fanfare.Call) (any, error) { panic("out of cheese") })
	fanfare.Handle("tell", tell)
	fanfare.Handle("keep", keep)
	fanfare.Handle("ask", ask)
	fanfare.Handle("relay", relay)
	fanfare.Handle("fetch", fetch)
	fanfare.Handle("exit", func(*fanfare.Call) (any, error) { os.Exit(1); return nil, nil })
	fanfare.Snapshot(func() int { return calls }, func(state int) { calls = state })
}

// What a trigger has. What differs from run to run is true.
func facts(trigger fanfare.Trigger) (map[string]any, error) {
	text, err := json.Marshal(trigger)
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	for name, value := range all {
		switch {
		case value == "" || value == 0.0 || value == false:
			delete(all, name)
		case name == "Number" || name == "DueMs" || name == "Run" || name == "Position" || name == "Session":
			all[name] = true
		}
	}
	return all, nil
}

func show(call *fanfare.Call) (any, error) {
	trigger, err := facts(call.Trigger)
	return fanfare.Reply{
		Headers: []fanfare.Pair{{Name: "x-made", Value: "yes"}},
		Body: map[string]any{
			"trigger": trigger, "name": call.Param("name"), "query": call.Query, "color": call.Header("X-A"),
			"deadline": call.DeadlineMs > 0 && call.ID > 0, "subdomain": call.Subdomain, "body": string(call.Body),
			"user": call.Fact("peer.user"),
		},
	}, err
}

func see(call *fanfare.Call) (any, error) {
	calls++
	trigger, err := facts(call.Trigger)
	triggers = append(triggers, trigger)
	return nil, err
}

func seen(*fanfare.Call) (any, error) {
	all := triggers
	triggers = nil
	return fanfare.Reply{Headers: []fanfare.Pair{{Name: "x-calls", Value: string(rune('0' + calls))}}, Body: all}, nil
}

func pass(call *fanfare.Call) (any, error) {
	if _, err := see(call); err != nil {
		return nil, err
	}
	if call.Trigger.Kind == "channel" {
		// In a broker, whose calls `seen` does not return.
		trigger, err := facts(call.Trigger)
		return fanfare.Pass{Payload: map[string]any{"said": string(call.Body), "trigger": trigger}}, err
	}
	facts := []fanfare.Pair{{Name: "user", Value: call.Header("x-user")}}
	return &fanfare.Pass{Payload: strings.ToUpper(string(call.Body)), Facts: facts}, nil
}

func fail(*fanfare.Call) (any, error) {
	return nil, &fanfare.Failure{Name: "no-such-flag", Status: 404, Data: map[string]string{"flag": "dark"}}
}

func tell(call *fanfare.Call) (any, error) {
	return nil, fanfare.EventsEmit("go/told", json.RawMessage(call.Body))
}

// Emits the body as a durable broadcast, and as one that is not.
func keep(call *fanfare.Call) (any, error) {
	kinds := map[string]any{}
	for _, name := range []string{"kept", "told"} {
		place, err := fanfare.EmitDurable(name, string(call.Body))
		var failed *fanfare.CallError
		if errors.As(err, &failed) {
			kinds[name] = failed.Kind
		} else {
			kinds[name] = place
		}
	}
	return kinds, nil
}

// Calls the route in the body.
func ask(call *fanfare.Call) (any, error) {
	response, err := fanfare.RPCCall(string(call.Body), "grüße")
	return described(response, err), nil
}

func described(response *fanfare.Response, err error) any {
	var failed *fanfare.CallError
	if errors.As(err, &failed) {
		return map[string]any{"kind": failed.Kind, "message": failed.Message, "failure": failed.Failure}
	}
	return map[string]any{
		"status": response.Status, "type": response.Header("content-type"), "fields": response.Headers,
		"body": string(response.Body), "bytes": len(response.Body),
	}
}

func relay(call *fanfare.Call) (any, error) {
	response, err := fanfare.RPCCall(string(call.Body), nil)
	if err != nil {
		return nil, err
	}
	return string(response.Body), nil
}

// Sends the request in the body.
func fetch(call *fanfare.Call) (any, error) {
	var wanted struct {
		URL string
		fanfare.Request
	}
	if err := call.JSON(&wanted); err != nil {
		return nil, err
	}
	return described(fanfare.Fetch(wanted.URL, &wanted.Request)), nil
}

func main() {}
