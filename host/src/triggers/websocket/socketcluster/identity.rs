//! What the session of a client tells about it.

use super::packet::Version;
use crate::hub::Session;

/// Whether the client of a session speaks this protocol.
pub fn is_client(session: &Session) -> bool {
    Version::of(&session.protocol).is_some()
}
