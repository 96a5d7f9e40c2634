//! What all clients of the protocol share.

use std::sync::Arc;
use std::time::Duration;

use super::questions::Questions;
use crate::triggers::channels::ChannelService;
use crate::triggers::websocket::auth::Verifier;

/// What all clients of the protocol share.
pub struct Shared {
    /// The keys of `websocket.auth`, if there are any.
    pub verifier: Option<Verifier>,
    pub questions: Arc<Questions>,
    /// `websocket.pingTimeout`, which clients are told.
    pub ping_timeout: Duration,
    /// `websocket.allowClientPublish`.
    pub allows_publish: bool,
    pub channels: Arc<ChannelService>,
    /// The most bytes of the messages in one answer to `#history`: those of `websocket.queue`.
    pub max_history: u64,
}
