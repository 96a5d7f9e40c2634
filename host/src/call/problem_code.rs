//! The codes of problem documents. Each has one HTTP status and one title.

use http::StatusCode;

macro_rules! codes {
    ($($name:ident, $code:literal, $status:ident, $title:literal;)*) => {
        /// The kind of a problem that the host reports.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ProblemCode {
            $($name,)*
        }

        impl ProblemCode {
            #[cfg(test)]
            pub const ALL: &[ProblemCode] = &[$(ProblemCode::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(ProblemCode::$name => $code,)* }
            }

            pub fn status(self) -> StatusCode {
                match self { $(ProblemCode::$name => StatusCode::$status,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(ProblemCode::$name => $title,)* }
            }
        }
    };
}

// `docs/reference.md` has the same table, with the meanings.
codes! {
    BadRequest, "bad-request", BAD_REQUEST, "Bad Request";
    Invalid, "invalid", BAD_REQUEST, "Invalid Call";
    Unauthorized, "unauthorized", UNAUTHORIZED, "Unauthorized";
    Forbidden, "forbidden", FORBIDDEN, "Forbidden";
    NotFound, "not-found", NOT_FOUND, "Not Found";
    MethodNotAllowed, "method-not-allowed", METHOD_NOT_ALLOWED, "Method Not Allowed";
    NotAcceptable, "not-acceptable", NOT_ACCEPTABLE, "Not Acceptable";
    BodyTimeout, "body-timeout", REQUEST_TIMEOUT, "Request Timeout";
    PayloadTooLarge, "payload-too-large", PAYLOAD_TOO_LARGE, "Payload Too Large";
    UriTooLong, "uri-too-long", URI_TOO_LONG, "URI Too Long";
    UnsupportedMediaType, "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type";
    KeyReused, "key-reused", UNPROCESSABLE_ENTITY, "Unprocessable Content";
    Refused, "refused", UNPROCESSABLE_ENTITY, "Reload Rejected";
    Incomplete, "incomplete", UNPROCESSABLE_ENTITY, "Kill Incomplete";
    UpgradeRequired, "upgrade-required", UPGRADE_REQUIRED, "Upgrade Required";
    TooManyEvents, "too-many-events", TOO_MANY_REQUESTS, "Too Many Requests";
    HeadersTooLarge, "headers-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large";
    Failure, "failure", INTERNAL_SERVER_ERROR, "Handler Failure";
    Crashed, "crashed", INTERNAL_SERVER_ERROR, "Module Crashed";
    InvalidReply, "invalid-reply", INTERNAL_SERVER_ERROR, "Invalid Reply";
    Internal, "internal", INTERNAL_SERVER_ERROR, "Internal Server Error";
    UnknownTransferCoding, "unknown-transfer-coding", NOT_IMPLEMENTED, "Unknown Transfer Coding";
    Other, "other", BAD_GATEWAY, "Failure on Another Node";
    Overloaded, "overloaded", SERVICE_UNAVAILABLE, "Overloaded";
    Unavailable, "unavailable", SERVICE_UNAVAILABLE, "Unavailable";
    Timeout, "timeout", GATEWAY_TIMEOUT, "Timeout";
    WouldDeadlock, "would-deadlock", LOOP_DETECTED, "Deadlock";
    TooDeep, "too-deep", LOOP_DETECTED, "Nesting Too Deep";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_unique_and_documented_with_its_status() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
        let page = std::fs::read_to_string(page).unwrap();
        let mut seen = HashSet::new();
        for code in ProblemCode::ALL {
            assert!(seen.insert(code.as_str()), "{code:?}");
            let row = format!("| `{}` | {} |", code.as_str(), code.status().as_u16());
            assert!(page.lines().any(|line| line.starts_with(&row)), "docs/reference.md lacks `{row}`");
        }
    }
}
