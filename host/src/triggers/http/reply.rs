//! Converts the reply of a guest into an HTTP response.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::content::{Content, HttpResponse};
use super::problem_response::ProblemResponse;
use super::request::{connection_options, is_hop_by_hop};
use crate::call::text::{NAME, line};
use crate::call::{Payload, Reply};

/// Builds the response. Rejects a reply that would break the connection.
pub(crate) fn response(reply: Reply) -> Result<HttpResponse, ProblemResponse> {
    let number = reply.effective_status();
    let status = StatusCode::from_u16(number).ok().filter(|_| (200..600).contains(&number)).ok_or_else(|| {
        ProblemResponse::invalid_reply(format!(
            "the handler replied with the status {number}: it must be 0 or 200 to 599"
        ))
    })?;
    let mut headers = fields(reply.headers)?;
    let (body, content_type) = match reply.payload {
        Payload::None => (Bytes::new(), None),
        Payload::Text(text) => (Bytes::from(text), Some("text/plain; charset=utf-8")),
        Payload::Bytes(bytes) => (Bytes::from(bytes), Some("application/octet-stream")),
    };
    // Responses with these statuses have no content (RFC 9110).
    let no_content = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if no_content { Bytes::new() } else { body };
    if let (Some(value), false) = (content_type, no_content || headers.contains_key(CONTENT_TYPE)) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
    }
    let mut response = HttpResponse::new(Content::Whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn fields(list: Vec<(String, String)>) -> Result<HeaderMap, ProblemResponse> {
    let mut headers = HeaderMap::with_capacity(list.len().min(64) + 1);
    let mut listed = Vec::new();
    for (name, value) in list {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            let rule = "use letters, digits and hyphens";
            return Err(ProblemResponse::invalid_reply(format!(
                "the handler replied with the invalid header name `{}`: {rule}",
                line(&name, NAME)
            )));
        };
        let Ok(value) = HeaderValue::try_from(value) else {
            let rule = "remove its control characters";
            return Err(ProblemResponse::invalid_reply(format!(
                "the handler replied with an invalid value of the header `{}`: {rule}",
                line(parsed.as_str(), NAME)
            )));
        };
        if parsed == CONNECTION {
            listed.extend(connection_options(&value));
        } else if parsed != CONTENT_LENGTH
            && !is_hop_by_hop(parsed.as_str())
            && headers.try_append(parsed, value).is_err()
        {
            return Err(ProblemResponse::invalid_reply("the handler replied with too many headers to send"));
        }
    }
    for name in listed {
        headers.remove(name);
    }
    Ok(headers)
}

/// Turns the response to a `GET` into the response to a `HEAD`: removes the body and keeps its
/// length.
pub(super) fn remove_body(response: &mut HttpResponse) {
    let length = response.body().length();
    let no_length = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    *response.body_mut() = Content::default();
    if let (Some(length), false) = (length, no_length) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)], payload: Payload) -> Result<HttpResponse, ProblemResponse> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        response(Reply { status, headers, payload, extra: Vec::new() })
    }

    fn length(response: &HttpResponse) -> u64 {
        response.body().length().unwrap()
    }

    #[test]
    fn the_status_is_0_or_200_to_599() {
        let status = |number, payload| reply(number, &[], payload).ok().map(|response| response.status().as_u16());
        assert_eq!(status(0, Payload::None), Some(204));
        assert_eq!(status(0, Payload::Text(String::new())), Some(200));
        for number in [200, 299, 418, 599] {
            assert_eq!(status(number, Payload::None), Some(number));
        }
        for number in [1, 99, 100, 101, 199, 600, 999, 1000, u16::MAX] {
            assert_eq!(status(number, Payload::None), None, "{number}");
        }
    }

    #[test]
    fn a_missing_content_type_is_added() {
        let kind = |headers: &[(&str, &str)], payload| {
            let response = reply(200, headers, payload).unwrap();
            response.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(kind(&[], Payload::Text("a".into())).as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(kind(&[], Payload::Bytes(vec![1])).as_deref(), Some("application/octet-stream"));
        assert_eq!(kind(&[], Payload::None), None);
        assert_eq!(kind(&[("Content-Type", "a/b")], Payload::Text("a".into())).as_deref(), Some("a/b"));
    }

    #[test]
    fn hop_by_hop_fields_and_content_length_are_dropped_and_repeated_ones_kept() {
        let headers = [
            ("X-Gone", "1"),
            ("Connection", "x-gone, Keep-Alive"),
            ("Keep-Alive", "timeout=1"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "99"),
            ("Upgrade", "x"),
            ("Set-Cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("X-Grüße".trim_end_matches("rüße"), "ü"),
        ];
        let response = reply(200, &headers, Payload::Text("a".into())).unwrap();
        let mut names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "set-cookie", "x-g"]);
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn a_reply_that_cannot_be_sent_is_rejected() {
        for (name, value) in
            [("", "a"), ("a b", "a"), ("a:", "a"), ("ü", "a"), ("x\r\ny", "a"), ("x", "a\r\nb: c"), ("x", "\0")]
        {
            assert!(reply(200, &[(name, value)], Payload::None).is_err(), "{name:?}: {value:?}");
        }
        let many: Vec<String> = (0..40_000).map(|number| format!("x-{number}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "")).collect();
        assert!(reply(200, &many, Payload::None).is_err());
    }

    #[test]
    fn some_statuses_have_no_body() {
        for status in [204, 205, 304] {
            let response = reply(status, &[], Payload::Text("a".into())).unwrap();
            assert_eq!(length(&response), 0);
            assert!(!response.headers().contains_key(CONTENT_TYPE));
        }
    }

    #[test]
    fn head_keeps_the_length() {
        let mut response = reply(200, &[], Payload::Text("four".into())).unwrap();
        remove_body(&mut response);
        assert_eq!(length(&response), 0);
        assert_eq!(response.headers().get(CONTENT_LENGTH).unwrap(), "4");
        let mut response = reply(204, &[], Payload::None).unwrap();
        remove_body(&mut response);
        assert!(!response.headers().contains_key(CONTENT_LENGTH));
    }
}
