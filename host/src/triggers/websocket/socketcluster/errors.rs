//! The errors of calls as clients of SocketCluster get them.

use serde_json::{Map, Value};

use super::packet::Version;
use crate::call::{CallError, Payload};

/// What a failure of a module refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Event,
    Token,
    Handshake,
    Subscribe,
    Unsubscribe,
    Publish,
}

impl Refused {
    /// The message and the type of a silent refusal. The versions have different middleware.
    fn silently(self, version: Version) -> (String, &'static str) {
        let (action, middleware) = match (version, self) {
            (Version::One, Refused::Event) => ("", "emit"),
            (Version::One, Refused::Token) => ("", "authenticate"),
            (Version::One, Refused::Handshake) => ("", "handshakeSC"),
            (Version::One, Refused::Subscribe) => ("", "subscribe"),
            (Version::One, Refused::Unsubscribe) => ("", "unsubscribe"),
            (Version::One, Refused::Publish) => ("", "publishIn"),
            (Version::Two, Refused::Event) => ("invoke", "inbound"),
            (Version::Two, Refused::Token) => ("authenticate", "inbound"),
            (Version::Two, Refused::Handshake) => ("handshakeSC", "handshake"),
            (Version::Two, Refused::Subscribe) => ("subscribe", "inbound"),
            (Version::Two, Refused::Unsubscribe) => ("unsubscribe", "inbound"),
            (Version::Two, Refused::Publish) => ("publishIn", "inbound"),
        };
        let message = match version {
            Version::One => format!("Action was silently blocked by {middleware} middleware"),
            Version::Two => format!("The {action} AGAction was blocked by {middleware} middleware"),
        };
        (message, middleware)
    }
}

/// The error of a call, as SocketCluster sends the fields of an `Error`.
pub fn error_of(error: &CallError, refused: Refused, version: Version) -> Value {
    let mut fields = Map::new();
    let mut set = |name: &str, value: &str| _ = fields.insert(name.to_owned(), value.into());
    let CallError::Failure(failure) = error else {
        set("message", &error.to_string());
        set("name", name_of(error));
        set("code", error.code());
        return fields.into();
    };
    if failure.extra.iter().any(|(name, value)| name == "silent" && value == "true") {
        let (message, kind) = refused.silently(version);
        set("message", &message);
        set("name", "SilentMiddlewareBlockedError");
        set("type", kind);
        return fields.into();
    }
    set("message", &failure.message);
    set("name", if failure.name.is_empty() { "Error" } else { &failure.name });
    match json_of(&failure.data) {
        Some(Value::Object(own)) => own.into_iter().for_each(|(name, value)| _ = fields.entry(name).or_insert(value)),
        Some(Value::Null) | None => {}
        Some(value) => _ = fields.insert("data".to_owned(), value),
    }
    fields.into()
}

fn json_of(payload: &Payload) -> Option<Value> {
    match payload {
        Payload::Text(text) => Some(serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())),
        Payload::None | Payload::Bytes(_) => None,
    }
}

/// The name of an error of the host, in the manner of SocketCluster's.
fn name_of(error: &CallError) -> &'static str {
    match error {
        CallError::Timeout(_) => "TimeoutError",
        CallError::NotFound(_) => "NotFoundError",
        CallError::Forbidden(_) => "ForbiddenError",
        CallError::Overloaded(_) => "OverloadedError",
        CallError::Crashed(_) => "CrashedError",
        CallError::Unavailable(_) => "UnavailableError",
        CallError::WouldDeadlock(_) | CallError::TooDeep(_) => "DeadlockError",
        CallError::Invalid(_) => "InvalidArgumentsError",
        CallError::Failure(_) | CallError::Other(..) => "Error",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::Failure;

    fn text(text: &str) -> Payload {
        Payload::Text(text.to_owned())
    }

    #[test]
    fn a_failure_has_its_name_its_message_and_fields_of_its_own() {
        let failure =
            |data: Payload| Failure { name: "MyError".into(), message: "nope".into(), data, ..Failure::default() };
        let written = |failure| error_of(&CallError::Failure(failure), Refused::Event, Version::One).to_string();
        assert_eq!(
            written(failure(text(r#"{"code":"E_NOPE","extra":{"a":[1]},"name":"Other"}"#))),
            r#"{"message":"nope","name":"MyError","code":"E_NOPE","extra":{"a":[1]}}"#
        );
        assert_eq!(written(failure(text("more"))), r#"{"message":"nope","name":"MyError","data":"more"}"#);
        for none in [Payload::Bytes(vec![1]), text("null")] {
            assert_eq!(written(failure(none)), r#"{"message":"nope","name":"MyError"}"#);
        }
        assert_eq!(
            written(Failure { name: String::new(), ..failure(Payload::None) }),
            r#"{"message":"nope","name":"Error"}"#
        );
    }

    #[test]
    fn a_silent_refusal_names_the_middleware_that_socketcluster_has_for_it() {
        let extra = vec![("silent".into(), "true".into())];
        let failure = Failure { message: "secret".into(), data: text("{}"), extra, ..Failure::default() };
        let silent = CallError::Failure(failure);
        for (refused, version, message, kind) in [
            (Refused::Event, Version::One, "Action was silently blocked by emit middleware", "emit"),
            (Refused::Token, Version::One, "Action was silently blocked by authenticate middleware", "authenticate"),
            (Refused::Handshake, Version::One, "Action was silently blocked by handshakeSC middleware", "handshakeSC"),
            (Refused::Subscribe, Version::One, "Action was silently blocked by subscribe middleware", "subscribe"),
            (Refused::Publish, Version::One, "Action was silently blocked by publishIn middleware", "publishIn"),
            (Refused::Subscribe, Version::Two, "The subscribe AGAction was blocked by inbound middleware", "inbound"),
            (Refused::Publish, Version::Two, "The publishIn AGAction was blocked by inbound middleware", "inbound"),
            (Refused::Event, Version::Two, "The invoke AGAction was blocked by inbound middleware", "inbound"),
            (Refused::Token, Version::Two, "The authenticate AGAction was blocked by inbound middleware", "inbound"),
            (
                Refused::Handshake,
                Version::Two,
                "The handshakeSC AGAction was blocked by handshake middleware",
                "handshake",
            ),
        ] {
            let error = json!({ "message": message, "name": "SilentMiddlewareBlockedError", "type": kind });
            assert_eq!(error_of(&silent, refused, version), error);
        }
    }

    #[test]
    fn an_error_of_the_host_has_its_code() {
        let why = || "why".to_owned();
        for (error, name, code) in [
            (CallError::Timeout(None), "TimeoutError", "timeout"),
            (CallError::NotFound(why()), "NotFoundError", "not-found"),
            (CallError::Forbidden(why()), "ForbiddenError", "forbidden"),
            (CallError::Overloaded(why()), "OverloadedError", "overloaded"),
            (CallError::Crashed(why()), "CrashedError", "crashed"),
            (CallError::Unavailable(why()), "UnavailableError", "unavailable"),
            (CallError::WouldDeadlock(why()), "DeadlockError", "would-deadlock"),
            (CallError::TooDeep(why()), "DeadlockError", "too-deep"),
            (CallError::Invalid(why()), "InvalidArgumentsError", "invalid"),
            (CallError::Other("new".into(), why()), "Error", "other"),
        ] {
            let message = error.to_string();
            assert_eq!(
                error_of(&error, Refused::Event, Version::Two),
                json!({ "message": message, "name": name, "code": code })
            );
        }
    }
}
