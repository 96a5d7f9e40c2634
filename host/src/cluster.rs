//! The cluster: other nodes, which this node reaches through NATS. For dispatch it is the port
//! [`Peers`].
//!
//! Core NATS carries heartbeats, calls, answers and broadcasts, on subjects of the cluster
//! (`subjects.rs`). JetStream has what outlives a node: who changes a module, and which due times
//! of schedules were claimed (`bucket.rs`). All tasks run on the thread `links`. What this node
//! does alone passes none of this, so that it continues without NATS.

mod agree;
mod asking;
mod broker;
mod bucket;
mod calls;
mod census;
mod census_request;
mod copies;
mod counted;
mod counts;
mod declared;
mod durable;
mod fence;
mod follow;
mod following;
mod former;
mod forward;
mod gathering;
mod histories;
mod homes;
mod jetstream;
mod join;
mod known;
mod link;
mod listening;
mod login;
mod modules;
mod operate;
mod order;
mod posting;
mod posts;
mod presence;
mod progress;
mod pushes;
mod rollouts;
mod serve;
mod session_request;
mod sessions;
mod settle;
mod status;
mod stored;
mod subjects;
mod ticks;
mod topics;
mod waiting;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use counts::{PeerSnapshot, Snapshot};
pub use join::JoinError;
pub use sessions::ClusterSessions;
pub use status::{alone, own_node};

use crate::api::NodeInfo;
use crate::call::{TopicKind, VERSION};
use crate::config::{ClusterConfig, NatsSecrets, ServerConfig};
use crate::dispatch::Dispatch;
use crate::events::EventLog;
use crate::isolate::NodeFacts;
use crate::ports::{CensusReceiver, HomeChannels, KnownNode, Reloads, Sessions, TopicReceiver};
use crate::registry::Roster;
use bucket::Bucket;
use durable::Durable;
use fence::Fence;
use following::AllFollowing;
use former::Former;
use link::{Link, Outgoing};
use posting::AllPosting;
use presence::{Heartbeat, Phase, Presence, View};
use progress::{Reading, Sending};
use subjects::Subjects;
use waiting::Waiting;

/// How long the end of the host waits until NATS has what this node has sent.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// How often a node that stops looks whether it has done all that it has to do.
const POLL: Duration = Duration::from_millis(5);

/// The part of a node that connects it to the others.
pub struct Cluster {
    me: Weak<Cluster>,
    config: ClusterConfig,
    subjects: Subjects,
    link: Arc<Link>,
    /// Emptied by [`Cluster::open`].
    queue: Mutex<Option<mpsc::Receiver<Outgoing>>>,
    /// The facts about this node.
    info: Mutex<NodeInfo>,
    /// The same, for guests.
    own: Arc<KnownNode>,
    presence: Mutex<Presence>,
    fence: Fence,
    /// What `presence` says, for readers.
    view: ArcSwap<View>,
    /// Changes with each change of `view`, and when this node begins to leave.
    changes: watch::Sender<u64>,
    waiting: Arc<Waiting>,
    bucket: Bucket,
    durable: Durable,
    histories: jetstream::Opened,
    /// The runtime of the connection. Set by [`Cluster::open`].
    links: OnceLock<Handle>,
    /// What reads heartbeats, and calls of other nodes.
    beats: Reading,
    calls: Reading,
    sending: Sending,
    /// The calls of other nodes that run.
    serving: AtomicU32,
    /// The number of the last broadcast of each module.
    numbers: Mutex<HashMap<String, u64>>,
    /// What this node has told about topics, and what it follows.
    posting: AllPosting,
    following: AllFollowing,
    topics: OnceLock<(Arc<dyn TopicReceiver>, Linger)>,
    /// This start of the host.
    boot_number: u64,
    phase: Mutex<Phase>,
    /// Whether this node has its id for itself, and takes part.
    joined: AtomicBool,
    /// Since when this node takes part without an interruption.
    here_since: Mutex<Option<Instant>>,
    /// The runs of schedules on this node that may not overlap, by key and due time.
    runs: Mutex<HashSet<(String, u64)>>,
    /// Whether another node has the id.
    conflict: AtomicBool,
    /// Wakes the task that sends heartbeats.
    beat: Notify,
    /// Whether the next one asks others for the last numbers of messages about topics.
    asks: AtomicBool,
    /// Whether another node has met this one, and so may have missed it until now.
    met: AtomicBool,
    events: Arc<EventLog>,
    node: Node,
    /// Cancelled when the operator asks this node to stop.
    asked_to_stop: OnceLock<CancellationToken>,
    /// Ends the receiving of calls.
    stop_serving: Mutex<CancellationToken>,
    end: CancellationToken,
}

/// How long a topic of a kind is followed after its last reader.
pub type Linger = Box<dyn Fn(TopicKind) -> Duration + Send + Sync>;

/// The parts of the node that calls of other nodes reach.
#[derive(Default)]
struct Node {
    dispatch: OnceLock<Weak<Dispatch>>,
    roster: OnceLock<Weak<Roster>>,
    reloads: OnceLock<Weak<dyn Reloads>>,
    sessions: OnceLock<Weak<dyn Sessions>>,
    census: OnceLock<Weak<dyn CensusReceiver>>,
    channels: OnceLock<Arc<dyn HomeChannels>>,
}

impl Node {
    fn dispatch(&self) -> Option<Arc<Dispatch>> {
        self.dispatch.get().and_then(Weak::upgrade)
    }

    fn roster(&self) -> Option<Arc<Roster>> {
        self.roster.get().and_then(Weak::upgrade)
    }

    fn sessions(&self) -> Option<Arc<dyn Sessions>> {
        self.sessions.get().and_then(Weak::upgrade)
    }

    fn reloads(&self) -> Option<Arc<dyn Reloads>> {
        self.reloads.get().and_then(Weak::upgrade)
    }
}

impl Cluster {
    /// `None` if the settings name no cluster. `servers` are those of `cluster.servers`, and `root`
    /// is the folder of the settings.
    pub fn new(
        config: &ClusterConfig,
        servers: &[ServerConfig],
        root: &Path,
        variables: &BTreeMap<String, String>,
        facts: &NodeFacts,
        events: Arc<EventLog>,
    ) -> Option<Arc<Cluster>> {
        config.nats.as_ref()?;
        let secrets: NatsSecrets = config.secrets(root, variables);
        let (link, queue) = Link::new(config, secrets, events.clone());
        let link = Arc::new(link);
        let info = NodeInfo { boot: boot(), revision: 1, ..info(facts) };
        let (own, boot_number) = (heartbeat(&info, Phase::New), posts::boot_number(&info.boot));
        Some(Arc::new_cyclic(|me| Cluster {
            me: me.clone(),
            config: config.clone(),
            subjects: Subjects::new(&config.name),
            bucket: Bucket::new(&config.name, link.clone()),
            durable: Durable::new(&config.name, config.durable),
            histories: jetstream::Opened::default(),
            link,
            queue: Mutex::new(Some(queue)),
            info: Mutex::new(info),
            own: Arc::new(own_node(facts)),
            presence: Mutex::new(Presence::new(own, config.gone_after, Former::new(servers, &facts.id))),
            fence: Fence::new(config.gone_after),
            view: ArcSwap::default(),
            changes: watch::Sender::default(),
            waiting: Arc::default(),
            links: OnceLock::new(),
            beats: Reading::default(),
            calls: Reading::default(),
            sending: Sending::default(),
            serving: AtomicU32::new(0),
            numbers: Mutex::default(),
            posting: AllPosting::new(),
            following: AllFollowing::new(),
            topics: OnceLock::new(),
            boot_number,
            phase: Mutex::new(Phase::New),
            joined: AtomicBool::new(false),
            here_since: Mutex::default(),
            runs: Mutex::default(),
            conflict: AtomicBool::new(false),
            beat: Notify::new(),
            asks: AtomicBool::new(false),
            met: AtomicBool::new(false),
            events,
            node: Node::default(),
            asked_to_stop: OnceLock::new(),
            stop_serving: Mutex::default(),
            end: CancellationToken::new(),
        }))
    }

    /// Sets what receives the topics of other nodes. `linger` says how long a topic is followed
    /// after its last reader. Only the first call has an effect.
    pub fn set_topics(&self, receiver: Arc<dyn TopicReceiver>, linger: Linger) {
        _ = self.topics.set((receiver, linger));
    }

    /// Sets the channels that other nodes ask this one for. Only the first call has an effect.
    pub fn set_channels(&self, channels: Arc<dyn HomeChannels>) {
        _ = self.node.channels.set(channels);
    }

    /// Begins to take part: other nodes see this node, and its calls and broadcasts arrive.
    pub fn serve(
        self: &Arc<Self>,
        links: &Handle,
        dispatch: &Arc<Dispatch>,
        roster: &Arc<Roster>,
        reloads: &Arc<impl Reloads + 'static>,
        asked_to_stop: &CancellationToken,
    ) {
        // The host calls this once.
        _ = self.asked_to_stop.set(asked_to_stop.clone());
        _ = self.node.dispatch.set(Arc::downgrade(dispatch));
        _ = self.node.roster.set(Arc::downgrade(roster));
        let reloads = Arc::downgrade(reloads);
        _ = self.node.reloads.set(reloads);
        let (cluster, end) = (self.clone(), self.end.clone());
        links.spawn(async move { end.run_until_cancelled(cluster.take_part()).await });
    }

    /// Other nodes send no further calls. Those that were sent are answered.
    pub fn leave(&self) {
        *self.phase.lock() = Phase::Leaving;
        self.changes.send_modify(|count| *count += 1);
        self.beat.notify_one();
    }

    /// Waits until no other node sends calls, those that were sent are answered, and the stream
    /// knows which durable broadcasts have run here.
    pub async fn drain(&self) {
        self.settle().await;
        while self.serving.load(Acquire) > 0 {
            tokio::time::sleep(POLL).await;
        }
        self.durable.leaving.cancel();
        let ended = async {
            while self.link.is_up() && self.durable.is_running() {
                tokio::time::sleep(POLL).await;
            }
        };
        _ = tokio::time::timeout(LAST_MESSAGES, ended).await;
        // The answers have arrived before the others hear that this node has stopped.
        self.settle().await;
    }

    /// Tells the others that this node has stopped, and ends the connection.
    pub async fn close(&self) {
        self.last_broadcasts().await;
        *self.phase.lock() = Phase::Left;
        if let Some(client) = self.link.up_client() {
            let last = async {
                self.send_heartbeat().await;
                client.flush().await
            };
            _ = tokio::time::timeout(LAST_MESSAGES, last).await;
        }
        self.end.cancel();
    }

    /// Waits until the stream has the durable broadcasts of this node, and NATS its other messages.
    async fn last_broadcasts(&self) {
        let sent = async {
            while self.link.is_up() && (self.durable.outbox.len().0 > 0 || self.link.queued().0 > 0) {
                tokio::time::sleep(POLL).await;
            }
        };
        _ = tokio::time::timeout(LAST_MESSAGES, sent).await;
        let (lost, _) = self.durable.outbox.len();
        if lost > 0 {
            tracing::warn!(lost, "durable broadcasts are lost, because the stream did not accept them in time");
        }
    }

    /// Sets what receives what other nodes say about the members of channels. Only the first call
    /// has an effect.
    pub fn set_census(&self, census: &Arc<impl CensusReceiver + 'static>) {
        let census = Arc::downgrade(census);
        _ = self.node.census.set(census);
    }

    fn id(&self) -> String {
        self.info.lock().id.clone()
    }

    fn boot(&self) -> String {
        self.info.lock().boot.clone()
    }

    /// Shows readers what `presence` says.
    fn publish_view(&self, presence: &Presence) {
        self.view.store(Arc::new(presence.view()));
        self.changes.send_modify(|count| *count += 1);
    }
}

/// The facts about this process.
fn info(facts: &NodeFacts) -> NodeInfo {
    NodeInfo {
        id: facts.id.clone(),
        server: facts.server.clone(),
        since: facts.since,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        workers: facts.workers,
        frontend: facts.frontend,
        settings: facts.settings.clone(),
        ..NodeInfo::default()
    }
}

fn heartbeat(info: &NodeInfo, phase: Phase) -> Heartbeat {
    let (node, boot) = (info.id.clone(), info.boot.clone());
    Heartbeat { version: VERSION, node, boot, since: info.since, revision: info.revision, phase, asks: false, sent: 0 }
}

/// A text that differs for each start of the host.
fn boot() -> String {
    use std::hash::{BuildHasher, Hasher};
    let random = std::hash::RandomState::new().build_hasher().finish();
    format!("{random:016x}")
}
