//! Reaches outside through WASI, and tells what came of it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, io};

use fanfare_sdk::prelude::*;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

/// `null`, or the error.
fn refused<T>(tried: io::Result<T>) -> Value {
    tried.err().map_or(Value::Null, |error| error.to_string().into())
}

/// The body is a path on the host.
#[handler]
fn files(path: Text) -> Json<Value> {
    Json(json!({
        "read": refused(fs::read(&*path)),
        "write": refused(fs::write(format!("{}.new", *path), "x")),
        "list": refused(fs::read_dir("/")),
        "here": refused(fs::read_dir(".")),
        "remove": refused(fs::remove_file(&*path)),
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

/// The body is an address that somebody listens at.
#[handler]
fn sockets(address: Text) -> Json<Value> {
    Json(json!({
        "connect": refused(TcpStream::connect(&*address)),
        "listen": refused(TcpListener::bind("127.0.0.1:0")),
        "datagram": refused(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", &*address))),
        "lookup": refused("localhost:80".to_socket_addrs()),
    }))
}

/// The body is an address that somebody listens at: `null`, or the error of a request to it.
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

/// Milliseconds since 1970, and whether the monotonic clock goes on.
#[handler]
fn clocks() -> Json<Value> {
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Json(json!({"now": now.as_millis() as u64, "slept": begun.elapsed() >= Duration::from_millis(2)}))
}

/// A number that no other instance has.
#[handler]
fn random() -> Json<String> {
    Json(RandomState::new().hash_one(0).to_string())
}

fanfare_sdk::module!(files, environment, sockets, requests, clocks, random);
