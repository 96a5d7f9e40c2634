//! Reads a stream of Redis for one subscription: delivers each entry at least once, and
//! acknowledges it after its handler has succeeded.
//!
//! An entry that was delivered is *pending* in Redis until it is acknowledged. Redis also counts
//! its deliveries. So the host keeps nothing about failed entries: it looks regularly which
//! entries are pending, and claims those that are due. These are entries of a previous process
//! of this host, at once; entries whose handler failed, after a pause; and entries of consumers
//! that have not acknowledged them within `claimAfter`.
//!
//! The consumer has the name of the host and of the subscription. So two subscriptions of a host
//! that share a group do not take each other's entries for those of a previous process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::commands::is_answer;
use super::entries::{Entry, Pending};
use super::link::{Link, reason};
use super::pending::{Group, PAGE};
use super::sources::topic_of;
use crate::call::CallError;
use crate::call::text::{MESSAGE, NAME, line};
use crate::events::{HostEvent, Notice};
use crate::net::Retry;
use crate::registry::RedisTopic;
use crate::triggers::subscriptions::{Message, Subscription, pause_after};

/// The most entries of one stream whose handlers run or wait.
const MOST_IN_FLIGHT: usize = 64;

/// The host reads no more entries while those with handlers have this number of bytes.
const MOST_BYTES_IN_FLIGHT: u64 = 16 * 1_024 * 1_024;

/// The most entries in one answer of the server, and the most bytes of an answer with several.
const MOST_READ: u64 = 16;
const MOST_BYTES_READ: u64 = 128 * 1_024 * 1_024;

/// The longest time between two looks at the pending entries.
const LOOK: Duration = Duration::from_secs(1);

/// The most pages of pending entries in one look. The next look continues there.
const MOST_PAGES: usize = 10;

/// An entry whose handler has ended.
struct Ended {
    id: String,
    deliveries: u64,
    outcome: Result<(), CallError>,
}

/// Why a connection ended.
enum Broken {
    Lost(String),
    /// The server refused a command: the connection was good.
    Refused(String),
}

impl From<RedisError> for Broken {
    fn from(error: RedisError) -> Broken {
        match is_answer(&error) {
            true => Broken::Refused(error.to_string()),
            false => Broken::Lost(reason(&error)),
        }
    }
}

struct Reader {
    link: Arc<Link>,
    subscriber: Arc<Subscription>,
    /// The part of the connection, in its status.
    part: String,
    topic: Arc<str>,
    group: Group,
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// The entries that run, and those that are to be acknowledged, each with its bytes.
    in_flight: HashMap<String, u64>,
    to_acknowledge: Vec<String>,
    /// Entries that are too large. The group is told that they were delivered as often as possible,
    /// so that nobody reads them again.
    too_large: Vec<String>,
    /// Entries whose last delivery does not count as a try, because no handler ran.
    uncounted: HashSet<String>,
    /// Whether the entries of the previous process were not looked for yet.
    fresh: bool,
    /// Where the next look at the pending entries continues.
    cursor: Option<String>,
    /// The failed entries of which no event tells yet.
    failed: Notice,
}

/// Reads until `end` is cancelled, and then waits for the handlers that run.
pub async fn run(link: Arc<Link>, subscriber: Arc<Subscription>, end: CancellationToken) {
    let Some(RedisTopic::Stream { key, group }) = topic_of(&subscriber) else { return };
    let group = Group {
        key: key.to_string(),
        group: group.to_string(),
        consumer: format!("{}/{}/{}", link.node, subscriber.module(), subscriber.name()),
        most: link.max_payload,
    };
    let mut retry = link.retry();
    let mut reader = Reader {
        link: link.clone(),
        part: format!("stream {key} of {}", subscriber.label()),
        topic: key.clone(),
        subscriber,
        group,
        running: FuturesUnordered::new(),
        in_flight: HashMap::new(),
        to_acknowledge: Vec::new(),
        too_large: Vec::new(),
        uncounted: HashSet::new(),
        fresh: true,
        cursor: None,
        failed: Notice::default(),
    };
    link.health.begin(&reader.part);
    loop {
        match reader.connection(&end, &mut retry).await {
            Ok(()) => break,
            Err(Broken::Refused(reason)) => link.health.refused(&reader.part, &reason),
            Err(Broken::Lost(reason)) if !end.is_cancelled() => _ = link.health.lost(&reader.part, &reason),
            Err(Broken::Lost(_)) => {}
        }
        let pause = tokio::time::sleep(retry.delay());
        tokio::select! {
            () = pause => {}
            () = end.cancelled(), if reader.is_idle() => break,
        }
    }
    link.health.accepted(&reader.part);
    link.health.ended(&reader.part);
}

impl Reader {
    fn is_idle(&self) -> bool {
        self.running.is_empty() && self.to_acknowledge.is_empty()
    }

    /// How many entries the host may read now.
    fn room(&self) -> u64 {
        if self.in_flight.values().sum::<u64>() >= MOST_BYTES_IN_FLIGHT {
            return 0;
        }
        most_read(self.group.most).min(MOST_IN_FLIGHT.saturating_sub(self.in_flight.len()) as u64)
    }

    /// Reads as long as the connection lasts. Returns when the reader has ended.
    async fn connection(&mut self, end: &CancellationToken, retry: &mut Retry) -> Result<(), Broken> {
        // Half of the time that a server may take, so that a server that stops is noticed.
        let block = self.link.settings.timeout / 2;
        let reading = self.link.open_commands(block, self.link.max_payload).await.map_err(Broken::Lost)?;
        let mut control = self.link.open_commands(Duration::ZERO, self.link.max_payload).await.map_err(Broken::Lost)?;
        self.link.health.connected(&self.part);
        self.group.create(&mut control.connection).await?;
        let block = u64::try_from(block.as_millis()).unwrap_or(u64::MAX).max(1);
        let every = (self.link.settings.claim_after / 3).min(LOOK);
        let mut next_look = Instant::now();
        let (mut has_read, mut has_looked) = (false, false);
        let mut read: Option<BoxFuture<'static, Result<Vec<Entry>, RedisError>>> = None;
        loop {
            self.acknowledge(&mut control.connection).await?;
            if end.is_cancelled() && self.is_idle() {
                return Ok(());
            }
            let room = self.room();
            // Entries of the previous process come first. A look at the same time as the first read
            // would also take the entries of that read for them.
            if read.is_none() && room > 0 && !self.fresh && !end.is_cancelled() {
                let (group, connection) = (self.group.clone(), reading.connection.clone());
                read = Some(async move { group.read(connection, room, block).await }.boxed());
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
                    entries?.into_iter().for_each(|entry| self.start(entry, 1));
                    has_read = true;
                }
                () = sleep_until(next_look) => {
                    self.look(&mut control.connection, end).await?;
                    has_looked = true;
                    let is_full = self.room() == 0;
                    next_look = Instant::now() + if self.fresh && !is_full { Duration::ZERO } else { every };
                }
                () = end.cancelled(), if !end.is_cancelled() => {}
            }
            if has_read && has_looked {
                // The server refuses nothing that the reader needs.
                retry.reset();
                self.link.health.accepted(&self.part);
            }
        }
    }

    fn start(&mut self, entry: Entry, deliveries: u64) {
        let Entry { id, payload } = entry;
        let Some(payload) = payload else {
            self.link.counts.oversized.inc();
            let most = self.group.most;
            self.give_up(&id, deliveries, &format!("the entry has more than limits.max.payload ({most} bytes)"));
            return self.too_large.push(id);
        };
        let bytes = payload.len() as u64;
        if self.in_flight.contains_key(&id) {
            return;
        }
        self.in_flight.insert(id.clone(), bytes);
        self.link.counts.received.inc();
        let subscriber = self.subscriber.clone();
        let message = Message { topic: self.topic.clone(), id: Some(id.as_str().into()), payload };
        // The futures are polled in this order, and the queue of each worker accepts them in the
        // order of their first poll. So no entry overtakes another.
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

    /// Reports an entry that stays pending, because its handler failed or it is too large.
    fn give_up(&mut self, id: &str, tries: u64, reason: &str) {
        self.link.counts.given_up.inc();
        let Some(failed) = self.failed.add(1, Instant::now().into_std()) else { return };
        let (subscription, reason) = (self.subscriber.label(), line(reason, MESSAGE));
        tracing::warn!(%subscription, stream = %self.topic, %id, tries, %reason, failed, "an entry failed and stays pending");
        self.link.events.raise(HostEvent::RedisMessageFailed {
            connection: self.link.name.clone(),
            subscription,
            stream: line(&self.topic, NAME),
            id: line(id, NAME),
            tries,
            reason,
            failed,
        });
    }

    /// Tells the group which entries have ended.
    async fn acknowledge(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if !self.too_large.is_empty() {
            self.group.count(connection, &self.too_large, self.link.settings.tries.into()).await?;
            self.too_large.clear();
        }
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
            self.group.keep(connection, self.in_flight.keys()).await?;
        }
        for _ in 0..MOST_PAGES {
            let page = self.group.pending(connection, self.cursor.as_deref()).await?;
            let is_last = page.len() < PAGE;
            for one in page {
                if self.room() == 0 || end.is_cancelled() {
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
        if !is_due || self.in_flight.contains_key(&id) || deliveries >= u64::from(self.link.settings.tries) {
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

/// The most entries in one answer, if an entry has at most this number of bytes.
fn most_read(entry: u64) -> u64 {
    (MOST_BYTES_READ / entry.max(1)).clamp(1, MOST_READ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_large_entries_has_fewer() {
        let mib = [0, 8, 9, 64, 65, 1_024].map(|mib| most_read(mib << 20));
        assert_eq!(mib, [16, 16, 14, 2, 1, 1]);
    }
}
