//! Starts a host, calls a route of a module, reloads the module, and stops.
//!
//! ```sh
//! cargo build --release
//! cargo run --release --example call -- . target/release/fanfare counter visits
//! ```
//!
//! The arguments are the folder of `fanfare.json`, the program `fanfare`, a module, and the path of
//! a POST route in it.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use fanfare::{Host, Stopped};
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, fanfare, module, path] = &arguments[..] else {
        return Err("usage: call <folder> <fanfare> <module> <path>".into());
    };
    let (status, body) = run(dir.into(), fanfare.into(), module, path).await?;
    println!("{status}: {body}");
    Ok(())
}

/// Calls the route twice, before and after a reload. Returns the second response.
pub async fn run(
    dir: PathBuf,
    fanfare: PathBuf,
    module: &str,
    path: &str,
) -> Result<(StatusCode, String), Box<dyn Error>> {
    // The builder can change what the file says. Port 0 takes any free port.
    let any_port = (Ipv4Addr::LOCALHOST, 0);
    let host = Host::builder().dir(dir).listen(any_port).admin_listen(any_port).compiler(fanfare).start().await?;

    let path = format!("/api/{module}/{path}");
    let (status, body) = post(host.addr(), &path, "first").await?;
    println!("{status}: {body}");

    // A reload replaces the instances in all workers while the host keeps serving.
    let reloaded = host.reload(module).await?;
    println!("{}: {:?}", reloaded.module, reloaded.outcome);
    let response = post(host.addr(), &path, "second").await?;

    if host.shutdown().await == Stopped::CutOff {
        println!("some calls still ran after shutdown.drain");
    }
    Ok(response)
}

/// Sends a request over a connection of its own. Any HTTP client works.
async fn post(address: SocketAddr, path: &str, body: &'static str) -> Result<(StatusCode, String), Box<dyn Error>> {
    let stream = TcpStream::connect(address).await?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(path).header("host", address.to_string()).body(Full::new(Bytes::from(body)))?;
    let response = client.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
