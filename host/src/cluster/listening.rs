//! Receives what other nodes tell about topics: the subscriptions to the buckets that this node
//! follows, in one task for each kind.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Message;
use bytes::Bytes;
use futures_util::stream::{BoxStream, SelectAll, select_all};
use futures_util::{FutureExt, StreamExt};
use tokio::task::coop::unconstrained;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::Cluster;
use super::order::Seen;
use super::posts::{self, ALL, Stamp, Told};
use super::topics::PAUSE;
use crate::call::TopicKind;
use crate::ports::TopicReceiver;

/// The messages that are taken before other tasks of the thread run.
const TURN: usize = 64;

/// A message, and the place where it has arrived.
type Arrived = (usize, Message);

/// The task of one kind.
struct Listener {
    cluster: Arc<Cluster>,
    kind: TopicKind,
    receiver: Arc<dyn TopicReceiver>,
    subscriptions: SelectAll<BoxStream<'static, Arrived>>,
    ends: HashMap<usize, CancellationToken>,
    /// The number of the last subscription.
    number: u64,
    seen: Seen,
    /// What waits for a message about all topics.
    held: Vec<(usize, Stamp, Message)>,
    /// When readers were told last that they may have missed something.
    told: Option<Instant>,
    /// Whether the connection was there when it was looked at last, and how often it was lost.
    was_up: bool,
    downs: u64,
    /// When the host has started, until it is connected.
    started: Option<Instant>,
}

impl Cluster {
    /// Receives what other nodes tell about topics, until the host ends.
    pub(super) async fn listen_to_topics(self: Arc<Self>) {
        let Some((receiver, _)) = self.topics.get() else { return };
        let listeners = TopicKind::ALL.map(|kind| Listener {
            cluster: self.clone(),
            kind,
            receiver: receiver.clone(),
            subscriptions: select_all([]),
            ends: HashMap::new(),
            number: 0,
            seen: Seen::default(),
            held: Vec::new(),
            told: None,
            was_up: false,
            downs: 0,
            started: Some(Instant::now()),
        });
        let tasks = listeners.map(|listener| tokio::spawn(self.end.clone().run_until_cancelled_owned(listener.run())));
        futures_util::future::join_all(tasks).await;
    }
}

impl Cluster {
    /// Resolves when NATS has done what this node has asked of it so far, with false if the
    /// connection is lost before. What a node sends to itself has made the whole way.
    async fn is_in_step(&self) -> bool {
        let Some(client) = self.link.client() else { return false };
        let mut answers = self.waiting.begin_beside();
        let lost = self.link.lost();
        let subject = self.subjects.answer(&self.boot(), answers.token);
        let arrives = async { client.publish(subject, Bytes::new()).await.is_ok() && answers.next().await.is_some() };
        tokio::select! {
            biased;
            arrives = arrives => arrives,
            () = lost.cancelled() => false,
        }
    }
}

impl Listener {
    async fn run(mut self) {
        let cluster = self.cluster.clone();
        let mut troubles = cluster.link.troubles();
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.subscribe().await;
            self.look_at_connection();
            let until = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                biased;
                () = cluster.following(self.kind).changed.notified() => {}
                changed = troubles.changed() => if changed.is_err() { return },
                _ = ticks.tick() => {
                    cluster.tell_last(self.kind, true);
                    self.tell_readers();
                }
                () = sleep_until(until.into()) => {}
                Some(first) = self.subscriptions.next(), if !self.subscriptions.is_empty() => self.turn(first),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Begins and ends subscriptions. Returns when to do so again.
    async fn subscribe(&mut self) -> Option<Instant> {
        let cluster = self.cluster.clone();
        let steps = cluster.following(self.kind).steps(Instant::now(), &mut self.number);
        for place in &steps.end {
            if let Some(end) = self.ends.remove(place) {
                end.cancel();
            }
        }
        let Some(client) = cluster.link.client().filter(|_| !steps.begin.is_empty()) else { return steps.next };
        for (place, _) in &steps.begin {
            let (place, end) = (*place, CancellationToken::new());
            self.seen.forget(place);
            match client.subscribe(cluster.subjects.topics(self.kind, place)).await {
                Ok(subscriber) => {
                    let messages = subscriber.map(move |message| (place, message));
                    self.subscriptions.push(messages.take_until(end.clone().cancelled_owned()).boxed());
                    self.ends.insert(place, end);
                }
                Err(error) => tracing::error!(%error, kind = self.kind.as_str(), "cannot follow topics of other nodes"),
            }
        }
        self.confirm(steps.begin);
        steps.next
    }

    /// Waits until NATS has the subscriptions, and tells everybody who waits for that.
    fn confirm(&self, subscriptions: Vec<(usize, u64)>) {
        if subscriptions.is_empty() || !self.cluster.link.is_up() {
            return;
        }
        let (cluster, kind, receiver) = (self.cluster.clone(), self.kind, self.receiver.clone());
        tokio::spawn(async move {
            if cluster.is_in_step().await {
                cluster.following(kind).confirm(&subscriptions, receiver.skip(kind));
                cluster.following(kind).changed.notify_one();
                cluster.ask_for_numbers();
            }
        });
    }

    /// After an interruption, NATS gets the subscriptions again, and readers and other nodes learn
    /// of it.
    fn look_at_connection(&mut self) {
        let cluster = self.cluster.clone();
        let (is_up, downs) = (cluster.link.is_up(), cluster.link.counts.downs.get());
        let started_alone = self.started.take_if(|_| is_up).is_some_and(|at| at.elapsed() > cluster.config.timeout);
        let was_lost = downs != std::mem::replace(&mut self.downs, downs) || started_alone;
        if was_lost {
            cluster.posting(self.kind).owe();
            if cluster.following(self.kind).lost() {
                cluster.owes_readers(self.kind);
            }
        }
        let was_up = std::mem::replace(&mut self.was_up, is_up);
        if is_up && (was_lost || !was_up) {
            self.confirm(cluster.following(self.kind).subscriptions());
            cluster.tell_last(self.kind, false);
        }
        if cluster.following(self.kind).is_confirmed() {
            self.tell_readers();
        }
    }

    /// Tells readers that they may have missed something, if so, but not too often.
    fn tell_readers(&mut self) {
        let is_due = self.told.is_none_or(|at| at.elapsed() >= PAUSE);
        if is_due && self.cluster.following(self.kind).is_confirmed() && self.cluster.takes_debt(self.kind) {
            self.told = Some(Instant::now());
            self.cluster.link.counts.posts_gaps.inc();
            self.receiver.missed(self.kind);
        }
    }

    /// Takes what has arrived, in the order of its senders.
    fn turn(&mut self, first: Arrived) {
        let mut next = Some(first);
        for _ in 0..TURN {
            let Some((place, message)) = next else { break };
            self.arrived(place, message);
            next = self.ready();
        }
        if let Some((place, message)) = next {
            self.arrived(place, message);
        }
    }

    /// The next message that has arrived already. tokio's budget must not hide one.
    fn ready(&mut self) -> Option<Arrived> {
        unconstrained(self.subscriptions.next()).now_or_never().flatten()
    }

    fn arrived(&mut self, place: usize, message: Message) {
        let Some((stamp, _)) = posts::read_stamp(&message.payload) else {
            self.cluster.link.counts.malformed.inc();
            return;
        };
        if stamp.boot == self.cluster.boot_number {
            return;
        }
        let is_late = place != ALL && self.seen.waits(stamp);
        if place != ALL && !is_late {
            return self.take(place, stamp, &message);
        }
        // Everything that was sent before a message about all topics has arrived already, and so
        // has the message about all topics that a late message waits for.
        let mut all = Vec::new();
        match is_late {
            true => self.held.push((place, stamp, message)),
            false => all.push((stamp, message)),
        }
        while let Some((place, message)) = self.ready() {
            match posts::read_stamp(&message.payload) {
                Some((stamp, _)) if stamp.boot == self.cluster.boot_number => {}
                Some((stamp, _)) if place == ALL => all.push((stamp, message)),
                Some((stamp, _)) => self.held.push((place, stamp, message)),
                None => _ = self.cluster.link.counts.malformed.inc(),
            }
        }
        for (stamp, message) in all {
            let precedes = |held: Stamp| held.boot != stamp.boot || held.after < stamp.number;
            self.take_held(|seen, held| precedes(held) && !seen.waits(held));
            self.take(ALL, stamp, &message);
        }
        // What still waits has lost the message that it waits for.
        self.take_held(|_, _| true);
    }

    /// Takes those that are held and may go, in their order.
    fn take_held(&mut self, may_go: impl Fn(&mut Seen, Stamp) -> bool) {
        for (place, stamp, message) in std::mem::take(&mut self.held) {
            match may_go(&mut self.seen, stamp) {
                true => self.take(place, stamp, &message),
                false => self.held.push((place, stamp, message)),
            }
        }
    }

    fn take(&mut self, place: usize, stamp: Stamp, message: &Message) {
        let told = posts::read_stamp(&message.payload).map(|(_, rest)| posts::read(rest));
        let missed = match told {
            Some(Ok((from, Told::Post(post)))) => {
                let missed = self.seen.take(place, stamp);
                self.cluster.link.counts.posts_received.inc();
                self.receiver.receive(&from, post);
                missed
            }
            Some(Ok((_, Told::Last { last, is_routine }))) => {
                // Without a loss, what arrives before NATS has a subscription says nothing.
                let places: HashSet<usize> = match is_routine {
                    true => self.cluster.following(self.kind).confirmed().into_iter().collect(),
                    false => self.ends.keys().copied().collect(),
                };
                self.seen.last(stamp.boot, &last, is_routine, |place| places.contains(&place))
            }
            Some(Err(error)) => {
                self.cluster.link.counts.malformed.inc();
                tracing::warn!(%error, kind = self.kind.as_str(), "a message of another node about a topic cannot be read");
                self.seen.take(place, stamp).saturating_add(1)
            }
            None => 0,
        };
        if missed > 0 {
            self.cluster.link.counts.posts_missed.inc_by(missed);
            self.cluster.owes_readers(self.kind);
            self.tell_readers();
        }
    }
}
