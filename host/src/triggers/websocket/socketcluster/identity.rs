//! What the session of a client tells about it.

use super::packet::Version;
use crate::hub::Session;

/// Whether the client of a session speaks this protocol.
pub fn is_client(session: &Session) -> bool {
    Version::of(&session.protocol).is_some()
}

/// The id of a session as its client knows it: without the node.
pub(super) fn client_id(session: &Session) -> &str {
    session.id.rsplit_once('/').map_or(&session.id, |(_, id)| id)
}
