//! Channels: how they reach the brokers, and the methods for the embedding program.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::RunningHost;
use crate::call::channel::{BYTES_OF_PAGE, ListSize, MOST_OF_PAGE};
use crate::call::{
    CallError, ChannelAnswer, ChannelCall, ChannelHome, ChannelMember, ChannelMessage, ChannelPage, ChannelPosition,
    ChannelRule, Context, Envelope, HomeCall, Payload, size,
};
use crate::dispatch::Dispatch;
use crate::hub::{ChannelListener, Listening};
use crate::ports::channel_caller as rules;
use crate::triggers::channels::{Actor, ChannelBackend, StartedCall};

/// The most messages that wait for one [`ChannelReader`].
const WAITING: usize = 1_024;

/// The modules of a node.
pub(super) struct ChannelModules(pub Arc<Dispatch>);

impl ChannelBackend for ChannelModules {
    fn rule(&self, channel: &str) -> ChannelRule {
        self.0.channel_rule(channel)
    }

    fn has(&self, module: &str) -> bool {
        self.0.has_module(module)
    }

    fn call(&self, call: ChannelCall) -> Result<StartedCall, CallError> {
        let (runtime, outcome) = self.0.call_channel(call)?;
        Ok(StartedCall { runtime, outcome: outcome.boxed() })
    }

    fn home(&self, channel: &str) -> Result<Option<ChannelHome>, CallError> {
        self.0.channel_home(channel)
    }

    fn ask_home(&self, node: &str, call: HomeCall) -> BoxFuture<'static, Result<ChannelAnswer, CallError>> {
        self.0.ask_home(node, call)
    }

    fn caller_of(&self, envelope: &Envelope) -> Option<Arc<Context>> {
        self.0.caller_of(envelope)
    }
}

/// The messages of a channel, from [`RunningHost::subscribe_channel`].
pub struct ChannelReader {
    waiting: Arc<Waiting>,
    _listening: Listening,
}

/// What a [`ChannelReader`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelItem {
    /// A message.
    Message(ChannelMessage),
    /// The program reads too slowly, so that this number of messages was dropped here. Or at least
    /// one message of another node has not arrived.
    Missed(u64),
}

#[derive(Default)]
struct Waiting {
    queue: Mutex<Queue>,
    arrived: Notify,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<ChannelItem>,
    /// The messages that were dropped before the first one.
    missed: u64,
}

impl Queue {
    fn push(&mut self, item: ChannelItem) {
        if self.items.len() >= WAITING {
            self.missed += match self.items.pop_front() {
                Some(ChannelItem::Missed(missed)) => missed,
                Some(ChannelItem::Message(_)) | None => 1,
            };
        }
        self.items.push_back(item);
    }
}

impl ChannelListener for Waiting {
    fn message(&self, _: &Arc<str>, message: &ChannelMessage, _: Option<ChannelPosition>) {
        self.queue.lock().push(ChannelItem::Message(message.clone()));
        self.arrived.notify_one();
    }

    fn missed(&self, count: Option<u64>) {
        self.queue.lock().push(ChannelItem::Missed(count.unwrap_or(1)));
        self.arrived.notify_one();
    }
}

impl ChannelReader {
    /// Waits for the next message. Dropping the future loses none.
    pub async fn next(&mut self) -> ChannelItem {
        loop {
            if let Some(item) = self.try_next() {
                return item;
            }
            self.waiting.arrived.notified().await;
        }
    }

    /// Returns the next message if it has been published.
    pub fn try_next(&mut self) -> Option<ChannelItem> {
        let mut queue = self.waiting.queue.lock();
        match std::mem::take(&mut queue.missed) {
            0 => queue.items.pop_front(),
            missed => Some(ChannelItem::Missed(missed)),
        }
    }
}

impl RunningHost {
    /// Publishes a message to a channel: to the clients and guests that are subscribed. Waits until
    /// the message has its place in the order of the channel, which is at once unless the channel
    /// has a route. Returns the place, if the channel keeps a history.
    ///
    /// Fails with [`CallError::Failure`] if the route refuses the message, with
    /// [`CallError::Timeout`] or [`CallError::Crashed`] if its call ends so, with
    /// [`CallError::Overloaded`] if 64 messages of the channel wait for the route, with
    /// [`CallError::Forbidden`] for `presence/<channel>`, with [`CallError::Invalid`] if the name
    /// is not that of a channel or the payload has more than `limits.max.payload` bytes, and with
    /// [`CallError::Unavailable`] if the module that declares the channel is not installed, or once
    /// a stop has begun.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// host.publish_to_channel("room/7", r#"{ "text": "closing soon" }"#).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn publish_to_channel(
        &self,
        channel: &str,
        payload: impl Into<Payload>,
    ) -> Result<Option<ChannelPosition>, CallError> {
        self.check_running()?;
        rules::check(channel)?;
        let (payload, max) = (payload.into(), self.swapper.config.limits.max.payload);
        size::check("the message", payload.len(), max, "limits.max.payload")?;
        let (done, published) = oneshot::channel();
        self.channels.publish(&channel.into(), payload, Actor::operator(), move |result| {
            // The caller may have dropped the future, and the message continues.
            _ = done.send(result);
        });
        published.await.unwrap_or_else(|_| Err(CallError::stopping()))
    }

    /// Returns the messages of a channel, from the next one on. They include those of guests and of
    /// this program. Up to 1,024 messages wait for the program.
    ///
    /// Fails with [`CallError::Invalid`] if the name is not that of a channel, and with
    /// [`CallError::Overloaded`] if there are `hub.topics` channels.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// use fanfare::ChannelItem;
    ///
    /// let mut messages = host.subscribe_channel("room/7")?;
    /// while let ChannelItem::Message(message) = messages.next().await {
    ///     println!("{}: {}", message.offset, message.payload.to_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe_channel(&self, channel: &str) -> Result<ChannelReader, CallError> {
        rules::check(channel)?;
        let waiting = Arc::new(Waiting::default());
        let listening = self.channels.hub.channels.listen(channel, waiting.clone());
        let listening = listening.map_err(|error| CallError::Overloaded(error.to_string()))?;
        Ok(ChannelReader { waiting, _listening: listening })
    }

    /// Returns the number of clients that are subscribed to a channel.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// println!("{} clients in room 7", host.channel_count("room/7"));
    /// # }
    /// ```
    pub fn channel_count(&self, channel: &str) -> u32 {
        self.channels.hub.channels.count(channel)
    }

    /// Returns the kept messages of a channel after a position, oldest first, or without a position
    /// the newest ones. A page has at most `most` messages, 1,000 and 1 MiB of payloads, but one
    /// message at least. A channel without a history returns a page without messages.
    ///
    /// Fails with [`CallError::Invalid`] if the name is not that of a channel, and with
    /// [`CallError::Unavailable`] if the module that declares the channel is not installed, or if
    /// another node has the history and cannot be reached.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// let page = host.channel_history("room/7", None, 20).await?;
    /// for message in &page.messages {
    ///     println!("{}: {}", message.offset, message.payload.to_text());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn channel_history(
        &self,
        channel: &str,
        after: Option<ChannelPosition>,
        most: usize,
    ) -> Result<ChannelPage, CallError> {
        rules::check(channel)?;
        let (channel, most) = (channel.into(), most.min(MOST_OF_PAGE));
        self.channels.history(&channel, after, most, BYTES_OF_PAGE, &Actor::operator()).await
    }

    /// Returns the members of a channel that a module declares with `presence`, on all nodes of a
    /// cluster, sorted by session.
    ///
    /// Fails with [`CallError::Invalid`] if the channel has no presence or the name is not that of
    /// a channel, and with [`CallError::Unavailable`] if the module that declares the channel is
    /// not installed, or if the home of the channel cannot be asked.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// for member in host.channel_members("room/7").await? {
    ///     println!("{}: {:?}", member.session, member.uid);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn channel_members(&self, channel: &str) -> Result<Vec<ChannelMember>, CallError> {
        rules::check(channel)?;
        self.channels.members(&channel.into(), ListSize::ANY, &Actor::operator()).await
    }

    /// Ends the subscription of a session to a channel, and returns whether it was subscribed. A
    /// client of SocketCluster receives the message as the reason; a plain WebSocket receives
    /// nothing.
    ///
    /// Fails with [`CallError::NotFound`] without such a session, and with [`CallError::Invalid`]
    /// if the name is not that of a channel.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// for session in host.sessions_of("mallory") {
    ///     host.kick_out("room/7", &session.id, "be nice")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn kick_out(&self, channel: &str, session: &str, message: &str) -> Result<bool, CallError> {
        rules::check(channel)?;
        self.channels.kick_out(&channel.into(), session, message, Actor::operator())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_learns_how_many_messages_it_has_missed() {
        let waiting = Waiting::default();
        let message = |offset| ChannelMessage { offset, at: 0, session: None, payload: Payload::None };
        for offset in 1..=WAITING as u64 + 2 {
            waiting.message(&"room".into(), &message(offset), None);
        }
        let queue = waiting.queue.lock();
        assert_eq!((queue.missed, queue.items.len()), (2, WAITING));
        assert_eq!(queue.items.front(), Some(&ChannelItem::Message(message(3))));
    }
}
