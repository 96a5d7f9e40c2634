//! The port to the stream that keeps the histories of channels.

use super::BoxFuture;
use crate::call::{CallError, ChannelRecord, RecordPlaces, WriteError, WrittenChannel};

/// The histories of channels with `"keep": "cluster"`.
pub trait Histories: Send + Sync {
    /// Fails if the stream cannot be reached.
    fn check(&self) -> Result<(), CallError>;

    /// The most bytes of messages that are written together, unless it is one message.
    fn max_bytes(&self) -> u64;

    /// Writes a record, if `after` has the last one of the channel. Returns its place. It waits for
    /// at most `cluster.timeout`.
    fn write(&self, channel: &str, after: RecordPlaces, record: ChannelRecord) -> BoxFuture<Result<u64, WriteError>>;

    /// Reads the newest messages of a channel: this number of messages and bytes, or some more.
    fn read(&self, channel: &str, most: usize, max_bytes: u64) -> BoxFuture<Result<WrittenChannel, CallError>>;
}

/// The port of a node without a cluster.
#[derive(Debug, Clone, Copy)]
pub struct NoHistories;

fn missing() -> CallError {
    CallError::Unavailable(
        "the cluster keeps the history of this channel, and fanfare.json names no NATS servers: set cluster.nats"
            .to_owned(),
    )
}

impl Histories for NoHistories {
    fn check(&self) -> Result<(), CallError> {
        Err(missing())
    }

    fn max_bytes(&self) -> u64 {
        0
    }

    fn write(&self, _: &str, _: RecordPlaces, _: ChannelRecord) -> BoxFuture<Result<u64, WriteError>> {
        Box::pin(std::future::ready(Err(missing().into())))
    }

    fn read(&self, _: &str, _: usize, _: u64) -> BoxFuture<Result<WrittenChannel, CallError>> {
        Box::pin(std::future::ready(Err(missing())))
    }
}
