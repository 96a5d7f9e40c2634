//! Reads the durable broadcasts of one module, in the order of the stream.
//!
//! The consumer belongs to this node and module, and the stream delivers the next broadcast only
//! after the acknowledgment of the previous one, whatever is killed or cut between them. The server
//! delivers a broadcast again if it hears nothing for [`ACK_WAIT`]. This process runs it once,
//! because it knows the place up to which it has run all.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Batch, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::{AckKind, Acker};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::ids::Ids;
use super::message::{ID, Kept, Parked};
use super::state::Reading;
use crate::call::text::{MESSAGE, line};
use crate::cluster::Cluster;

/// How long the server waits for a sign of life about a broadcast before it delivers it again.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// How many broadcasts one request is for. The server sends one after another.
const REQUEST: usize = 256;

/// How long a request waits for broadcasts at the server.
pub(super) const EXPIRES: Duration = Duration::from_secs(5);

/// The pauses between attempts to use the consumer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often the host looks whether it can read.
const POLL: Duration = Duration::from_millis(20);

/// The broadcast that runs.
pub(super) struct Current {
    /// Its place and its id. `None` once the stream does not have it any more.
    pub(super) place: Option<(u64, String)>,
    acker: Acker,
    run: BoxFuture<'static, ()>,
}

pub(super) struct Reader {
    pub(super) cluster: Arc<Cluster>,
    pub(super) module: String,
    reading: Arc<Reading>,
    pub(super) current: Option<Current>,
    /// The place up to which all was run or passed over.
    pub(super) done: u64,
    /// The id of the broadcast there, if it has arrived.
    pub(super) done_id: Option<String>,
    /// Where the consumer begins if it has to be made anew.
    begins: Option<u64>,
    /// How many waited behind the last one that has arrived.
    pub(super) pending: u64,
    /// When the last one has ended.
    pub(super) ended: Option<Instant>,
    /// When this node asked last where the stream begins.
    pub(super) asked: Option<Instant>,
    pub(super) ids: Ids,
}

/// Forgets the state of a module when its task ends.
struct Registered {
    cluster: Arc<Cluster>,
    module: String,
    reading: Arc<Reading>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut modules = self.cluster.durable.modules.lock();
        if modules.get(&self.module).is_some_and(|reading| Arc::ptr_eq(reading, &self.reading)) {
            modules.remove(&self.module);
        }
    }
}

impl Cluster {
    /// Reads the durable broadcasts of a module, until the handle is dropped.
    pub(in crate::cluster) fn read_durable(self: &Arc<Self>, module: String) -> AbortOnDropHandle<()> {
        let reading = Arc::new(Reading::default());
        self.durable.modules.lock().insert(module.clone(), reading.clone());
        let registered = Registered { cluster: self.clone(), module: module.clone(), reading: reading.clone() };
        let reader = Reader {
            cluster: self.clone(),
            module,
            reading,
            current: None,
            done: 0,
            done_id: None,
            begins: None,
            pending: 0,
            ended: None,
            asked: None,
            ids: Ids::default(),
        };
        AbortOnDropHandle::new(tokio::spawn(async move {
            let _registered = registered;
            reader.read().await;
        }))
    }
}

impl Reader {
    async fn read(mut self) {
        let mut pause = PAUSES.0;
        let mut warned = None;
        loop {
            while !self.cluster.link.is_up() || !self.cluster.joined.load(Acquire) {
                sleep(POLL).await;
            }
            let Err(reason) = self.connection(&mut pause).await else { return };
            // While the connection is away, its own events say so.
            if self.cluster.link.is_up() {
                let reason = line(&reason, MESSAGE);
                self.reading.change(|progress| progress.reason = Some(reason.clone()));
                if warned.as_ref() != Some(&reason) {
                    tracing::warn!(module = %self.module, %reason, "the durable broadcasts of a module are not read; the host tries again");
                    warned = Some(reason);
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Reads over the present connection. The error says why it cannot. Ends when the host stops.
    async fn connection(&mut self, pause: &mut Duration) -> Result<(), String> {
        let cluster = self.cluster.clone();
        let lost = cluster.link.lost();
        let left = cluster.stop_serving.lock().clone();
        let context = cluster.open_streams().await?;
        let consumer = self.consumer(&context).await?;
        let consumer = self.check_away(&context, consumer).await?;
        self.reading.change(|progress| {
            progress.is_ready = true;
            if self.current.is_none() {
                progress.reason = None;
            }
        });
        let mut working = interval(ACK_WAIT / 3);
        working.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch: Option<(Batch, Instant, bool)> = None;
        loop {
            let is_over = cluster.durable.leaving.is_cancelled();
            if is_over {
                // The server asks nobody who has asked and listens no more.
                batch = None;
                if self.current.is_none() {
                    return Ok(());
                }
            } else if batch.is_none() {
                let request = consumer.batch().max_messages(REQUEST).expires(EXPIRES);
                let messages = request.messages().await.map_err(|error| error.to_string())?;
                batch = Some((messages, Instant::now(), false));
            }
            let next = async {
                match batch.as_mut() {
                    Some((messages, ..)) => messages.next().await,
                    None => pending().await,
                }
            };
            let run = async {
                match self.current.as_mut() {
                    Some(current) => current.run.as_mut().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = run => self.ended().await,
                message = next => match message {
                    Some(Ok(message)) => {
                        *pause = PAUSES.0;
                        batch.iter_mut().for_each(|(.., got)| *got = true);
                        self.begin(&context, message).await;
                    }
                    Some(Err(error)) => return Err(error.to_string()),
                    None => {
                        let request = batch.take();
                        if request.is_some_and(|(_, since, got)| !got && since.elapsed() < EXPIRES / 2) {
                            return Err("the consumer answers nothing".to_owned());
                        }
                        *pause = PAUSES.0;
                    }
                },
                _ = working.tick() => {
                    if let Some(current) = self.current.as_ref().filter(|current| current.place.is_some()) {
                        answer(&current.acker, AckKind::Progress).await;
                    }
                }
                () = cluster.durable.leaving.cancelled(), if !is_over => {}
                () = lost.cancelled() => return Err("the connection to NATS was lost".to_owned()),
                () = left.cancelled() => {
                    if cluster.end.is_cancelled() {
                        return Ok(());
                    }
                    return Err("another node has the id of this node".to_owned());
                }
            }
        }
    }

    /// The settings of the consumer of this node.
    fn config(&self, deliver_policy: DeliverPolicy) -> Config {
        let (durable, node) = (&self.cluster.durable, self.cluster.id());
        Config {
            durable_name: Some(durable.names.consumer(&node, &self.module)),
            description: Some(format!("Durable broadcasts of {} on node {node}", self.module)),
            deliver_policy,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: 1,
            filter_subject: durable.names.of_module(&self.module),
            // A node that is away for longer has nothing left to read.
            inactive_threshold: durable.config.max_age,
            ..Config::default()
        }
    }

    /// Makes the consumer anew, which begins at a place then.
    pub(super) async fn replace(
        &mut self,
        context: &Context,
        consumer: Consumer<Config>,
        begins: u64,
    ) -> Result<Consumer<Config>, String> {
        // Also if the answer to the next request is lost.
        self.begins = Some(begins);
        let name = &consumer.cached_info().name;
        if let Err(error) = context.delete_consumer_from_stream(name, self.cluster.durable.names.broadcasts()).await {
            let error = line(&error.to_string(), MESSAGE);
            tracing::warn!(module = %self.module, %error, "the consumer {name} is ahead of its stream and was not made anew: this node may not run what is emitted next");
            return Ok(consumer);
        }
        self.consumer(context).await
    }

    /// The consumer of this node, which begins with what is emitted from now on if it is new.
    async fn consumer(&mut self, context: &Context) -> Result<Consumer<Config>, String> {
        let durable = &self.cluster.durable;
        let stream = durable.names.broadcasts();
        let name = durable.names.consumer(&self.cluster.id(), &self.module);
        let begins = self.begins.map(|start_sequence| DeliverPolicy::ByStartSequence { start_sequence });
        let config = self.config(begins.unwrap_or(DeliverPolicy::New));
        match context.get_consumer_from_stream::<Config, _, _>(&name, &stream).await {
            Ok(consumer) => {
                let present = &consumer.cached_info().config;
                let config = Config { deliver_policy: present.deliver_policy, ..config };
                if present.inactive_threshold != config.inactive_threshold
                    && let Err(error) = context.create_consumer_on_stream(config, &stream).await
                {
                    tracing::debug!(%error, name, "the settings of a consumer were not changed");
                }
                Ok(consumer)
            }
            Err(error) if has_code(&error, ErrorCode::CONSUMER_NOT_FOUND) => {
                let made = context.create_consumer_on_stream(config, &stream).await;
                let made = made.map_err(|error| format!("the consumer {name} cannot be made: {error}"))?;
                if self.begins.take().is_none() {
                    tracing::info!(module = %self.module, "this node runs the durable broadcasts that are emitted from now on");
                    // The numbers of another stream, if it was made anew.
                    (self.done, self.done_id, self.pending, self.ids) = (0, None, 0, Ids::default());
                }
                Ok(made)
            }
            Err(error) => {
                self.cluster.forget_streams().await;
                Err(format!("the consumer {name} of the stream {stream}: {error}"))
            }
        }
    }

    async fn begin(&mut self, context: &Context, message: jetstream::Message) {
        // JetStream says both in each message.
        let Ok((position, pending)) = message.info().map(|info| (info.stream_sequence, info.pending)) else { return };
        let (message, acker) = message.split();
        let headers = message.headers.unwrap_or_default();
        let id = headers.get(ID).map(|id| id.as_str().to_owned()).unwrap_or_default();
        if let Some(current) = &mut self.current {
            match &current.place {
                // The server wants the newest acknowledgment.
                Some((place, present)) if *place == position && *present == id => current.acker = acker,
                // The stream has lost the present one. This one arrives again afterwards.
                Some((place, _)) if *place == position => current.place = None,
                Some(_) | None => {}
            }
            return;
        }
        self.check_behind(context, position).await;
        self.pending = pending;
        let has_place_of_last = position == self.done && self.done_id.as_ref().is_some_and(|done| *done != id);
        if position <= self.done && !has_place_of_last || !self.ids.is_new(&id) {
            self.cluster.durable.counts.duplicates.inc();
            self.pass(position, id);
            return answer(&acker, AckKind::Ack).await;
        }
        let cluster = self.cluster.clone();
        let run: BoxFuture<'static, ()> = match Kept::read(&headers, &message.payload) {
            Ok(kept) => {
                if kept.only.as_ref().is_some_and(|only| only.node != cluster.id()) {
                    self.pass(position, id);
                    return answer(&acker, AckKind::Ack).await;
                }
                Box::pin(cluster.run_durable(kept, position, self.reading.clone()))
            }
            Err(reason) => {
                let parked = Parked {
                    module: self.module.clone(),
                    broadcast: message.subject.rsplit('.').next().unwrap_or_default().to_owned(),
                    node: cluster.id(),
                    workers: Vec::new(),
                    position,
                    tries: 0,
                    reason: format!("it cannot be read: {reason}"),
                };
                let (reading, payload) = (self.reading.clone(), message.payload);
                Box::pin(async move { cluster.park(Ok((headers, payload)), parked, &reading).await })
            }
        };
        self.reading.change(|progress| (progress.running, progress.pending) = (Some(position), pending));
        self.current = Some(Current { place: Some((position, id)), acker, run });
    }

    /// The broadcast at a place needs nothing further.
    fn pass(&mut self, position: u64, id: String) {
        if position >= self.done {
            (self.done, self.done_id) = (position, Some(id));
        }
    }

    /// All workers have run the present one.
    async fn ended(&mut self) {
        let Some(Current { place, acker, .. }) = self.current.take() else { return };
        self.ended = Some(Instant::now());
        self.cluster.durable.counts.run.inc();
        self.reading.change(|progress| progress.running = None);
        let Some((position, id)) = place else { return };
        self.pass(position, id);
        self.reading.change(|progress| progress.position = position);
        answer(&acker, AckKind::Ack).await;
    }
}

async fn answer(acker: &Acker, kind: AckKind) {
    if let Err(error) = acker.ack_with(kind).await {
        // The server delivers the broadcast again.
        tracing::debug!(%error, "an acknowledgment was not sent");
    }
}

/// Whether the server has refused something with this code.
fn has_code(error: &ConsumerError, code: ErrorCode) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(error) if error.error_code() == code)
}
