//! The port to live streams.

use super::Caller;
use crate::call::{CallError, StreamEvent, StreamReach};

/// The functions of live streams for the import `sse`. None of them waits.
pub trait Streams: Send + Sync {
    /// Queues an event for every connection of a key. Returns the number of connections of this
    /// node.
    fn publish(&self, from: Caller, key: String, event: StreamEvent, reach: StreamReach) -> Result<u32, CallError>;

    /// Queues an event for the connections of all keys, and for those without a key. Returns the
    /// number of connections of this node.
    fn publish_all(&self, from: Caller, event: StreamEvent, reach: StreamReach) -> Result<u32, CallError>;

    /// Ends the connections of a key when everything that is queued for them is sent. Returns their
    /// number on this node.
    fn close(&self, from: Caller, key: String, reach: StreamReach) -> Result<u32, CallError>;

    /// Ends all connections when everything that is queued for them is sent. Returns their number
    /// on this node.
    fn close_all(&self, from: Caller, reach: StreamReach) -> Result<u32, CallError>;

    /// The number of open connections of this node: of a key, or of all keys for `None`.
    fn count(&self, key: Option<&str>) -> u32;
}

/// The port of a host that serves no streams.
#[derive(Debug, Clone, Copy)]
pub struct NoStreams;

impl Streams for NoStreams {
    fn publish(&self, _: Caller, _: String, _: StreamEvent, _: StreamReach) -> Result<u32, CallError> {
        Err(unavailable())
    }

    fn publish_all(&self, _: Caller, _: StreamEvent, _: StreamReach) -> Result<u32, CallError> {
        Err(unavailable())
    }

    fn close(&self, _: Caller, _: String, _: StreamReach) -> Result<u32, CallError> {
        Err(unavailable())
    }

    fn close_all(&self, _: Caller, _: StreamReach) -> Result<u32, CallError> {
        Err(unavailable())
    }

    fn count(&self, _: Option<&str>) -> u32 {
        0
    }
}

fn unavailable() -> CallError {
    CallError::Unavailable("this host only inspects modules and serves no streams".to_owned())
}
