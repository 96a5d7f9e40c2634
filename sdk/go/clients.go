package fanfare

import "encoding/json"

// Live streams, channels and events. A key or a name that is not the module's own needs a grant.

// An Event is for the readers of a live stream. A field that is empty is not sent.
type Event struct {
	// A string, or a value that is sent as JSON.
	Data any
	// The type of the event, which a client passes to `addEventListener`.
	Event string
	// The id that a client sends to receive what it missed. Empty: the position in the history.
	ID      string
	RetryMs uint32
	Comment string
}

//go:wasmimport fanfare:module/sse@0.1.0 publish
func ssePublish(arguments, result uint32)

// SSEPublish sends an event to every reader of a live stream, on every node. It returns the number of
// readers of this node.
func SSEPublish(key string, event Event) (int, error) {
	data, _, err := encode(event.Data)
	if err != nil {
		return 0, err
	}
	has, id := current()
	at := hold(96)
	put(at, uint8(has))
	put(at+8, id)
	putBytes(at+16, key)
	putPayload(at+24, data)
	putOptional(at+36, event.Event)
	putOptional(at+48, event.ID)
	if event.RetryMs != 0 {
		put(at+60, uint8(1))
		put(at+64, event.RetryMs)
	}
	putOptional(at+68, event.Comment)
	result := hold(48)
	asking(func() { ssePublish(uint32(at), uint32(result)) })
	if err := getResult(result, 4); err != nil {
		return 0, err
	}
	return int(get[uint32](result + 4)), nil
}

//go:wasmimport fanfare:module/sse@0.1.0 count
func sseCount(has, key, length uint32) uint32

// SSECount returns the number of readers of a live stream on this node.
func SSECount(key string) int {
	text, length := holdBytes(key)
	return int(sseCount(1, text, length))
}

//go:wasmimport fanfare:module/channels-blocking@0.1.0 publish
func channelsPublish(has uint32, caller uint64, channel, length, kind, payload, payloadLength, result uint32)

// ChannelsPublishAndWait publishes a message to a channel, and waits until it has its place or is
// refused. The payload is nil, a string, []byte, or a value that is sent as JSON. Clients of
// SocketCluster receive text that is JSON as this value.
func ChannelsPublishAndWait(channel string, payload any) error {
	payload, _, err := encode(payload)
	if err != nil {
		return err
	}
	has, id := current()
	text, length := holdBytes(channel)
	kind, body, bodyLength := holdPayload(payload)
	result := hold(56)
	asking(func() { channelsPublish(has, id, text, length, kind, body, bodyLength, uint32(result)) })
	return getResult(result, 8)
}

//go:wasmimport fanfare:module/events@0.1.0 emit
func eventsEmit(has uint32, caller uint64, hasType, name, length, kind, value, valueLength, result uint32)

// EventsEmit emits an event, whose value is sent as JSON. The type is the module's own, such as
// `shop/sold`, or needs the grant `events`.
func EventsEmit(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return Fail("invalid-result", 500, err.Error())
	}
	has, id := current()
	nameAt, length := holdBytes(name)
	kind, at, valueLength := holdPayload(string(text))
	result := hold(48)
	asking(func() { eventsEmit(has, id, 1, nameAt, length, kind, at, valueLength, uint32(result)) })
	return getResult(result, 4)
}

// A Message is one that a channel has kept.
type Message struct {
	Offset uint64
	// When the message got its place, in milliseconds since 1970.
	AtMs uint64
	// The session of the client that published it, or empty.
	Session string
	Body    []byte
}

//go:wasmimport fanfare:module/channels-blocking@0.1.0 history
func channelsHistory(has uint32, caller uint64, channel, length, hasAfter, epoch, epochLength uint32, offset uint64,
	most, result uint32)

// ChannelsHistory returns the newest messages that a channel has kept, oldest first. The host returns
// 1,000 at most.
func ChannelsHistory(channel string, most int) ([]Message, error) {
	has, id := current()
	text, length := holdBytes(channel)
	result := hold(56)
	asking(func() { channelsHistory(has, id, text, length, 0, 0, 0, 0, uint32(most), uint32(result)) })
	if err := getResult(result, 8); err != nil {
		return nil, err
	}
	first, count := uintptr(get[uint32](result+16)), get[uint32](result+20)
	messages := make([]Message, count)
	for i := range messages {
		at := first + uintptr(i)*48
		messages[i] = Message{
			Offset: get[uint64](at), AtMs: get[uint64](at + 8), Session: getOptional(at + 16), Body: getPayload(at + 28),
		}
	}
	return messages, nil
}
