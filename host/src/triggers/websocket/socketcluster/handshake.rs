//! The beginning of a session, and the tokens that clients show.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::errors::{self, error_of};
use super::packet::{self, Cid, Version};
use super::shared::Shared;
use super::written::{Written, remove_token};
use crate::call::session::client_id;
use crate::call::{CallError, Outcome, Passed, Payload, RequestHead, hook};
use crate::hub::Claims;
use crate::triggers::websocket::auth::{MAX_TOKEN, TOKEN_ERROR, TokenError};
use crate::triggers::websocket::backend::ClientBackend;
use crate::triggers::websocket::close_codes::REFUSED;
use crate::triggers::websocket::counters::Counters;
use crate::triggers::websocket::link::Link;

/// What the hooks of a client need.
pub(super) struct Handshake<B> {
    pub(super) link: Link<B>,
    pub(super) version: Version,
    pub(super) shared: Arc<Shared>,
}

/// A token as a client shows it. `None` is a value that is not a text.
type Shown = Option<String>;

/// The data of a handshake. What else a client sends is only for the hook `connect`.
#[derive(Default, Deserialize)]
struct Greeting<'a> {
    #[serde(rename = "authToken", borrow)]
    token: Option<&'a RawValue>,
}

/// Why a client is not authenticated.
struct Refused {
    /// As the client gets it.
    error: Value,
    /// Whether the client must forget its token.
    is_bad: bool,
}

impl<B: ClientBackend> Handshake<B> {
    /// Asks the hook `connect`, verifies the token, and answers.
    /// `decision` is told whether the session begins.
    pub(super) async fn run(
        &self,
        head: Box<RequestHead>,
        data: Payload,
        cid: Option<Cid>,
        decision: oneshot::Sender<bool>,
    ) {
        let session = &self.link.session;
        let token = token_of(&data);
        if let Some(called) = self.link.hook(hook::CONNECT, Some(head), data, Some(Instant::now()))
            && let Err(error) = called.await
        {
            return self.refuse(&error, cid.as_ref());
        }
        session.set_open();
        // Nobody waits for the decision while the client is connected.
        _ = decision.send(true);
        Counters::count(&self.link.counters.opened);
        let refused = match token {
            Some(token) if token.is_empty() => None,
            token => self.authenticate(token).await.err(),
        };
        let mut data = Map::new();
        data.insert("id".to_owned(), client_id(&session.id).into());
        let timeout = u64::try_from(self.shared.ping_timeout.as_millis()).unwrap_or(u64::MAX);
        data.insert("pingTimeout".to_owned(), timeout.into());
        if let Some(Refused { error, is_bad }) = refused {
            if is_bad {
                self.link.send(remove_token());
            }
            data.insert("authError".to_owned(), error);
        }
        data.insert("isAuthenticated".to_owned(), session.has_claims().into());
        if let Some(cid) = cid {
            self.answer(&cid, &data.into());
        }
    }

    fn refuse(&self, error: &CallError, cid: Option<&Cid>) {
        Counters::count(&self.link.counters.refused_hooks);
        let code = self.link.close_code(error).unwrap_or(REFUSED);
        let mut error = error_of(error, errors::Refused::Handshake, self.version);
        // Versions have different places for the code.
        let data = match self.version {
            Version::One => Payload::from(json!({ "code": code })),
            Version::Two => {
                set(&mut error, "statusCode", code);
                Payload::None
            }
        };
        if let Some(cid) = cid {
            self.link.send(Arc::new(Written::new(&packet::error(cid, &error, &data))));
        }
        self.link.hub.sessions.disconnect(&self.link.session, code, "");
    }

    fn answer(&self, cid: &Cid, data: &Value) {
        self.link.send(Arc::new(Written::new(&packet::answer(cid, &Payload::Text(data.to_string())))));
    }

    /// Verifies a token, and asks the hook `authenticate`. A client whose token is refused is not
    /// authenticated, whatever it was before.
    async fn authenticate(&self, token: Shown) -> Result<(), Refused> {
        let claims = self.claims_of(token).await;
        let (claims, refused) = match claims {
            Ok(claims) => (Some(claims), Ok(())),
            Err(refused) => (None, Err(refused)),
        };
        self.link.session.set_claims(claims);
        refused
    }

    async fn claims_of(&self, token: Shown) -> Result<Claims, Refused> {
        let session = &self.link.session;
        let Some(verifier) = &self.shared.verifier else {
            let message = "the server verifies no tokens (websocket.auth)";
            return Err(Refused { error: json!({ "message": message, "name": TOKEN_ERROR }), is_bad: false });
        };
        let verified = verifier.verify(token, || session.ending().is_none()).await;
        let claims = verified.map_err(|error| {
            Counters::count(&self.link.counters.refused_tokens);
            self.refused(error)
        })?;
        let shown = Payload::Text(claims.text.clone());
        let Some(called) = self.link.hook(hook::AUTHENTICATE, None, shown, Some(Instant::now())) else {
            return Ok(claims);
        };
        match called.await {
            Ok(Outcome::Pass(Passed { payload: Some(payload), .. })) => replaced(claims, payload).ok_or_else(|| {
                let module = &self.link.module;
                tracing::warn!(%module, "the hook authenticate passes claims that are not a JSON object of at most {MAX_TOKEN} bytes: the client is not authenticated");
                let message = "the server has no valid claims for this token";
                self.with_flag(json!({ "message": message, "name": TOKEN_ERROR }), false)
            }),
            Ok(_) => Ok(claims),
            Err(error) => {
                Counters::count(&self.link.counters.refused_hooks);
                self.link.disconnect_after(&error);
                Err(self.with_flag(error_of(&error, errors::Refused::Token, self.version), false))
            }
        }
    }

    fn refused(&self, error: TokenError) -> Refused {
        let TokenError { name, message, time, is_bad } = error;
        let mut error = json!({ "message": message, "name": name });
        if let Some((field, time)) = time {
            set(&mut error, field, time);
        }
        self.with_flag(error, is_bad)
    }

    fn with_flag(&self, mut error: Value, is_bad: bool) -> Refused {
        if self.version == Version::Two {
            set(&mut error, "isBadToken", is_bad);
        }
        Refused { error, is_bad }
    }
}

/// Sets a field of an error.
fn set(error: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(fields) = error.as_object_mut() {
        fields.insert(field.to_owned(), value.into());
    }
}

/// Verifies the token that an open client sends with `#authenticate`, and answers.
pub(super) async fn authenticate_again<B: ClientBackend>(client: &Handshake<B>, token: Shown, cid: Option<Cid>) {
    let answer = |cid: &Cid, error: &Value| {
        client.answer(cid, &json!({ "isAuthenticated": error.is_null(), "authError": error }));
    };
    match (client.authenticate(token).await, cid) {
        (Ok(()), Some(cid)) => answer(&cid, &Value::Null),
        (Ok(()), None) => {}
        (Err(Refused { error, is_bad: false }), Some(cid)) => answer(&cid, &error),
        (Err(Refused { is_bad: false, .. }), None) => {}
        (Err(Refused { error, .. }), cid) => {
            client.link.send(remove_token());
            if let Some(cid) = cid {
                let status = json!({ "isAuthenticated": false, "authError": error });
                client.link.send(Arc::new(Written::new(&packet::error(&cid, &error, &status.into()))));
            }
        }
    }
}

/// The claims that the hook `authenticate` puts in place of those of a token, which expires as
/// before. `None` if it passes no claims: those that it wanted to replace must not be used then.
fn replaced(claims: Claims, payload: Payload) -> Option<Claims> {
    match payload {
        Payload::None => Some(claims),
        Payload::Text(text) if text.len() <= MAX_TOKEN => {
            serde_json::from_str::<Map<String, Value>>(&text).is_ok().then_some(Claims { text, ..claims })
        }
        Payload::Text(_) | Payload::Bytes(_) => None,
    }
}

/// The token in the data of a handshake. Empty if the client shows no token.
fn token_of(data: &Payload) -> Shown {
    let greeting: Greeting<'_> = serde_json::from_slice(data.as_bytes()).unwrap_or_default();
    shown(greeting.token.map(RawValue::get).unwrap_or_default().as_bytes())
}

/// A token that is JSON. Null and no token at all are empty.
pub(super) fn shown(json: &[u8]) -> Shown {
    match json {
        b"" => Some(String::new()),
        json => serde_json::from_slice::<Option<String>>(json).ok().map(Option::unwrap_or_default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_replaced_by_an_object_or_the_token_is_refused() {
        let claims = || Claims { text: r#"{"admin":true}"#.to_owned(), expires: Some(7) };
        let text = |text: &str| replaced(claims(), Payload::Text(text.to_owned()));
        assert_eq!(replaced(claims(), Payload::None), Some(claims()));
        assert_eq!(text(r#"{"a":1}"#), Some(Claims { text: r#"{"a":1}"#.to_owned(), expires: Some(7) }));
        for bad in ["", "no claims", "[]", "null", r#"{"a":1"#] {
            assert_eq!(text(bad), None, "{bad}");
        }
        assert_eq!(replaced(claims(), Payload::Bytes(b"{}".to_vec())), None);
        let of_size = |size: usize| text(&format!(r#"{{"a":"{}"}}"#, "x".repeat(size - 8))).is_some();
        assert_eq!((of_size(MAX_TOKEN), of_size(MAX_TOKEN + 1)), (true, false));
    }

    #[test]
    fn a_token_is_a_text_and_everything_else_in_a_handshake_belongs_to_the_hook() {
        let token = |data: &str| token_of(&Payload::Text(data.to_owned()));
        for none in ["", "null", "5", "[]", "{}", r#"{"authToken":null}"#, r#"{"authToken":""}"#, r#"{"b":"x"}"#] {
            assert_eq!(token(none), Some(String::new()), "{none}");
        }
        assert_eq!(token(r#"{"a":[[1]],"authToken":"x.y.z","b":{"authToken":5}}"#), Some("x.y.z".to_owned()));
        for other in ["5", "{}", "[]", "true", r#"{"authToken":"x"}"#] {
            assert_eq!(token(&format!(r#"{{"authToken":{other}}}"#)), None, "{other}");
        }
        assert_eq!(token_of(&Payload::None), Some(String::new()));
    }
}
