package fanfare

import "strings"

// Calls of other modules and requests to other servers. An instance waits for them, and runs no other
// call meanwhile.

//go:wasmimport fanfare:module/rpc-blocking@0.1.0 call
func rpcCall(arguments, result uint32)

// RPCCall calls a route, such as `shop/inner/rates`, and waits for its reply. Another module needs the
// grant `rpc`; a route of this module is `would-deadlock`. The payload is nil, a string, []byte, or a
// value that is sent as JSON.
func RPCCall(route string, payload any) (*Response, error) {
	payload, _, err := encode(payload)
	if err != nil {
		return nil, err
	}
	has, id := current()
	// The target is `any`, and there are no options.
	at := hold(88)
	put(at, uint8(has))
	put(at+8, id)
	putBytes(at+36, route)
	putPayload(at+44, payload)
	result := hold(48)
	asking(func() { rpcCall(uint32(at), uint32(result)) })
	if err := getResult(result, 4); err != nil {
		return nil, err
	}
	return &Response{
		Status: int(get[uint16](result + 4)), Headers: getPairs(result + 8), Body: getPayload(result + 16),
	}, nil
}

// A Request is what a request has besides its URL.
type Request struct {
	// Empty: `GET`.
	Method string
	// The host sets the fields that concern the connection, and `content-length`.
	Headers []Pair
	// nil, a string, []byte, or a value that is sent as JSON.
	Body any
	// How long the server may take until its response begins, in milliseconds. 0: the time that the call
	// has left, which limits the whole exchange.
	TimeoutMs uint32
}

// A Response is that of a server, or the reply of a route.
type Response struct {
	// Of a route: 0 if the handler sets none.
	Status  int
	Headers []Pair
	Body    []byte
}

// Header returns the first value of a header field, whose name is in lower case, or an empty string.
func (r *Response) Header(name string) string { return find(r.Headers, name) }

//go:wasmimport fanfare:module/fetch-blocking@0.1.0 send
func fetchSend(has uint32, caller uint64, method, methodLength, url, urlLength, headers, headerCount, hasBody, body,
	bodyLength, hasTimeout, timeout, result uint32)

// Fetch sends a request to another server and waits for the whole response, whatever its status. It
// follows no redirects. The module needs the grant `http` for the origin of the URL. nil is a `GET`.
func Fetch(url string, request *Request) (*Response, error) {
	if request == nil {
		request = &Request{}
	}
	body, isJSON, err := encode(request.Body)
	if err != nil {
		return nil, err
	}
	headers, method := request.Headers, request.Method
	if isJSON && find(headers, "content-type") == "" {
		headers = append([]Pair{{"content-type", "application/json"}}, headers...)
	}
	if method == "" {
		method = "GET"
	}
	has, id := current()
	methodAt, methodLength := holdBytes(method)
	urlAt, urlLength := holdBytes(url)
	headersAt, headerCount := holdPairs(headers)
	kind, bodyAt, bodyLength := holdPayload(body)
	var hasTimeout uint32
	if request.TimeoutMs != 0 {
		hasTimeout = 1
	}
	result := hold(48)
	asking(func() {
		fetchSend(has, id, methodAt, methodLength, urlAt, urlLength, headersAt, headerCount, min(kind, 1), bodyAt,
			bodyLength, hasTimeout, request.TimeoutMs, uint32(result))
	})
	if err := getResult(result, 4); err != nil {
		return nil, err
	}
	return &Response{
		Status: int(get[uint16](result + 4)), Headers: getPairs(result + 8), Body: getBytes(result + 16),
	}, nil
}

//go:wasmimport fanfare:module/http@0.1.0 header
func httpHeader(call uint64, name, length, result uint32)

// Header returns a header field of the HTTP request. A comma joins the values of a repeated field. It
// is empty in a call with another trigger.
func (c *Call) Header(name string) string {
	text, length := holdBytes(name)
	result := hold(8)
	asking(func() { httpHeader(c.ID, text, length, uint32(result)) })
	return strings.Join(getStrings(result), ", ")
}
