//! What all clients of the protocol share.

use std::sync::Arc;
use std::time::Duration;

use super::questions::Questions;
use crate::triggers::websocket::auth::Auth;

/// What all clients of the protocol share.
pub struct Shared {
    /// `websocket.auth`, if it has a key.
    pub auth: Option<Arc<Auth>>,
    pub questions: Arc<Questions>,
    /// `websocket.pingTimeout`, which clients are told.
    pub ping_timeout: Duration,
    /// `websocket.allowClientPublish`.
    pub allows_publish: bool,
}
