//! `fanfare:module/fetch` and its blocking twin.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Full};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{Access, FutureReader, HasSelf};

use super::http::text;
use super::{blocking, waiting};
use crate::bindings::fanfare::module::types::{
    CallError as WitError, FetchRequest as Request, FetchResponse as Response,
};
use crate::bindings::fanfare::module::{fetch, fetch_blocking};
use crate::call::CallError;
use crate::call::text::{NAME, line};
use crate::isolate::limits::BODY_PERMIT;
use crate::isolate::state::{Guest, State};
use crate::isolate::wasi_http;
use crate::outgoing::{RequestError, Timeouts};

/// The header fields that the host sets.
const OF_HOST: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl fetch::Host for State {}

impl fetch::HostWithStore<State> for HasSelf<State> {
    fn send(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        request: Request,
    ) -> wasmtime::Result<FutureReader<Result<Response, WitError>>> {
        waiting(access, |guest| exchange(guest.clone(), caller, request), std::convert::identity)
    }
}

impl fetch_blocking::Host for State {
    async fn send(&mut self, caller: Option<u64>, request: Request) -> Result<Response, WitError> {
        blocking(&self.guest, caller, |guest| exchange(guest.clone(), caller, request)).await
    }
}

/// Sends a request and reads its response, at the latest until the deadline of the call.
async fn exchange(guest: Arc<Guest>, caller: Option<u64>, request: Request) -> Result<Response, CallError> {
    let timeouts = Timeouts {
        first_byte: request.timeout_ms.map(|ms| Duration::from_millis(ms.into())),
        deadline: guest.context(caller).and_then(|context| context.until()),
        ..Timeouts::default()
    };
    let request = parsed(request)?;
    // Without a user and a password.
    let server = request.uri().authority().map_or("", http::uri::Authority::as_str);
    let server = server.rsplit_once('@').map_or(server, |(_, server)| server).to_owned();
    let failed = |error: RequestError| failure(&guest.generation.module, &server, &error);
    let response = wasi_http::send(Some(&guest.generation), request, timeouts).await.map_err(failed)?;
    let (head, mut body) = response.into_parts();
    let mut read = Vec::new();
    let mut held: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(failed)?.into_data() {
            hold(&guest, &mut held, read.len() + data.len())?;
            read.extend_from_slice(&data);
        }
    }
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Ok(Response { status: head.status.as_u16(), headers, body: read })
}

/// Makes room for a body of this size among those that the host reads for the instance.
fn hold(guest: &Guest, held: &mut Option<OwnedSemaphorePermit>, size: usize) -> Result<(), CallError> {
    let more = size.div_ceil(BODY_PERMIT) - held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    let Ok(permit) = guest.bodies.clone().try_acquire_many_owned(more) else {
        let module = &guest.generation.module;
        return Err(CallError::Overloaded(format!(
            "the responses that {module} waits for are larger than its limits.memory: fetch fewer at once"
        )));
    };
    match held {
        Some(held) => held.merge(permit),
        None => *held = Some(permit),
    }
    Ok(())
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, RequestError>;

/// Checks a request and converts it.
fn parsed(request: Request) -> Result<http::Request<Body>, CallError> {
    let Request { method, url, headers, body, .. } = request;
    let invalid = |what: &str, text: &str, rule: &str| {
        Err(CallError::Invalid(format!("the {what} `{}` is not valid: {rule}", line(text, NAME))))
    };
    let method = match Method::from_bytes(method.as_bytes()) {
        Ok(method) if method != Method::CONNECT => method,
        _ => return invalid("method", &method, "use one such as GET or POST"),
    };
    let without_fragment = url.split_once('#').map_or(url.as_str(), |(before, _)| before);
    let uri: Uri = match without_fragment.parse() {
        Ok(uri) if Uri::scheme(&uri).is_some() => uri,
        _ => return invalid("URL", &url, "use one such as https://api.example.com/rates?base=EUR"),
    };
    let mut parsed = HeaderMap::with_capacity(headers.len().min(64));
    for (name, value) in headers {
        let name = match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if !OF_HOST.contains(&name.as_str()) => name,
            Ok(_) => return invalid("header", &name, "the host sets it"),
            Err(_) => return invalid("header", &name, "use letters, digits and hyphens"),
        };
        let Ok(value) = HeaderValue::try_from(value) else {
            return invalid("value of the header", name.as_str(), "remove its control characters");
        };
        if parsed.try_append(name, value).is_err() {
            return Err(CallError::Invalid("the request has too many header fields".to_owned()));
        }
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default()));
    let mut request = http::Request::new(body.map_err(|never| match never {}).boxed_unsync());
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, parsed);
    Ok(request)
}

/// What a guest reads when its request fails. Nothing reached the server, except with `Timeout` and
/// `Crashed`.
fn failure(module: &str, server: &str, error: &RequestError) -> CallError {
    let text = format!("{server}: {error}");
    match error {
        RequestError::Denied(origin) => CallError::Forbidden(format!("{module} lacks the grant \"http\" for {origin}")),
        RequestError::Private { .. } => CallError::Forbidden(text),
        RequestError::Uri | RequestError::RequestTooLarge(_) => CallError::Invalid(text),
        RequestError::TooManyRequests | RequestError::TooManyConnections => CallError::Overloaded(text),
        RequestError::Unresolved
        | RequestError::Refused
        | RequestError::Unreachable
        | RequestError::ConnectTimeout
        | RequestError::Certificate
        | RequestError::Tls => CallError::Unavailable(text),
        RequestError::HeadTimeout | RequestError::BodyTimeout => CallError::Timeout(Some(text)),
        RequestError::ResponseTooLarge(_) | RequestError::Ended | RequestError::Protocol(_) | RequestError::Body => {
            CallError::Crashed(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Result<http::Request<Body>, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = Request { method: method.into(), url: url.into(), headers, body: None, timeout_ms: None };
        parsed(request).map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_is_converted() {
        let url = "https://api.example.com:8443/a%20b?c=d#part";
        let request = request("PATCH", url, &[("x-a", "1"), ("x-a", "2")]).unwrap();
        assert_eq!(request.method(), "PATCH");
        assert_eq!(request.uri(), "https://api.example.com:8443/a%20b?c=d");
        assert_eq!(request.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn a_malformed_request_says_what_is_wrong() {
        let url = "http://a.example.com/";
        for (method, url, headers, why) in [
            ("GE T", url, ("a", "b"), "the method `GE T` is not valid: use one such as GET or POST"),
            ("CONNECT", url, ("a", "b"), "the method `CONNECT` is not valid"),
            ("GET", "/rates", ("a", "b"), "the URL `/rates` is not valid: use one such as https://"),
            ("GET", "http://a b/", ("a", "b"), "the URL `http://a b/` is not valid"),
            ("GET", url, ("a b", "b"), "the header `a b` is not valid: use letters, digits and hyphens"),
            ("GET", url, ("Host", "b"), "the header `Host` is not valid: the host sets it"),
            ("GET", url, ("content-length", "7"), "the header `content-length` is not valid: the host sets it"),
            ("GET", url, ("x-a", "b\r\nc: d"), "the value of the header `x-a` is not valid: remove its control"),
        ] {
            let error = request(method, url, &[headers]).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn each_error_of_a_request_is_one_of_a_call() {
        let origin = crate::config::origin::Origin::parse("https://a.example.com").unwrap();
        let denied = RequestError::Denied(origin);
        let error = failure("shop", "a.example.com", &denied);
        assert_eq!(error, CallError::Forbidden("shop lacks the grant \"http\" for https://a.example.com".to_owned()));
        let error = failure("shop", "a.example.com", &RequestError::Refused);
        assert_eq!(error, CallError::Unavailable("a.example.com: the server refuses the connection".to_owned()));
        let private = RequestError::Private { host: "a".into(), address: [10, 0, 0, 1].into() };
        let kinds: [(&str, &[RequestError]); 6] = [
            ("forbidden", &[denied, private]),
            ("invalid", &[RequestError::Uri, RequestError::RequestTooLarge(1)]),
            ("overloaded", &[RequestError::TooManyRequests, RequestError::TooManyConnections]),
            (
                "unavailable",
                &[
                    RequestError::Unresolved,
                    RequestError::Refused,
                    RequestError::Unreachable,
                    RequestError::ConnectTimeout,
                    RequestError::Certificate,
                    RequestError::Tls,
                ],
            ),
            ("timeout", &[RequestError::HeadTimeout, RequestError::BodyTimeout]),
            (
                "crashed",
                &[RequestError::ResponseTooLarge(1), RequestError::Ended, RequestError::Protocol("bad".into())],
            ),
        ];
        for (kind, errors) in kinds {
            for error in errors {
                assert_eq!(failure("shop", "a.example.com", error).code(), kind, "{error}");
            }
        }
    }
}
