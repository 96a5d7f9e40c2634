//! Counts visits in a file. `/spin` never returns, and `/trap` traps.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{self, Write};

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let reply = match request.uri().path() {
        "/visit" => visit()?,
        "/visits" => fs::metadata("/data/visits")?.len().to_string(),
        "/large" => black_box(vec![1_u8; 64 << 20]).len().to_string(),
        "/spin" => loop {
            black_box(());
        },
        "/trap" => panic!("this path traps"),
        "/outside" => format!("{:?}", File::open("/etc/passwd").map_err(|error| error.kind())),
        _ => return Ok(Response::builder().status(404).body(Body::empty())?),
    };
    Ok(Response::new(reply.into()))
}

/// Adds a byte to the file, so that visits at the same time both count. Returns their number.
fn visit() -> io::Result<String> {
    let mut file = OpenOptions::new().append(true).create(true).open("/data/visits")?;
    file.write_all(b".")?;
    Ok(file.metadata()?.len().to_string())
}
