//! Reads a stream of Redis for one subscription: delivers each entry at least once, and
//! acknowledges it after its handler has succeeded.
//!
//! An entry that was delivered is *pending* in Redis until it is acknowledged. Redis also counts
//! its deliveries. So the host keeps nothing about failed entries: it looks regularly which
//! entries are pending, and claims those that are due. These are entries of a previous process
//! of this host, at once; entries whose handler failed, after a pause; and entries of consumers
//! that have not acknowledged them within `claimAfter`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::entries::{Entry, Pending};
use super::link::Link;
use super::pending::{Group, PAGE};
use super::sources::{label_of, topic_of};
use crate::call::CallError;
use crate::call::text::{MESSAGE, NAME, line};
use crate::events::HostEvent;
use crate::registry::RedisTopic;
use crate::triggers::subscriptions::{Message, Subscription};

/// The most entries of one stream whose handlers run or wait.
const MOST_IN_FLIGHT: usize = 64;

/// The most entries in one answer of the server.
const MOST_READ: usize = 16;

/// The longest time between two looks at the pending entries.
const LOOK: Duration = Duration::from_secs(1);

/// The most pages of pending entries in one look. The next look continues there.
const MOST_PAGES: usize = 10;

/// The pause after the first failure of an entry, which doubles with each failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An entry whose handler has ended.
struct Ended {
    id: String,
    deliveries: u64,
    outcome: Result<(), CallError>,
}

struct Reader {
    link: Arc<Link>,
    subscriber: Arc<Subscription>,
    topic: Arc<str>,
    group: Group,
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// The entries that run, and those that are to be acknowledged.
    in_flight: HashSet<String>,
    to_acknowledge: Vec<String>,
    /// Entries whose last delivery does not count as a try, because no handler ran.
    uncounted: HashSet<String>,
    /// Whether the entries of the previous process were not looked for yet.
    fresh: bool,
    /// Where the next look at the pending entries continues.
    cursor: Option<String>,
}

/// Reads until `end` is cancelled, and then waits for the handlers that run.
pub async fn run(link: Arc<Link>, subscriber: Arc<Subscription>, end: CancellationToken) {
    let Some(RedisTopic::Stream { key, group }) = topic_of(&subscriber) else { return };
    let (part, topic) = (format!("stream {key}"), key.clone());
    let group = Group { key: key.to_string(), group: group.to_string(), consumer: link.consumer.clone() };
    let mut retry = link.retry();
    let mut reader = Reader {
        link: link.clone(),
        subscriber,
        topic,
        group,
        running: FuturesUnordered::new(),
        in_flight: HashSet::new(),
        to_acknowledge: Vec::new(),
        uncounted: HashSet::new(),
        fresh: true,
        cursor: None,
    };
    link.health.begin(&part);
    loop {
        let attempt = reader.connection(&end, || {
            retry.reset();
            link.health.connected(&part);
        });
        let Err(reason) = attempt.await else { break };
        if !end.is_cancelled() {
            link.health.lost(&part, &reason);
        }
        let pause = tokio::time::sleep(retry.delay());
        tokio::select! {
            () = pause => {}
            () = end.cancelled(), if reader.is_idle() => break,
        }
    }
    link.health.ended(&part);
}

impl Reader {
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.to_acknowledge.is_empty()
    }

    /// Reads as long as the connection lasts. Returns when the reader has ended.
    async fn connection(&mut self, end: &CancellationToken, connected: impl FnOnce()) -> Result<(), String> {
        let text = |error: RedisError| error.to_string();
        // Half of the time that a server may take, so that a server that stops is noticed.
        let block = self.link.settings.timeout / 2;
        let reading = self.link.open_commands(block).await?;
        let mut control = self.link.open_commands(Duration::ZERO).await?;
        self.group.create(&mut control.connection).await.map_err(text)?;
        connected();
        let block = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
        let every = (self.link.settings.claim_after / 3).min(LOOK);
        let mut next_look = Instant::now();
        let mut read: Option<BoxFuture<'static, Result<Vec<Entry>, RedisError>>> = None;
        loop {
            self.acknowledge(&mut control.connection).await.map_err(text)?;
            if end.is_cancelled() && self.is_idle() {
                return Ok(());
            }
            let room = MOST_IN_FLIGHT.saturating_sub(self.in_flight.len());
            // Entries of the previous process come first. A look at the same time as the first read
            // would also take the entries of that read for them.
            if read.is_none() && room > 0 && !self.fresh && !end.is_cancelled() {
                let (group, connection) = (self.group.clone(), reading.connection.clone());
                read = Some(async move { group.read(connection, room.min(MOST_READ), block).await }.boxed());
            }
            let entries = async {
                match read.as_mut() {
                    Some(read) => read.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = self.running.next(), if !self.running.is_empty() => self.ended(ended),
                entries = entries => {
                    read = None;
                    entries.map_err(text)?.into_iter().for_each(|entry| self.start(entry, 1));
                }
                () = sleep_until(next_look) => {
                    self.look(&mut control.connection, end).await.map_err(text)?;
                    let is_full = self.in_flight.len() >= MOST_IN_FLIGHT;
                    next_look = Instant::now() + if self.fresh && !is_full { Duration::ZERO } else { every };
                }
                () = end.cancelled(), if !end.is_cancelled() => {}
            }
        }
    }

    fn start(&mut self, entry: Entry, deliveries: u64) {
        let Entry { id, payload } = entry;
        let Some(payload) = payload else {
            self.link.counts.oversized.inc();
            let reason = "a value of the entry is larger than limits.max.payload";
            // It would be too large each time.
            return self.give_up(&id, self.link.settings.tries.into(), reason);
        };
        if !self.in_flight.insert(id.clone()) {
            return;
        }
        self.link.counts.received.inc();
        let subscriber = self.subscriber.clone();
        let message = Message { topic: self.topic.clone(), id: Some(id.as_str().into()), payload };
        self.running.push(async move { Ended { id, deliveries, outcome: subscriber.run(message).await } }.boxed());
    }

    fn ended(&mut self, Ended { id, deliveries, outcome }: Ended) {
        let error = match outcome {
            // It stays in flight until it is acknowledged.
            Ok(()) => return self.to_acknowledge.push(id),
            Err(error) => error,
        };
        self.in_flight.remove(&id);
        if matches!(error, CallError::Unavailable(_) | CallError::Overloaded(_)) {
            // No handler has run.
            if self.uncounted.len() < PAGE * MOST_PAGES {
                self.uncounted.insert(id);
            }
        } else if deliveries >= u64::from(self.link.settings.tries) {
            self.give_up(&id, deliveries, &error.to_string());
        }
    }

    /// Reports an entry that stays pending, because its handler fails each time.
    fn give_up(&self, id: &str, tries: u64, reason: &str) {
        self.link.counts.given_up.inc();
        let (subscription, reason) = (label_of(&self.subscriber), line(reason, MESSAGE));
        tracing::warn!(%subscription, stream = %self.topic, %id, tries, %reason, "an entry failed too often and stays pending");
        self.link.events.raise(HostEvent::RedisMessageFailed {
            connection: self.link.name.clone(),
            subscription,
            stream: line(&self.topic, NAME),
            id: line(id, NAME),
            tries,
            reason,
        });
    }

    async fn acknowledge(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if self.to_acknowledge.is_empty() {
            return Ok(());
        }
        self.group.acknowledge(connection, &self.to_acknowledge).await?;
        for id in self.to_acknowledge.drain(..) {
            self.link.counts.acknowledged.inc();
            self.in_flight.remove(&id);
            self.uncounted.remove(&id);
        }
        Ok(())
    }

    /// Claims the pending entries that are due, as far as there is room.
    async fn look(
        &mut self,
        connection: &mut MultiplexedConnection,
        end: &CancellationToken,
    ) -> Result<(), RedisError> {
        if !self.in_flight.is_empty() {
            self.group.keep(connection, &self.in_flight).await?;
        }
        for _ in 0..MOST_PAGES {
            let page = self.group.pending(connection, self.cursor.as_deref()).await?;
            let is_last = page.len() < PAGE;
            for one in page {
                if self.in_flight.len() >= MOST_IN_FLIGHT || end.is_cancelled() {
                    return Ok(());
                }
                self.cursor = Some(one.id.clone());
                self.claim_if_due(connection, one).await?;
            }
            if is_last {
                (self.cursor, self.fresh) = (None, false);
                return Ok(());
            }
        }
        Ok(())
    }

    async fn claim_if_due(&mut self, connection: &mut MultiplexedConnection, one: Pending) -> Result<(), RedisError> {
        let Pending { id, consumer, idle, deliveries } = one;
        let is_own = consumer == self.group.consumer;
        let least = match is_own {
            true if self.fresh => Duration::ZERO,
            true => pause_after(deliveries),
            false => self.link.settings.claim_after,
        };
        let is_due = Duration::from_millis(idle) >= least;
        if !is_due || self.in_flight.contains(&id) || deliveries >= u64::from(self.link.settings.tries) {
            return Ok(());
        }
        let deliveries = if self.uncounted.remove(&id) { deliveries } else { deliveries + 1 };
        let idle = if is_own { 0 } else { u64::try_from(least.as_millis()).unwrap_or(u64::MAX) };
        if let Some(entry) = self.group.claim(connection, &id, idle, deliveries).await? {
            self.link.counts.claimed.inc();
            self.start(entry, deliveries);
        }
        Ok(())
    }
}

/// How long an entry rests after this number of deliveries.
fn pause_after(deliveries: u64) -> Duration {
    let doublings = u32::try_from(deliveries.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_rests_longer_after_each_failure() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 7, 8, 1_000].map(|times| pause_after(times).as_secs()).into();
        assert_eq!(seconds, [1, 1, 2, 4, 60, 60, 60]);
    }
}
