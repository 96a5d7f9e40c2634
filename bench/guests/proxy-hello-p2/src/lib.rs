//! Answers every request with `hello`.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = [
            ("content-type".to_owned(), b"text/plain; charset=utf-8".to_vec()),
            ("content-length".to_owned(), b"5".to_vec()),
        ];
        let Ok(headers) = Fields::from_list(&headers) else { return };
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            _ = stream.blocking_write_and_flush(b"hello");
        }
        _ = OutgoingBody::finish(body, None);
    }
}

wasip2::http::proxy::export!(Hello with_types_in wasip2);
