//! The beginning of a session, and the tokens that clients show.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::errors::error_of;
use super::identity::client_id;
use super::packet::{self, Cid, Version};
use super::shared::Shared;
use super::written::{Written, remove_token};
use crate::call::{CallError, Outcome, Passed, Payload, RequestHead, hook};
use crate::hub::Claims;
use crate::triggers::websocket::auth::TokenError;
use crate::triggers::websocket::backend::ClientBackend;
use crate::triggers::websocket::counters::Counters;
use crate::triggers::websocket::link::Link;

/// The close code of a client that the hook `connect` refuses.
const REFUSED: u16 = 4008;

/// What the hooks of a client need.
pub(super) struct Handshake<B> {
    pub(super) link: Link<B>,
    pub(super) version: Version,
    pub(super) shared: Arc<Shared>,
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
        let greeting: Value = serde_json::from_slice(data.as_bytes()).unwrap_or_default();
        if let Some(called) = self.link.hook(hook::CONNECT, Some(head), data)
            && let Err(error) = called.await
        {
            return self.refuse(&error, cid.as_ref());
        }
        session.set_open();
        // Nobody waits for the decision while the client is connected.
        _ = decision.send(true);
        Counters::count(&self.link.counters.opened);
        let refused = match greeting.get("authToken") {
            None | Some(Value::Null) => None,
            Some(Value::String(token)) if token.is_empty() => None,
            Some(token) => self.authenticate(token).await.err(),
        };
        let mut data = Map::new();
        data.insert("id".to_owned(), client_id(session).into());
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
        let mut error = error_of(error, self.version);
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
    async fn authenticate(&self, token: &Value) -> Result<(), Refused> {
        let session = &self.link.session;
        session.set_claims(None);
        let Some(auth) = &self.shared.auth else {
            let message = "the server verifies no tokens (websocket.auth)";
            return Err(Refused { error: json!({ "message": message, "name": "AuthTokenError" }), is_bad: false });
        };
        let mut claims = auth.verify(token, now()).map_err(|error| self.refused(error))?;
        if let Some(called) = self.link.hook(hook::AUTHENTICATE, None, Payload::Text(claims.text.clone())) {
            match called.await {
                Ok(Outcome::Pass(Passed { payload: Some(Payload::Text(text)), .. })) => claims = replaced(claims, text),
                Ok(_) => {}
                Err(error) => {
                    Counters::count(&self.link.counters.refused_hooks);
                    self.link.disconnect_after(&error);
                    return Err(self.refused_by_hook(&error));
                }
            }
        }
        session.set_claims(Some(claims));
        Ok(())
    }

    fn refused(&self, error: TokenError) -> Refused {
        let TokenError { name, message, time, is_bad } = error;
        let mut error = json!({ "message": message, "name": name });
        if let Some((field, time)) = time {
            set(&mut error, field, time);
        }
        self.with_flag(error, is_bad)
    }

    fn refused_by_hook(&self, error: &CallError) -> Refused {
        self.with_flag(error_of(error, self.version), false)
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
pub(super) async fn authenticate_again<B: ClientBackend>(client: &Handshake<B>, token: &Value, cid: Option<Cid>) {
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

/// The claims that a hook has put in place of those of the token. The token expires as before.
fn replaced(claims: Claims, text: String) -> Claims {
    match serde_json::from_str::<Map<String, Value>>(&text) {
        Ok(_) => Claims { text, ..claims },
        Err(error) => {
            tracing::warn!(%error, "the hook authenticate has passed claims that are not a JSON object: they are not used");
            claims
        }
    }
}

/// The time in milliseconds since 1970-01-01 UTC.
pub(in crate::triggers::websocket) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
