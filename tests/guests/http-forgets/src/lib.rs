//! Answers through `wasi:http` 0.2, and returns without finishing the body of the response.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Forgets;

impl Guest for Forgets {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let outgoing = OutgoingResponse::new(Fields::new());
        let Ok(body) = outgoing.body() else { return };
        ResponseOutparam::set(response, Ok(outgoing));
        let Ok(stream) = body.write() else { return };
        let written = stream.blocking_write_and_flush(b"part\n");
        if path == "/finish" {
            drop(stream);
            let finished = OutgoingBody::finish(body, None);
            assert!(written.is_ok() && finished.is_ok());
        } else {
            // They stay in the tables of the instance.
            std::mem::forget((stream, body));
        }
    }
}

wasip2::http::proxy::export!(Forgets with_types_in wasip2);
