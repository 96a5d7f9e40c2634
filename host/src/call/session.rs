//! Connected clients, and whom messages to them are for, as plain data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::written;

/// The most bytes in the name of a user, a group, a value or a message.
pub const MAX_NAME: usize = 256;

/// The part of a session's id that its client knows: without the node.
pub fn client_id(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, id)| id)
}

/// The node of a session. `None` if this is not the id of a session.
pub fn node_of(id: &str) -> Option<&str> {
    id.rsplit_once('/').map(|(node, _)| node)
}

/// The facts about a connected client. A copy: the session may change meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionInfo {
    /// `<node>/<id>`. The client knows only the part after the slash.
    #[serde(with = "written::shared")]
    pub id: Arc<str>,
    /// The worker that has the socket.
    pub worker: u32,
    /// The user that the session is bound to.
    pub uid: Option<String>,
    /// The address of the client, without its port.
    pub ip: String,
    /// Such as `socketcluster/2`, `plain`, or a sub-protocol.
    pub protocol: String,
    /// The claims of its token as JSON text, while it is authenticated.
    pub claims: Option<String>,
    /// When it connected, in milliseconds since 1970-01-01 UTC.
    pub since: u64,
}

impl SessionInfo {
    /// All that is still known about a session that has ended, also to guests: its id. A call of
    /// such a client must not look like one that belongs to nobody.
    pub fn ended(id: Arc<str>) -> SessionInfo {
        SessionInfo { id, worker: 0, uid: None, ip: String::new(), protocol: String::new(), claims: None, since: 0 }
    }
}

/// Whom a message to clients is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Recipient {
    /// The session with this id.
    Session(String),
    /// The sessions that are bound to this user, on every node.
    Uid(String),
    /// The sessions that are bound to this user on one node: user, node.
    UidOn(String, String),
    /// The members of a group.
    Group(String),
    /// Every session that is bound.
    Bound,
    /// Every session.
    Everyone,
    /// A kind that this version does not know, and its name. Sending to it fails.
    Other(String, String),
}

impl Recipient {
    /// The size of its names in bytes.
    pub fn names_len(&self) -> usize {
        match self {
            Recipient::Session(name) | Recipient::Uid(name) | Recipient::Group(name) => name.len(),
            Recipient::UidOn(uid, node) => uid.len() + node.len(),
            Recipient::Other(kind, name) => kind.len() + name.len(),
            Recipient::Bound | Recipient::Everyone => 0,
        }
    }
}

/// What happens to a user that another session is bound to already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WhenTaken {
    /// The new session is not bound.
    Refuse,
    /// All of them are bound.
    Share,
    /// The other sessions are disconnected.
    Replace,
}

/// The result of a message to clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// The number of sessions that it was queued for, on all nodes.
    pub reached: u32,
    /// The recipients that no session belongs to on the nodes that answered.
    pub unknown: Vec<Recipient>,
    /// The ids of the nodes that did not answer. Their clients may have received the message, or
    /// not.
    pub silent: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_knows_its_session_without_the_node() {
        assert_eq!([node_of("n-1/a"), node_of("a")], [Some("n-1"), None]);
        assert_eq!([client_id("n-1/a"), client_id("n/1/a"), client_id("a")], ["a"; 3]);
    }

    #[test]
    fn the_size_of_a_recipient_includes_every_name() {
        let text = || "x".repeat(5);
        for recipient in [Recipient::Session(text()), Recipient::Uid(text()), Recipient::Group(text())] {
            assert_eq!(recipient.names_len(), 5);
        }
        assert_eq!(Recipient::UidOn(text(), text()).names_len(), 10);
        assert_eq!(Recipient::Other(text(), text()).names_len(), 10);
        assert_eq!(Recipient::Bound.names_len() + Recipient::Everyone.names_len(), 0);
    }
}
