//! Answers requests through `wasi:http` 0.3, as the path says.

use std::cell::{Cell, RefCell};

use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::{StreamResult, StreamWriter, spawn_local};
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Guest);

struct Guest;

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
    static OPEN: RefCell<Vec<StreamWriter<u8>>> = RefCell::default();
}

type Answer = Result<Response, ErrorCode>;

impl wasip3::exports::http::handler::Guest for Guest {
    async fn handle(request: Request) -> Answer {
        let whole = request.get_path_with_query().unwrap_or_default();
        let path = whole.split('?').next().unwrap_or_default();
        let (name, argument) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let number = argument.parse::<usize>().unwrap_or_default();
        match name {
            "" => text(200, "hello from wasi:http 0.3"),
            "facts" => text(200, &facts(&request, &whole)),
            "count" => text(200, &COUNT.replace(COUNT.get() + 1).to_string()),
            "status" => text(u16::try_from(number).unwrap_or(0), ""),
            "echo" => echo(request),
            "upload" => upload(request).await,
            "download" => Ok(download(number)),
            "flood" => Ok(flood()),
            "open" => Ok(open(argument)),
            "close" => text(200, &close().await.to_string()),
            "part-then-trap" => Ok(part_then(|| std::process::abort())),
            "part-then-spin" => Ok(part_then(spin)),
            "short" => short(),
            "drop" => Ok(drop_body()),
            "trap" => std::process::abort(),
            "spin" => {
                spin();
                text(200, "")
            }
            "fail" => Err(ErrorCode::InternalError(Some("as asked".to_owned()))),
            "never" => {
                wasip3::clocks::monotonic_clock::wait_for(3_600_000_000_000).await;
                text(200, "")
            }
            "wait" => {
                wasip3::clocks::monotonic_clock::wait_for(number as u64 * 1_000_000).await;
                text(200, "waited")
            }
            _ => text(404, "the guest has no such path"),
        }
    }
}

fn facts(request: &Request, path: &str) -> String {
    let method = match request.get_method() {
        Method::Get => "GET".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Other(other) => other,
        other => format!("{other:?}"),
    };
    let scheme = match request.get_scheme() {
        Some(Scheme::Http) => "http",
        Some(Scheme::Https) => "https",
        _ => "none",
    };
    let authority = request.get_authority().unwrap_or_default();
    let mut lines = vec![format!("{method} {scheme}://{authority}{path}")];
    let fields = request.get_headers().copy_all();
    lines.extend(fields.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))));
    lines.join("\n")
}

/// A response with a body that the writer fills.
fn streamed(fields: Fields) -> (Response, StreamWriter<u8>) {
    let (writer, reader) = wit_stream::new();
    let (trailers, received) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(fields, Some(reader), received);
    drop(trailers);
    (response, writer)
}

fn text(status: u16, body: &str) -> Answer {
    let length = body.len().to_string().into_bytes();
    let fields =
        Fields::from_list(&[("content-length".to_owned(), length)]).map_err(|_| ErrorCode::ConfigurationError)?;
    let (response, mut writer) = streamed(fields);
    _ = response.set_status_code(status);
    let body = body.as_bytes().to_vec();
    spawn_local(async move { drop(writer.write_all(body).await) });
    Ok(response)
}

/// Hands both the body and the trailers of the request back.
fn echo(request: Request) -> Answer {
    let names = request.get_headers().get("trailer");
    let fields: Vec<_> = names.into_iter().map(|value| ("trailer".to_owned(), value)).collect();
    let fields = Fields::from_list(&fields).map_err(|_| ErrorCode::ConfigurationError)?;
    let (done, result) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, result);
    let (mut writer, reader) = wit_stream::new();
    let (response, _) = Response::new(fields, Some(reader), trailers);
    spawn_local(async move {
        copy(body, &mut writer).await;
        drop(done);
    });
    Ok(response)
}

async fn copy(mut body: wasip3::wit_bindgen::StreamReader<u8>, writer: &mut StreamWriter<u8>) {
    loop {
        let (result, part) = body.read(Vec::with_capacity(65_536)).await;
        if !part.is_empty() && !writer.write_all(part).await.is_empty() {
            return;
        }
        if !matches!(result, StreamResult::Complete(_)) {
            return;
        }
    }
}

/// Reads the body and returns its size, or why it ended early.
async fn upload(request: Request) -> Answer {
    let (done, result) = wit_future::new(|| Ok(()));
    let (mut body, trailers) = Request::consume_body(request, result);
    let mut size = 0;
    loop {
        let (result, part) = body.read(Vec::with_capacity(65_536)).await;
        size += part.len();
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    drop(done);
    match trailers.await {
        Ok(None) => text(200, &size.to_string()),
        Ok(Some(trailers)) => {
            let names: Vec<_> = trailers.copy_all().into_iter().map(|(name, _)| name).collect();
            text(200, &format!("{size} {}", names.join(",")))
        }
        Err(error) => text(200, &format!("{size} {error:?}")),
    }
}

fn download(size: usize) -> Response {
    let (response, mut writer) = streamed(Fields::new());
    spawn_local(async move {
        let mut left = size;
        while left > 0 {
            let part = vec![b'x'; left.min(65_536)];
            left -= part.len();
            if !writer.write_all(part).await.is_empty() {
                return;
            }
        }
    });
    response
}

fn flood() -> Response {
    let (response, mut writer) = streamed(Fields::new());
    spawn_local(async move { while writer.write_all(vec![b'f'; 65_536]).await.is_empty() {} });
    response
}

/// Sends a part, and keeps the body open until `close`.
fn open(part: &str) -> Response {
    let (response, mut writer) = streamed(Fields::new());
    let part = format!("{part}\n").into_bytes();
    spawn_local(async move {
        if writer.write_all(part).await.is_empty() {
            OPEN.with_borrow_mut(|open| open.push(writer));
        }
    });
    response
}

/// Ends the open bodies, each with a last part. Returns their number.
async fn close() -> usize {
    let open = OPEN.take();
    let count = open.len();
    for mut writer in open {
        _ = writer.write_all(b"end\n".to_vec()).await;
    }
    count
}

/// Waits until the client has what was sent so far.
async fn pause() {
    wasip3::clocks::monotonic_clock::wait_for(20_000_000).await;
}

fn part_then(next: impl FnOnce() + 'static) -> Response {
    let (response, mut writer) = streamed(Fields::new());
    spawn_local(async move {
        _ = writer.write_all(b"part\n".to_vec()).await;
        pause().await;
        next();
        _ = writer.write_all(b"end\n".to_vec()).await;
    });
    response
}

/// Announces more bytes than it sends.
fn short() -> Answer {
    let fields = [("content-length".to_owned(), b"100".to_vec())];
    let fields = Fields::from_list(&fields).map_err(|_| ErrorCode::ConfigurationError)?;
    let (response, mut writer) = streamed(fields);
    spawn_local(async move {
        _ = writer.write_all(b"part\n".to_vec()).await;
        pause().await;
    });
    Ok(response)
}

/// Reports an error in place of the trailers.
fn drop_body() -> Response {
    let (mut writer, reader) = wit_stream::new();
    let (trailers, received) = wit_future::new(|| Err(ErrorCode::InternalError(None)));
    let (response, _) = Response::new(Fields::new(), Some(reader), received);
    spawn_local(async move {
        _ = writer.write_all(b"part\n".to_vec()).await;
        pause().await;
        drop(writer);
        drop(trailers);
    });
    response
}

fn spin() {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}
