//! Requests through `wasi:http/outgoing-handler`.

use std::cell::RefCell;

use fanfare_sdk::prelude::*;
use serde::Deserialize;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

thread_local! {
    /// Responses that nobody reads.
    static HELD: RefCell<Vec<IncomingResponse>> = const { RefCell::new(Vec::new()) };
}

#[derive(Deserialize)]
#[serde(default)]
pub struct Fetch {
    scheme: String,
    authority: String,
    path: String,
    /// The number of bytes to send. None is a GET.
    send: usize,
    /// Whether to keep the response without reading it.
    hold: bool,
}

impl Default for Fetch {
    fn default() -> Fetch {
        Fetch { scheme: "https".into(), authority: String::new(), path: "/".into(), send: 0, hold: false }
    }
}

pub fn fetch(command: &Fetch) -> Result<Value, String> {
    let request = OutgoingRequest::new(Fields::new());
    let scheme = match command.scheme.as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let refused = |()| "the request is malformed".to_owned();
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request.set_authority(Some(&command.authority)).map_err(refused)?;
    request.set_path_with_query(Some(&command.path)).map_err(refused)?;
    if command.send > 0 {
        request.set_method(&Method::Post).map_err(refused)?;
    }
    let body = request.body().map_err(refused)?;
    let future = outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    let sent = send(body, command.send);
    future.subscribe().block();
    let response = match future.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(code))) => return Err(format!("{code:?}")),
        _ => return Err("no response".to_owned()),
    };
    sent?;
    let status = response.status();
    if command.hold {
        HELD.with_borrow_mut(|held| held.push(response));
        return Ok(json!({ "status": status }));
    }
    let headers: Vec<String> = response.headers().entries().into_iter().map(|(name, _)| name).collect();
    let body = response.consume().map_err(refused)?;
    let stream = body.stream().map_err(refused)?;
    let mut read = Vec::new();
    loop {
        match stream.blocking_read(65_536) {
            Ok(bytes) => read.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(code.map_or(error.to_debug_string(), |code| format!("{code:?}")));
            }
        }
    }
    Ok(
        json!({ "status": status, "headers": headers, "size": read.len(), "body": String::from_utf8_lossy(&read[..read.len().min(1_000)]) }),
    )
}

fn send(body: OutgoingBody, size: usize) -> Result<(), String> {
    {
        let stream = body.write().map_err(|()| "no stream".to_owned())?;
        let mut left = size;
        while left > 0 {
            let piece = left.min(1_000);
            stream.blocking_write_and_flush(&vec![b'x'; piece]).map_err(|error| format!("{error:?}"))?;
            left -= piece;
        }
    }
    OutgoingBody::finish(body, None).map_err(|code| format!("{code:?}"))
}
