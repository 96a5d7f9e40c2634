//! Answers requests through `wasi:http` 0.2, as the path says.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_lite::StreamExt;
use futures_lite::stream::{repeat, unfold};
use http_body_util::BodyExt;
use wstd::http::body::{Body, Bytes};
use wstd::http::{Error, Request, Response};
use wstd::time::Duration;

static COUNT: AtomicU32 = AtomicU32::new(0);

type Answer = Result<Response<Body>, Error>;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    let (name, argument) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let number = argument.parse::<usize>().unwrap_or_default();
    match name {
        "" => text("hello from wasi:http 0.2"),
        "facts" => text(&facts(&request)),
        "count" => text(&COUNT.fetch_add(1, Ordering::Relaxed).to_string()),
        "status" => Ok(Response::builder().status(u16::try_from(number)?).body(Body::empty())?),
        "echo" => echo(request),
        "upload" => upload(request).await,
        "download" => Ok(parts(number, 65_536)),
        "flood" => streamed(repeat(Bytes::from(vec![b'f'; 65_536]))),
        "open" => streamed(once(format!("{argument}\n")).chain(later(|| (), 3_600_000))),
        "part-then-trap" => streamed(once("part\n".to_owned()).chain(later(|| std::process::abort(), 20))),
        "part-then-spin" => streamed(once("part\n".to_owned()).chain(later(spin, 20))),
        "trap" => std::process::abort(),
        "spin" => {
            spin();
            text("")
        }
        "fail" => Err(Error::msg("as asked")),
        "exit" => std::process::exit(0),
        "never" => {
            wstd::task::sleep(Duration::from_secs(3_600)).await;
            text("")
        }
        "wait" => {
            wstd::task::sleep(Duration::from_millis(number as u64)).await;
            text("waited")
        }
        _ => Ok(Response::builder().status(404).body(Body::from("the guest has no such path".to_owned()))?),
    }
}

fn text(text: &str) -> Answer {
    Ok(Response::new(Body::from(text.to_owned())))
}

fn facts(request: &Request<Body>) -> String {
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    let fields = request.headers().iter();
    lines.extend(fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))));
    lines.join("\n")
}

/// Hands both the body and the trailers of the request back.
fn echo(request: Request<Body>) -> Answer {
    let names = request.headers().get("trailer").cloned();
    let mut response = Response::new(request.into_body());
    if let Some(names) = names {
        response.headers_mut().insert("trailer", names);
    }
    Ok(response)
}

/// Reads the body and returns its size, or why it ended early.
async fn upload(request: Request<Body>) -> Answer {
    let mut body = request.into_body().into_boxed_body();
    let (mut size, mut names) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => size += data.len(),
            Ok(Err(frame)) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                names.extend(trailers.keys().map(|name| name.to_string()));
            }
            Err(error) => return text(&format!("{size} {error:?}")),
        }
    }
    text(format!("{size} {}", names.join(",")).trim_end())
}

fn streamed(parts: impl futures_lite::Stream<Item = Bytes> + Send + 'static) -> Answer {
    Ok(Response::new(Body::from_try_stream(parts.map(Ok::<_, Infallible>))))
}

fn once(part: String) -> impl futures_lite::Stream<Item = Bytes> + Send {
    futures_lite::stream::once(Bytes::from(part))
}

/// Does something after a while, then sends a last part.
fn later(next: fn(), after: u64) -> impl futures_lite::Stream<Item = Bytes> + Send {
    unfold(false, move |ended| async move {
        if ended {
            return None;
        }
        wstd::task::sleep(Duration::from_millis(after)).await;
        next();
        Some((Bytes::from("end\n"), true))
    })
}

fn parts(size: usize, most: usize) -> Response<Body> {
    let parts = unfold(size, move |left| async move {
        let part = left.min(most);
        (part > 0).then(|| (Ok::<_, Infallible>(Bytes::from(vec![b'x'; part])), left - part))
    });
    Response::new(Body::from_try_stream(parts))
}

fn spin() {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}
