//! The source `channel`: listens to a channel of the node.

use std::sync::{Arc, Weak};

use super::message::Message;
use super::subscription::Subscription;
use crate::call::{ChannelMessage, ChannelPosition};
use crate::hub::ChannelListener;

/// Brings the messages of a channel to a subscription. The channel calls it under its lock, so it
/// only queues them: a full queue drops its oldest message.
pub(super) struct Ear(pub Weak<Subscription>);

impl ChannelListener for Ear {
    fn message(&self, channel: &Arc<str>, message: &ChannelMessage, position: Option<ChannelPosition>) {
        if let Some(subscription) = self.0.upgrade() {
            let id = position.map(|position| position.to_string().into());
            subscription.offer(Message { topic: channel.clone(), id, payload: message.payload.clone() });
        }
    }

    fn missed(&self, count: Option<u64>) {
        if let Some(subscription) = self.0.upgrade() {
            subscription.missed(count);
        }
    }
}
