//! Makes the host hold memory that the guest's own memory does not show. Each handler returns how
//! many attempts the host accepted.

use std::cell::RefCell;

use common::ok;
use fanfare_sdk::prelude::*;
use wasip2::http::types::{Fields, HeaderError, OutgoingBody, OutgoingRequest};
use wasip2::io::streams::OutputStream;

const MIB: usize = 1 << 20;

/// The number of attempts, and the size of each in MiB.
#[derive(Deserialize)]
struct Times {
    #[serde(default)]
    times: usize,
    #[serde(default)]
    mib: usize,
}

impl Times {
    fn text(&self) -> String {
        "x".repeat(self.mib * MIB)
    }

    /// Returns the number of attempts that succeed before one fails.
    fn accepted<T, E>(&self, mut attempt: impl FnMut() -> Result<T, E>) -> Json<usize> {
        Json((0..self.times).take_while(|_| attempt().is_ok()).count())
    }
}

/// Queues calls with a long subdomain.
#[handler]
fn subdomains(times: Json<Times>) -> Json<usize> {
    let subdomain = times.text();
    times.accepted(|| rpc::to(fanfare_sdk::types::Target::Any).subdomain(&subdomain).notify("/ok", ()))
}

/// Queues calls with a long query.
#[handler]
fn queries(times: Json<Times>) -> Json<usize> {
    let route = format!("/ok?{}", times.text());
    times.accepted(|| rpc::notify(&route, ()))
}

/// Emits broadcasts with a long subdomain.
#[handler]
fn emits(times: Json<Times>) -> Json<usize> {
    let subdomain = times.text();
    times.accepted(|| broadcast::named("heard").subdomain(&subdomain).emit(()))
}

thread_local! {
    static BODIES: RefCell<Vec<(OutgoingRequest, OutgoingBody, OutputStream)>> = const { RefCell::new(Vec::new()) };
    static FIELDS: RefCell<Vec<Fields>> = const { RefCell::new(Vec::new()) };
}

/// Keeps requests whose bodies it has written and never sends.
#[handler]
fn bodies(times: Json<Times>) -> Json<usize> {
    let chunk = [b'x'; 64 * 1024];
    times.accepted(|| {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body()?;
        let stream = body.write()?;
        while let Ok(room @ 1..) = stream.check_write() {
            let most = chunk.len().min(usize::try_from(room).unwrap_or(chunk.len()));
            stream.write(&chunk[..most]).map_err(drop)?;
        }
        BODIES.with_borrow_mut(|kept| kept.push((request, body, stream)));
        Ok::<(), ()>(())
    })
}

/// Keeps header fields of 7 KiB each.
#[handler]
fn fields(times: Json<Times>) -> Json<usize> {
    let values = vec![vec![b'x'; 1024]; 7];
    times.accepted(|| {
        let fields = Fields::new();
        fields.set("x", &values)?;
        FIELDS.with_borrow_mut(|kept| kept.push(fields));
        Ok::<(), HeaderError>(())
    })
}

/// Requests `mib` MiB of random bytes at once, again and again without end.
#[handler]
fn random(times: Json<Times>) -> Json<u8> {
    loop {
        std::hint::black_box(wasip2::random::random::get_random_bytes((times.mib * MIB) as u64));
    }
}

fanfare_sdk::module!(subdomains, queries, emits, bodies, fields, random, ok);
