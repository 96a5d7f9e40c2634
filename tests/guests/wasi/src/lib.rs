//! Tries to reach outside through WASI, and returns the errors.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, io};

use fanfare_sdk::prelude::*;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

/// Returns the error, or `null` when the attempt succeeded.
fn error_of<T>(result: io::Result<T>) -> Value {
    result.err().map_or(Value::Null, |error| error.to_string().into())
}

/// Reads, writes, lists and removes files. The body is a path on the host.
#[handler]
fn files(path: Text) -> Json<Value> {
    Json(json!({
        "read": error_of(fs::read(&*path)),
        "write": error_of(fs::write(format!("{}.new", *path), "x")),
        "list": error_of(fs::read_dir("/")),
        "here": error_of(fs::read_dir(".")),
        "remove": error_of(fs::remove_file(&*path)),
    }))
}

#[handler]
fn environment() -> Json<Value> {
    Json(json!({
        "variables": env::vars_os().count(),
        "path": env::var("PATH").ok(),
        "arguments": env::args_os().count(),
    }))
}

/// Opens sockets. The body is an address where a server listens.
#[handler]
fn sockets(address: Text) -> Json<Value> {
    Json(json!({
        "connect": error_of(TcpStream::connect(&*address)),
        "listen": error_of(TcpListener::bind("127.0.0.1:0")),
        "datagram": error_of(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", &*address))),
        "lookup": error_of("localhost:80".to_socket_addrs()),
    }))
}

/// Sends an HTTP request to the address in the body, where a server listens. Returns the error, or
/// `null`.
#[handler]
fn requests(address: Text) -> Json<Value> {
    let request = OutgoingRequest::new(Fields::new());
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(&*address)))
        .and_then(|()| request.set_path_with_query(Some("/")));
    let sent = set.map_err(|()| None).and_then(|()| outgoing_handler::handle(request, None).map_err(Some));
    let answered = sent.and_then(|response| {
        response.subscribe().block();
        response.get().and_then(Result::ok).map_or(Err(None), |answered| answered.map_err(Some))
    });
    Json(answered.err().map_or(Value::Null, |error| format!("{error:?}").into()))
}

/// Returns the milliseconds since 1970-01-01 UTC, and whether the monotonic clock advances.
#[handler]
fn clocks() -> Json<Value> {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Json(json!({"now": now.as_millis() as u64, "slept": start.elapsed() >= Duration::from_millis(2)}))
}

/// Returns a random number, which no other instance returns.
#[handler]
fn random() -> Json<String> {
    Json(RandomState::new().hash_one(0).to_string())
}

fanfare_sdk::module!(files, environment, sockets, requests, clocks, random);
