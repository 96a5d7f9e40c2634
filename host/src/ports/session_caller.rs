//! The rules for guests that use sessions: whose session, and the sizes of arguments.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{Caller, ClientEvent};
use crate::call::{CallError, CallSession, Payload, Recipient, SessionCopy, WhenTaken, bounds, session, size};

/// The most entries of a list of sessions, recipients, values or keys.
pub const MOST_LISTED: usize = 10_000;

/// The most bytes of the reason of a disconnect. A Close frame has no room for more.
const MAX_REASON: usize = 123;

/// A guest that uses sessions. With the session of its call it may do everything, and with all
/// others it needs the capability `sessions`.
#[derive(Debug)]
pub struct SessionCaller(Caller);

impl SessionCaller {
    pub fn new(caller: Caller) -> SessionCaller {
        SessionCaller(caller)
    }

    /// The session of the call.
    pub fn own(&self) -> Option<&Arc<str>> {
        self.own_session().map(|session| &session.id)
    }

    fn own_session(&self) -> Option<&CallSession> {
        self.0.context.as_ref()?.session.as_ref()
    }

    /// The copy of a session, if it is that of the call and on another node.
    pub fn copy(&self, id: &str) -> Option<&Arc<SessionCopy>> {
        self.own_session().filter(|own| *own.id == *id)?.copy.as_ref()
    }

    /// Returns the id of the session that the guest means: the named one, or that of its call.
    pub fn session(&self, named: Option<String>) -> Result<Arc<str>, CallError> {
        match named {
            Some(id) => self.named(&id).map(|()| id.into()),
            None => self
                .own()
                .cloned()
                .ok_or_else(|| CallError::Invalid("the call belongs to no session: name the session".to_owned())),
        }
    }

    /// Checks that the guest may use a session.
    pub fn named(&self, id: &str) -> Result<(), CallError> {
        if self.own().is_some_and(|own| **own == *id) { Ok(()) } else { self.granted() }
    }

    /// Checks that the guest may use all sessions.
    pub fn granted(&self) -> Result<(), CallError> {
        if self.0.capabilities.sessions { Ok(()) } else { Err(self.0.forbidden("sessions", None)) }
    }

    /// Checks that the guest may bind a session in this way. To replace ends other sessions.
    pub fn taken(&self, taken: WhenTaken) -> Result<(), CallError> {
        match taken {
            WhenTaken::Replace => self.granted(),
            WhenTaken::Refuse | WhenTaken::Share => Ok(()),
        }
    }

    /// Checks that the guest may use each of these sessions.
    pub fn all_named(&self, ids: &[String]) -> Result<(), CallError> {
        bounded("a list", ids.len())?;
        ids.iter().try_for_each(|id| self.named(id))
    }

    /// Checks that the guest may send to a recipient.
    pub fn recipient(&self, to: &Recipient) -> Result<(), CallError> {
        recipient(to)?;
        match to {
            Recipient::Session(id) => self.named(id),
            _ => self.granted(),
        }
    }

    /// Checks that the guest may send to each recipient.
    pub fn recipients(&self, to: &[Recipient]) -> Result<(), CallError> {
        bounded("a list", to.len())?;
        to.iter().try_for_each(|to| self.recipient(to))
    }

    /// Checks a message, and the bytes of the names that are sent with it.
    pub fn event(&self, name: String, payload: Payload, names: usize) -> Result<ClientEvent, CallError> {
        let Caller { module, max_payload, .. } = &self.0;
        event(name, payload, names, *max_payload, format_args!("limits.payload of {module}"))
    }

    /// How long the guest may wait: what it asks for, but at most the time that its call has left.
    pub fn timeout(&self, requested: Option<Duration>) -> Duration {
        let until = self.0.context.as_ref().and_then(|context| context.until());
        let left = until.map_or(self.0.default_timeout, |until| until.saturating_duration_since(Instant::now()));
        requested.map_or(left, |requested| requested.min(left))
    }
}

/// Checks a message, and the bytes of the names that are sent with it. `setting` names the limit
/// `max`.
pub fn event(
    name: String,
    payload: Payload,
    names: usize,
    max: u64,
    setting: impl Display,
) -> Result<ClientEvent, CallError> {
    name_of("a message", &name)?;
    if name.contains(char::is_control) {
        return Err(CallError::Invalid("the name of a message has no control characters".to_owned()));
    }
    size::check("the message", payload.len() + names, max, setting)?;
    Ok(ClientEvent { name, payload })
}

/// Checks the kind and the names of a recipient.
pub fn recipient(to: &Recipient) -> Result<(), CallError> {
    match to {
        Recipient::Uid(name) | Recipient::UidOn(name, _) | Recipient::Group(name) => name_of("a user or a group", name),
        Recipient::Session(_) | Recipient::Bound | Recipient::Everyone => Ok(()),
        Recipient::Other(kind, _) => Err(unknown_kind(kind)),
    }
}

/// Checks the kinds and the names of recipients.
pub fn recipients(to: &[Recipient]) -> Result<(), CallError> {
    bounded("a list", to.len())?;
    to.iter().try_for_each(recipient)
}

/// Checks the name of a user, a group, a value or a message.
pub fn name_of(what: &str, name: &str) -> Result<(), CallError> {
    let (size, max) = (name.len(), session::MAX_NAME);
    if size > max {
        bounds::SESSION_NAME.count();
    }
    if (1..=max).contains(&size) {
        return Ok(());
    }
    Err(CallError::Invalid(format!("the name of {what} has 1 to {max} bytes, found {size}")))
}

/// Checks values, which are JSON texts with names.
pub fn values(values: &[(String, String)]) -> Result<(), CallError> {
    bounded("a list", values.len())?;
    for (key, text) in values {
        name_of("a value", key)?;
        serde_json::from_str::<IgnoredAny>(text)
            .map_err(|error| CallError::Invalid(format!("the value `{key}` is not JSON: {error}")))?;
    }
    Ok(())
}

/// Checks the names of values.
pub fn keys(keys: &[String]) -> Result<(), CallError> {
    bounded("a list", keys.len())?;
    keys.iter().try_for_each(|key| name_of("a value", key))
}

/// Checks the claims of a token.
pub fn claims(text: &str) -> Result<(), CallError> {
    serde_json::from_str::<Map<String, Value>>(text)
        .map(drop)
        .map_err(|error| CallError::Invalid(format!("the claims are not a JSON object: {error}")))
}

/// Checks the code and the reason of a disconnect.
pub fn close(code: u16, reason: &str) -> Result<(), CallError> {
    if code != 1000 && !(4000..=4999).contains(&code) {
        return Err(CallError::Invalid(format!("a close code is 1000 or 4000 to 4999, found {code}")));
    }
    match reason.len() {
        size if size > MAX_REASON => {
            Err(CallError::Invalid(format!("the reason of a disconnect has at most {MAX_REASON} bytes, found {size}")))
        }
        _ => Ok(()),
    }
}

fn bounded(what: &str, count: usize) -> Result<(), CallError> {
    if count <= MOST_LISTED {
        return Ok(());
    }
    bounds::SESSION_LIST.count();
    Err(CallError::Invalid(format!("{what} has at most {MOST_LISTED} entries, found {count}")))
}

/// The error for a kind of recipient that this version does not know.
fn unknown_kind(kind: &str) -> CallError {
    let kind = crate::call::text::line(kind, crate::call::text::NAME);
    CallError::Invalid(format!("this host does not know the kind of recipient `{kind}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Context, Deadline, IsolateId, Origin};
    use crate::config::Capabilities;

    fn caller(sessions: bool, own: Option<&str>) -> SessionCaller {
        let deadline = Deadline::At(Instant::now() + Duration::from_secs(60));
        let mut context = Context::root(1, "chat".into(), IsolateId::Worker(0), Origin::Host, deadline);
        context.session = own.map(Into::into);
        SessionCaller::new(Caller {
            module: "chat".into(),
            isolate: IsolateId::Worker(0),
            capabilities: Arc::new(Capabilities { sessions, ..Capabilities::default() }.into()),
            default_timeout: Duration::from_secs(1),
            max_payload: 8,
            max_subscriptions: 0,
            context: Some(Arc::new(context)),
        })
    }

    #[test]
    fn only_the_session_of_the_call_needs_no_grant() {
        let (own, granted, none) = (caller(false, Some("n/a")), caller(true, None), caller(false, None));
        assert_eq!(own.session(None), Ok("n/a".into()));
        assert_eq!(own.session(Some("n/a".to_owned())), Ok("n/a".into()));
        assert!(matches!(own.session(Some("n/b".to_owned())), Err(CallError::Forbidden(_))));
        assert_eq!(granted.session(Some("n/b".to_owned())), Ok("n/b".into()));
        assert!(matches!(granted.session(None), Err(CallError::Invalid(_))));
        assert!(matches!(none.session(Some("n/a".to_owned())), Err(CallError::Forbidden(_))));
        assert!(own.all_named(&["n/a".to_owned()]).is_ok() && own.all_named(&["n/a".into(), "n/b".into()]).is_err());
        let name = || "x".to_owned();
        assert!(own.recipient(&Recipient::Session("n/a".to_owned())).is_ok());
        for to in [
            Recipient::Session(name()),
            Recipient::Uid(name()),
            Recipient::UidOn(name(), name()),
            Recipient::Group(name()),
            Recipient::Bound,
            Recipient::Everyone,
        ] {
            assert!(matches!(own.recipient(&to), Err(CallError::Forbidden(_))), "{to:?}");
            assert_eq!(granted.recipients(&[to]), Ok(()));
        }
        let unknown = granted.recipient(&Recipient::Other("channel".into(), name())).unwrap_err();
        assert_eq!(unknown.to_string(), "this host does not know the kind of recipient `channel`");
        assert!(matches!(own.taken(WhenTaken::Replace), Err(CallError::Forbidden(_))));
        for taken in [WhenTaken::Refuse, WhenTaken::Share] {
            assert_eq!(own.taken(taken), Ok(()));
        }
        assert_eq!(granted.taken(WhenTaken::Replace), Ok(()));
        let denied = own.granted().unwrap_err().to_string();
        assert!(denied.contains("add `\"sessions\": true` to capabilities"), "{denied}");
    }

    #[test]
    fn names_and_lists_are_bounded() {
        let (longest, longer) = ("x".repeat(256), "x".repeat(257));
        assert_eq!((name_of("a user", &longest), name_of("a user", "\u{e4}")), (Ok(()), Ok(())));
        let error = |name| name_of("a user", name).unwrap_err().to_string();
        assert_eq!(error(""), "the name of a user has 1 to 256 bytes, found 0");
        assert_eq!(error(&longer), "the name of a user has 1 to 256 bytes, found 257");
        let granted = caller(true, None);
        assert_eq!(granted.recipients(&vec![Recipient::Bound; MOST_LISTED]), Ok(()));
        assert!(granted.recipients(&vec![Recipient::Bound; MOST_LISTED + 1]).is_err());
        assert!(granted.all_named(&vec![String::new(); MOST_LISTED + 1]).is_err());
        assert!(
            keys(&vec!["k".to_owned(); MOST_LISTED]).is_ok() && keys(&vec!["k".to_owned(); MOST_LISTED + 1]).is_err()
        );
        assert!(keys(&[longer]).is_err());
    }

    #[test]
    fn a_message_has_a_name_and_fits_the_limit_of_the_guest() {
        let granted = caller(true, None);
        let event = |name: &str, text: &str, names| {
            granted.event(name.to_owned(), Payload::Text(text.to_owned()), names).map(drop)
        };
        assert!(event("say", "12345678", 0).is_ok() && event("say", "1234", 4).is_ok());
        assert!(event("say", "1234", 5).unwrap_err().to_string().contains("limits.payload of chat allows 8"));
        assert!(event("", "", 0).is_err() && event("a\n", "", 0).is_err() && event(&"x".repeat(257), "", 0).is_err());
    }

    #[test]
    fn values_and_claims_are_json() {
        let value = |text: &str| values(&[("k".to_owned(), text.to_owned())]);
        for good in ["1", "null", r#""a""#, "[{}]"] {
            assert_eq!(value(good), Ok(()), "{good}");
        }
        for bad in ["", "a", "{", "1 2", "'a'"] {
            assert!(matches!(value(bad), Err(CallError::Invalid(_))), "{bad}");
        }
        assert!(claims(r#"{ "uid": 1 }"#).is_ok() && claims("[]").is_err() && claims("").is_err());
    }

    #[test]
    fn a_close_code_is_normal_or_of_the_application() {
        for good in [1000, 4000, 4999] {
            assert_eq!(close(good, &"x".repeat(MAX_REASON)), Ok(()));
        }
        for bad in [0, 1001, 3999, 5000] {
            assert!(close(bad, "").is_err(), "{bad}");
        }
        assert!(close(1000, &"x".repeat(MAX_REASON + 1)).is_err());
    }

    #[test]
    fn a_guest_waits_no_longer_than_its_call() {
        let caller = caller(true, None);
        assert_eq!(caller.timeout(Some(Duration::from_millis(5))), Duration::from_millis(5));
        assert!(
            caller.timeout(None) > Duration::from_secs(1)
                && caller.timeout(Some(Duration::MAX)) <= Duration::from_secs(60)
        );
    }
}
