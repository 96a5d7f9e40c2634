//! Converts sessions, and whom messages to them are for.

use crate::bindings::fanfare::module::types as wit;
use crate::call::{Pushed, Recipient, SessionInfo};

impl From<SessionInfo> for wit::Session {
    fn from(session: SessionInfo) -> Self {
        let SessionInfo { id, worker, uid, ip, protocol, claims, since } = session;
        wit::Session { id: id.to_string(), worker, uid, ip, protocol, claims, since_ms: since, extra: Vec::new() }
    }
}

impl From<wit::Recipient> for Recipient {
    fn from(recipient: wit::Recipient) -> Self {
        match recipient {
            wit::Recipient::Session(id) => Recipient::Session(id),
            wit::Recipient::Uid(uid) => Recipient::Uid(uid),
            wit::Recipient::UidOn((uid, node)) => Recipient::UidOn(uid, node),
            wit::Recipient::Group(group) => Recipient::Group(group),
            wit::Recipient::Bound => Recipient::Bound,
            wit::Recipient::Everyone => Recipient::Everyone,
            wit::Recipient::Other((kind, name)) => Recipient::Other(kind, name),
        }
    }
}

impl From<Recipient> for wit::Recipient {
    fn from(recipient: Recipient) -> Self {
        match recipient {
            Recipient::Session(id) => wit::Recipient::Session(id),
            Recipient::Uid(uid) => wit::Recipient::Uid(uid),
            Recipient::UidOn(uid, node) => wit::Recipient::UidOn((uid, node)),
            Recipient::Group(group) => wit::Recipient::Group(group),
            Recipient::Bound => wit::Recipient::Bound,
            Recipient::Everyone => wit::Recipient::Everyone,
            Recipient::Other(kind, name) => wit::Recipient::Other((kind, name)),
        }
    }
}

impl From<Pushed> for wit::Pushed {
    fn from(pushed: Pushed) -> Self {
        let Pushed { reached, unknown, silent } = pushed;
        wit::Pushed { reached, unknown: unknown.into_iter().map(Into::into).collect(), silent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipient_keeps_its_kind_and_its_names() {
        let text = |text: &str| text.to_owned();
        for recipient in [
            Recipient::Session(text("s")),
            Recipient::Uid(text("u")),
            Recipient::UidOn(text("u"), text("n")),
            Recipient::Group(text("g")),
            Recipient::Bound,
            Recipient::Everyone,
            Recipient::Other(text("kind"), text("name")),
        ] {
            assert_eq!(Recipient::from(wit::Recipient::from(recipient.clone())), recipient);
        }
        let pushed = Pushed { reached: 1, unknown: vec![Recipient::Bound], silent: vec![text("n-2")] };
        let pushed = wit::Pushed::from(pushed);
        assert_eq!((pushed.reached, pushed.unknown.len(), pushed.silent), (1, 1, vec![text("n-2")]));
    }

    #[test]
    fn a_session_reaches_the_guest_with_all_its_facts() {
        let session = SessionInfo {
            id: "n-1/a".into(),
            worker: 1,
            uid: Some("ada".to_owned()),
            ip: "::1".to_owned(),
            protocol: "plain".to_owned(),
            claims: Some("{}".to_owned()),
            since: 7,
        };
        let wit::Session { id, worker, uid, ip, protocol, claims, since_ms, extra } = session.into();
        assert_eq!((id.as_str(), worker, uid.as_deref(), since_ms), ("n-1/a", 1, Some("ada"), 7));
        assert_eq!((ip.as_str(), protocol.as_str(), claims.as_deref(), extra.len()), ("::1", "plain", Some("{}"), 0));
    }
}
