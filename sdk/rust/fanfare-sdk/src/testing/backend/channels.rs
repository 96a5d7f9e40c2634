//! The functions of `channels`.

use super::super::worker as thread;
use crate::channels::{ChannelMember, ChannelPage, Position};
use crate::failure::CallError;
use crate::wit::types::{self as wit, CallId, Payload};

pub(crate) fn publish_to_channel(
    _caller: Option<CallId>,
    channel: &str,
    payload: &Payload,
) -> Result<(), wit::CallError> {
    let (node, worker) = thread::current();
    node.publish_from(worker, channel, payload).map(drop).map_err(CallError::into_wit)
}

pub(crate) fn subscribe_to_channel(
    _caller: Option<CallId>,
    channel: &str,
    route: &str,
) -> Result<String, wit::CallError> {
    let (node, worker) = thread::current();
    node.subscribe_to_channel(worker, channel, route).map_err(CallError::into_wit)
}

pub(crate) fn unsubscribe_from_channel(_caller: Option<CallId>, subscription: &str) -> Result<(), wit::CallError> {
    let (node, worker) = thread::current();
    node.unsubscribe_from_channel(worker, subscription).map_err(CallError::into_wit)
}

pub(crate) fn add_to_channel(_caller: Option<CallId>, channel: &str, session: &str) -> Result<(), wit::CallError> {
    thread::current().0.add_to_channel(channel, session).map_err(CallError::into_wit)
}

pub(crate) fn kick_out(
    _caller: Option<CallId>,
    channel: &str,
    session: &str,
    message: &str,
) -> Result<(), wit::CallError> {
    thread::current().0.kick_out(channel, session, message).map_err(CallError::into_wit)
}

pub(crate) fn count_members(channel: &str) -> u32 {
    thread::current().0.count_members(channel)
}

pub(crate) async fn publish_and_wait(
    _caller: Option<CallId>,
    channel: &str,
    payload: &Payload,
) -> Result<Option<Position>, wit::CallError> {
    let (node, worker) = thread::current();
    let placed = node.publish_from(worker, channel, payload).map_err(CallError::into_wit)?;
    placed.await.map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn channel_history(
    _caller: Option<CallId>,
    channel: &str,
    after: Option<&Position>,
    most: u32,
) -> Result<ChannelPage, wit::CallError> {
    thread::current().0.channel_history(channel, after, most).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn channel_members(
    _caller: Option<CallId>,
    channel: &str,
) -> Result<Vec<ChannelMember>, wit::CallError> {
    thread::current().0.listed_members(channel).map_err(CallError::into_wit)
}
