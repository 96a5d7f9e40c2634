//! Joining the cluster: the connection, the check that no other node has this id, heartbeats, and
//! what the heartbeats of others change.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::time::{Duration, Instant};

use async_nats::{Message, RequestErrorKind};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

use super::known::fits;
use super::presence::{Heartbeat, Phase, Step};
use super::{Cluster, heartbeat, subjects};
use crate::api::NodeInfo;
use crate::call::VERSION;
use crate::call::text::{NAME, line};
use crate::config::MAX_SERVERS;
use crate::events::HostEvent;

/// What a question for facts says if the node that asks meets the other one.
pub(super) const MEETS: &[u8] = b"meets";

/// The largest heartbeat that is read.
const MAX_HEARTBEAT: usize = 4_096;

/// Why a node cannot join its cluster.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The node's id is in use.
    #[error(
        "the node id {node} is in use: by process {pid} on {host}, which has been up since {since} (milliseconds since \
         1970): set node.id or FANFARE_NODE_ID"
    )]
    IdInUse {
        /// The id.
        node: String,
        /// The process that uses it.
        pid: u32,
        /// The machine of that process.
        host: String,
        /// When it started, in milliseconds since 1970-01-01 UTC.
        since: u64,
    },
    /// A secret or a file of the connection cannot be used.
    #[error("cannot connect to the NATS servers of `cluster`: {0}")]
    Settings(String),
}

impl Cluster {
    /// Connects, and checks that no other node has this id. Waits for NATS for at most
    /// `cluster.timeout`; without NATS the node starts alone and joins later.
    pub async fn open(self: &Arc<Self>, links: &Handle) -> Result<(), JoinError> {
        // The host calls this once.
        _ = self.links.set(links.clone());
        let cluster = self.clone();
        let opened = links.spawn(async move { cluster.opened().await });
        opened.await.unwrap_or_else(|error| Err(JoinError::Settings(error.to_string())))
    }

    async fn opened(self: Arc<Self>) -> Result<(), JoinError> {
        let (name, boot) = {
            let info = self.info.lock();
            (format!("fanfare {}", info.id), info.boot.clone())
        };
        self.link.open(&self.config, &name, self.subjects.inbox()).await.map_err(JoinError::Settings)?;
        let (link, queue) = (self.link.clone(), self.queue.lock().take());
        if let Some(queue) = queue {
            let end = self.end.clone();
            tokio::spawn(async move { end.run_until_cancelled(link.send_queued(queue)).await });
        }
        self.receive_answers(&boot).await?;
        let connected = async {
            while !self.link.is_up() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(self.config.timeout, connected).await.is_err() {
            let reason = self.link.state().1.unwrap_or_else(|| "no server answers".to_owned());
            tracing::warn!(%reason, "the node starts without its cluster, and joins it later");
            return Ok(());
        }
        match self.holder_of_id().await {
            None => Ok(()),
            Some(NodeInfo { id: node, pid, host, since, .. }) => Err(JoinError::IdInUse { node, pid, host, since }),
        }
    }

    /// Hands the answers of other nodes to the calls that wait.
    async fn receive_answers(&self, boot: &str) -> Result<(), JoinError> {
        let Some(client) = self.link.client() else { return Ok(()) };
        let subscribed = client.subscribe(self.subjects.answers(boot)).await;
        let mut answers = subscribed.map_err(|error| JoinError::Settings(error.to_string()))?;
        let (cluster, waiting, end) = (self.me.clone(), self.waiting.clone(), self.end.clone());
        tokio::spawn(async move {
            let receive = async {
                while let Some(message) = answers.next().await {
                    let Some(token) = subjects::token_of(&message.subject) else { continue };
                    let late = waiting.answered(token, message).and_then(|message| message.reply);
                    if let Some((reply, cluster)) = late.zip(cluster.upgrade()) {
                        cluster.refuse_act(reply.to_string());
                    }
                }
            };
            end.run_until_cancelled(receive).await
        });
        Ok(())
    }

    /// The other process that has this node's id.
    async fn holder_of_id(&self) -> Option<NodeInfo> {
        let (node, boot) = {
            let info = self.info.lock();
            (info.id.clone(), info.boot.clone())
        };
        self.ask(&node, b"").await.filter(|holder| holder.boot != boot)
    }

    /// Asks a node for its facts.
    pub(super) async fn ask(&self, node: &str, question: &'static [u8]) -> Option<NodeInfo> {
        let client = self.link.up_client()?;
        match client.request(self.subjects.info(node), Bytes::from_static(question)).await {
            Ok(answer) => {
                let info = serde_json::from_slice(&answer.payload).ok().filter(fits);
                if info.is_none() {
                    self.link.counts.malformed.inc();
                    tracing::debug!(node, "the facts that a node tells cannot be read, or are too large");
                }
                info
            }
            Err(error) => {
                if error.kind() != RequestErrorKind::NoResponders {
                    tracing::debug!(%error, node, "a node does not say who it is");
                }
                None
            }
        }
    }

    /// Sends heartbeats, reads those of others, and serves their calls, until the host ends.
    pub(super) async fn take_part(self: Arc<Self>) {
        self.fence.begin();
        tokio::join!(
            self.clone().beats(),
            self.clone().hear(),
            self.clone().follow_modules(),
            self.clone().send_durable(),
            self.look_after_copies(),
            self.clone().listen_to_topics()
        );
    }

    /// Joins whenever there is a connection, and sends heartbeats.
    async fn beats(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.config.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweeps = tokio::time::interval((self.config.heartbeat / 4).max(Duration::from_millis(5)));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checked: Option<Instant> = None;
        let mut was_up = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.beat.notified() => {}
                _ = sweeps.tick() => {
                    let steps = self.presence.lock().sweep(Instant::now());
                    self.take(steps);
                    let up = self.link.is_up();
                    let takes_part = up && self.joined.load(Acquire);
                    self.here_since.lock().take_if(|_| !takes_part);
                    if takes_part {
                        self.here_since.lock().get_or_insert_with(Instant::now);
                    }
                    let changed = std::mem::replace(&mut was_up, up) != up;
                    // A node that this one seemed to have left may have rolled back meanwhile, even
                    // if this node has noticed nothing.
                    let met = up && self.met.swap(false, AcqRel);
                    if let Some(reloads) = self.node.reloads().filter(|_| up && changed || met) {
                        reloads.catch_up();
                    }
                    if !changed {
                        continue;
                    }
                    self.greet();
                }
            }
            if !self.joined.load(Acquire) && self.link.is_up() {
                let due = checked.is_none_or(|at| at.elapsed() >= self.config.gone_after);
                if !due {
                    continue;
                }
                checked = Some(Instant::now());
                self.join().await;
            }
            self.send_heartbeat().await;
        }
    }

    /// Asks all nodes for a heartbeat with the next one of this node.
    fn greet(&self) {
        let mut phase = self.phase.lock();
        if *phase == Phase::Here {
            *phase = Phase::New;
        }
    }

    async fn join(self: &Arc<Self>) {
        if let Some(holder) = self.holder_of_id().await {
            if !self.conflict.swap(true, AcqRel) {
                tracing::error!(node = %holder.id, pid = holder.pid, host = %holder.host, "another node has this node's id, so this node does not take part in the cluster: set node.id");
            }
            return;
        }
        if let Err(error) = self.serve_calls().await {
            tracing::warn!(%error, "the node cannot take part in the cluster; it tries again");
            return;
        }
        self.conflict.store(false, Release);
        self.joined.store(true, Release);
        let cluster = self.clone();
        tokio::spawn(async move {
            // What the others answer to the first heartbeat.
            tokio::time::sleep(cluster.config.heartbeat).await;
            let nodes = u32::try_from(cluster.view.load().nodes.len() + 1).unwrap_or(u32::MAX);
            cluster.events.raise(HostEvent::ClusterReady { nodes });
        });
    }

    pub(super) async fn send_heartbeat(&self) {
        if !self.joined.load(Acquire) {
            return;
        }
        let Some(client) = self.link.client().filter(|_| self.link.is_connected()) else { return };
        let beat = {
            let mut phase = self.phase.lock();
            let asks = self.asks.swap(false, AcqRel);
            let beat = Heartbeat { asks, sent: self.fence.now(), ..heartbeat(&self.info.lock(), *phase) };
            if *phase == Phase::New {
                *phase = Phase::Here;
            }
            beat
        };
        let Ok(bytes) = serde_json::to_vec(&beat) else { return };
        if let Err(error) = client.publish(self.subjects.nodes(), bytes.into()).await {
            tracing::debug!(%error, "a heartbeat was not sent");
        }
    }

    /// Reads the heartbeats of all nodes.
    async fn hear(self: Arc<Self>) {
        let Some(client) = self.link.client() else { return };
        let mut beats = match client.subscribe(self.subjects.nodes()).await {
            Ok(beats) => beats,
            Err(error) => return tracing::error!(%error, "cannot hear other nodes"),
        };
        let take = |message: Message| self.on_heartbeat(&message.payload);
        self.beats.read(&mut beats, take).await;
    }

    fn on_heartbeat(self: &Arc<Self>, payload: &[u8]) {
        let read = (payload.len() <= MAX_HEARTBEAT).then(|| serde_json::from_slice::<Heartbeat>(payload).ok());
        let Some(beat) = read.flatten() else {
            self.link.counts.malformed.inc();
            return;
        };
        let steps = self.presence.lock().heard(beat, Instant::now());
        self.take(steps);
    }

    /// Does what a change of the nodes asks for.
    fn take(self: &Arc<Self>, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Meet(node) => {
                    self.repeat_last();
                    self.learn_of(node, MEETS);
                }
                Step::Ask(node) => self.learn_of(node, b""),
                Step::Greet => self.beat.notify_one(),
                Step::TellNumbers => self.repeat_last(),
                Step::Heard { sent } => {
                    self.link.set_silent(false);
                    self.on_own_heartbeat(sent);
                }
                Step::Silent => self.link.set_silent(true),
                Step::Conflict { keeps } => self.on_conflict(keeps),
                Step::Incompatible { node, version } => {
                    let node = line(&node, NAME);
                    tracing::error!(%node, version, own = VERSION, "a node has another version of the protocol between nodes: the two do not reach each other until both have the same one");
                }
                Step::Full(node) => {
                    let node = line(&node, NAME);
                    tracing::error!(%node, most = MAX_SERVERS, "the cluster has too many nodes: this node does not know the further ones");
                }
                // Before the event, so that a reader of the event finds the node.
                Step::Up(info) => {
                    self.publish_view(&self.presence.lock());
                    let NodeInfo { id: node, server, workers, .. } = (*info).clone();
                    tracing::info!(%node, %server, "a node is up");
                    self.events.raise(HostEvent::NodeUp { node, server, workers });
                    continue;
                }
                Step::Down { node, server, reason } => {
                    self.publish_view(&self.presence.lock());
                    tracing::warn!(%node, %server, %reason, "a node is down");
                    self.events.raise(HostEvent::NodeDown { node, server, reason });
                    continue;
                }
                Step::Changed => self.publish_view(&self.presence.lock()),
            }
        }
    }

    fn learn_of(self: &Arc<Self>, node: String, question: &'static [u8]) {
        let cluster = self.clone();
        tokio::spawn(async move {
            if let Some(info) = cluster.ask(&node, question).await {
                let steps = cluster.presence.lock().learned(info);
                cluster.take(steps);
            }
        });
    }

    /// Another process has sent heartbeats with this node's id.
    fn on_conflict(&self, keeps: bool) {
        if keeps {
            // The other one leaves when it hears of this node.
            self.beat.notify_one();
            return;
        }
        if self.joined.swap(false, AcqRel) {
            self.conflict.store(true, Release);
            self.stop_serving();
            tracing::error!("another node has taken this node's id, so this node has left the cluster: set node.id");
        }
    }

    /// The facts about this node, for the nodes that ask.
    pub(super) fn facts(&self) -> Bytes {
        serde_json::to_vec(&*self.info.lock()).unwrap_or_default().into()
    }
}
