//! The messages that wait until they are published.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::counts::Counts;
use crate::call::{Amount, CallError, Payload, Shares};
use crate::config::PublishQueue;

/// The most messages that are on their way to the server at once.
pub const BATCH: usize = 32;

/// A queue with limits. Pushing never waits.
pub struct Outbox {
    connection: String,
    limits: PublishQueue,
    counts: Arc<Counts>,
    queue: Mutex<Queue>,
    filled: Notify,
    /// Whether nothing waits or is on its way, or the server is away.
    settled: watch::Sender<bool>,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    /// Those of each module.
    shares: Shares<Arc<str>>,
    /// The messages that were taken and have not ended.
    on_the_way: usize,
    /// Since when the server is away. `None` if it is there.
    away: Option<Instant>,
}

/// A message for a channel.
pub struct Outgoing {
    module: Arc<str>,
    pub channel: Box<str>,
    pub payload: Payload,
    queued: Instant,
}

impl Outgoing {
    fn size(&self) -> u64 {
        (self.channel.len() + self.payload.len()) as u64
    }
}

impl Outbox {
    /// An outbox of a server that is away until [`Outbox::back`].
    pub fn new(connection: &str, limits: PublishQueue, counts: Arc<Counts>) -> Outbox {
        let queue = Queue { away: Some(Instant::now()), ..Queue::default() };
        Outbox {
            connection: connection.to_owned(),
            limits,
            counts,
            queue: Mutex::new(queue),
            filled: Notify::new(),
            settled: watch::Sender::new(true),
        }
    }

    /// Queues a message of a module. Fails if the queue or the share of the module is full, or if
    /// the server is away for too long.
    pub fn push(&self, module: &Arc<str>, channel: &str, payload: Payload) -> Result<(), CallError> {
        let message = Outgoing { module: module.clone(), channel: channel.into(), payload, queued: Instant::now() };
        let PublishQueue { messages, bytes, age } = self.limits;
        let mut queue = self.queue.lock();
        self.drop_old(&mut queue);
        let away = queue.away.map(|since| since.elapsed());
        let most = Amount { entries: messages.into(), bytes };
        let is_full = message.size() > bytes || !queue.shares.has_room(module, message.size(), &most);
        let name = &self.connection;
        let refused = match away {
            Some(away) if away >= age => Some(CallError::Unavailable(format!(
                "the connection `{name}` to Redis is away for longer than queue.age ({age:?})"
            ))),
            Some(_) if is_full => Some(CallError::Unavailable(format!(
                "the connection `{name}` to Redis is away, and the share of {module} of its queue is full: {messages} messages or {bytes} bytes (queue)"
            ))),
            None if is_full => Some(CallError::Overloaded(format!(
                "the share of {module} of the queue of the connection `{name}` to Redis is full: {messages} messages or {bytes} bytes (queue)"
            ))),
            _ => None,
        };
        if let Some(error) = refused {
            self.counts.refused.inc();
            return Err(error);
        }
        queue.shares.add(message.module.clone(), message.size());
        queue.messages.push_back(message);
        self.tell(&queue);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Drops messages that have waited too long for the server.
    fn drop_old(&self, queue: &mut Queue) {
        while queue.messages.front().is_some_and(|oldest| oldest.queued.elapsed() >= self.limits.age) {
            if let Some(oldest) = queue.messages.pop_front() {
                queue.shares.remove(&oldest.module, oldest.size());
                self.counts.lost.inc();
            }
        }
        self.tell(queue);
    }

    /// Tells those that wait in [`Outbox::flushed`].
    fn tell(&self, queue: &Queue) {
        let is_empty = queue.messages.is_empty() && queue.on_the_way == 0;
        self.settled.send_replace(is_empty || queue.away.is_some());
    }

    /// Waits for messages, and takes some. [`Outbox::ended`] must follow.
    pub async fn take(&self) -> Vec<Outgoing> {
        loop {
            {
                let mut queue = self.queue.lock();
                self.drop_old(&mut queue);
                let count = queue.messages.len().min(BATCH);
                if count > 0 {
                    let taken: Vec<Outgoing> = queue.messages.drain(..count).collect();
                    taken.iter().for_each(|one| queue.shares.remove(&one.module, one.size()));
                    queue.on_the_way = count;
                    return taken;
                }
            }
            self.filled.notified().await;
        }
    }

    /// The messages that were taken have reached the server, or are lost.
    pub fn ended(&self) {
        let mut queue = self.queue.lock();
        queue.on_the_way = 0;
        self.tell(&queue);
    }

    /// The server is there.
    pub fn back(&self) {
        let mut queue = self.queue.lock();
        queue.away = None;
        self.tell(&queue);
    }

    /// The server is away.
    pub fn away(&self) {
        let mut queue = self.queue.lock();
        queue.away.get_or_insert_with(Instant::now);
        self.tell(&queue);
    }

    /// Resolves when nothing waits, or the server is away.
    pub async fn flushed(&self) {
        _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// The messages that wait, and their bytes.
    pub fn size(&self) -> (u64, u64) {
        let queue = self.queue.lock();
        (queue.messages.len() as u64, queue.shares.all().bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn outbox(messages: u32, bytes: u64, age: Duration) -> Outbox {
        Outbox::new("default", PublishQueue { messages, bytes, age }, Arc::default())
    }

    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_message_beyond_the_queue_is_refused_and_says_whether_the_server_is_away() {
        let outbox = outbox(2, 1_024, LONG);
        outbox.push(&"m".into(), "a", "1".into()).unwrap();
        outbox.push(&"m".into(), "a", "2".into()).unwrap();
        assert!(matches!(outbox.push(&"m".into(), "a", "3".into()), Err(CallError::Unavailable(_))));
        outbox.back();
        assert!(matches!(outbox.push(&"m".into(), "a", "3".into()), Err(CallError::Overloaded(_))));
        assert_eq!((outbox.size(), outbox.counts.refused.get()), ((2, 4), 2));
    }

    #[test]
    fn a_module_leaves_room_for_the_messages_of_others() {
        let outbox = outbox(100, 1_024, LONG);
        outbox.back();
        let push = |module: &str| (0..200).take_while(|_| outbox.push(&module.into(), "a", "1".into()).is_ok()).count();
        assert_eq!(["m", "n", "m"].map(push), [80, 16, 0]);
        let error = outbox.push(&"m".into(), "a", "1".into()).unwrap_err().to_string();
        assert!(
            error.starts_with("the share of m of the queue of the connection `default` to Redis is full"),
            "{error}"
        );
    }

    #[test]
    fn the_bytes_of_the_queue_are_limited() {
        let outbox = outbox(100, 10, LONG);
        outbox.back();
        outbox.push(&"m".into(), "abcde", "12345".into()).unwrap();
        assert!(matches!(outbox.push(&"m".into(), "a", ().into()), Err(CallError::Overloaded(_))));
    }

    #[tokio::test]
    async fn what_was_taken_makes_room_and_the_rest_follows_in_order() {
        let outbox = outbox(100, 1_024, LONG);
        outbox.back();
        (0..40).for_each(|n| outbox.push(&"m".into(), "a", n.to_string().into()).unwrap());
        let text =
            |taken: Vec<Outgoing>| taken.iter().map(|one| one.payload.to_text().into_owned()).collect::<Vec<_>>();
        let first = text(outbox.take().await);
        assert_eq!((first.len(), first[0].as_str(), outbox.size().0), (BATCH, "0", 8));
        outbox.ended();
        assert_eq!(text(outbox.take().await)[0], "32");
        outbox.ended();
        outbox.flushed().await;
    }

    #[tokio::test]
    async fn a_flush_ends_when_the_server_goes_away() {
        let outbox = outbox(100, 1_024, LONG);
        outbox.back();
        outbox.push(&"m".into(), "a", "1".into()).unwrap();
        let mut flushed = std::pin::pin!(outbox.flushed());
        assert!(flushed.as_mut().now_or_never().is_none());
        outbox.away();
        flushed.await;
    }

    #[tokio::test]
    async fn a_message_waits_no_longer_than_its_age() {
        let outbox = outbox(100, 1_024, Duration::ZERO);
        outbox.back();
        outbox.push(&"m".into(), "a", "old".into()).unwrap();
        outbox.away();
        assert!(matches!(outbox.push(&"m".into(), "a", "new".into()), Err(CallError::Unavailable(_))));
        assert_eq!((outbox.size(), outbox.counts.lost.get()), ((0, 0), 1));
    }
}
