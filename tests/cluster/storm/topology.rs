//! The servers and nodes: NATS servers with JetStream, two frontends and three backends, each in a
//! process of its own and behind a cable of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::stream::Config;
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::time::timeout;

use crate::cli::project::{Project, freeze, memory_of, pid_of};
use crate::cluster::cable::Cable;
use crate::cluster::up::free_ports;
use crate::harness::{Connection, Nats, TempDir, metric_of, source_of};

/// The nodes. The first two are the frontends.
pub const NODES: [&str; 5] = ["gate-1", "gate-2", "chat-1", "chat-2", "chat-3"];
pub const FRONTENDS: usize = 2;
pub const GUEST: &str = "ledger";
pub const PATHS: [&str; 2] = ["/v1/", "/socketcluster/"];

/// The streams of the nodes.
const STREAMS: [&str; 4] = ["KV_fanfare", "fanfare_broadcasts", "fanfare_parked", "fanfare_histories"];

/// How long the cluster may take to become whole, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// For how long before it is killed a NATS server may not have written what nodes have told it, and
/// how soon afterwards it has heard it again.
const UNWRITTEN: Duration = Duration::from_secs(10);

/// `limits.timeout` is 5 s, and a call may have begun a moment before the freeze.
const LONG_FREEZE: Duration = Duration::from_secs(4);

/// A process of a node.
struct Process {
    child: Child,
    log: PathBuf,
    begun: Instant,
}

struct Node {
    cables: Vec<Cable>,
    admin: SocketAddr,
    process: Option<Process>,
    /// How many processes it has had, and how many of them were killed.
    starts: usize,
    kills: usize,
    /// The present freeze, and how many were so long that the call of a handler may have timed out.
    frozen: Option<Instant>,
    long_freezes: usize,
    /// When each process ended.
    ends: Vec<Instant>,
}

pub struct Topology {
    project: Project,
    pub nats: Vec<Nats>,
    nodes: Vec<Node>,
    /// When a NATS server was killed.
    server_kills: Vec<Instant>,
    version: u64,
    /// The address of each frontend for clients.
    pub doors: [SocketAddr; FRONTENDS],
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The manifest of the guest on frontends: it receives plain WebSockets there, and leaves the
/// messages of those at `far` to backends.
fn manifest_of_gate() -> Value {
    json!({
        "component": "ledger.wasm",
        "routes": [{ "path": "relay", "handler": "relay", "middlewares": "session" }],
        "sockets": { "relay": { "path": "relay" }, "far": { "module": GUEST, "path": "receive" } },
        "capabilities": { "sessions": true, "rpc": [GUEST] },
    })
}

fn manifest(version: u64) -> String {
    let text = fs::read_to_string(source_of(GUEST).join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["config"] = json!({ "version": version });
    manifest.to_string()
}

impl Topology {
    /// Starts all servers and nodes. `None` without NATS.
    pub async fn start(three_servers: bool, goes_on_for_long: bool) -> Option<Topology> {
        let nats: Vec<Nats> = match three_servers {
            true => Nats::three_unadvertised().await?.into(),
            false => vec![Nats::start().await?],
        };
        // A long run has the times of production.
        let (heartbeat, gone_after) = if goes_on_for_long { ("1s", "3s") } else { ("500ms", "3s") };
        let port = free_ports(7);
        let grants = json!({ "grants": { "sessions": true, "rpc": [GUEST], "dirs": { "/seen": "rw" } } });
        // Longer than a node is frozen: the client of a call that times out gets no answer.
        let gates = json!({ "grants": { "sessions": true, "rpc": [GUEST] }, "limits": { "timeout": "20s" } });
        let listeners = json!([
            { "path": PATHS[0], "protocol": 1, "module": "gate" },
            { "path": PATHS[1], "protocol": 2, "module": "gate" },
        ]);
        let component = fs::read(source_of(GUEST).join("ledger.wasm")).unwrap();
        let project = Project::with(&[GUEST])
            .file("modules/gate/module.json", manifest_of_gate().to_string())
            .file("modules/gate/ledger.wasm", component)
            .config(json!({
                "cluster": {
                    "heartbeat": heartbeat, "goneAfter": gone_after, "timeout": "5s",
                    "servers": {
                        "gate": { "modules": "gate", "servers": [{
                            "id": "gate-", "idStart": 1, "port": [port, port + 1], "frontend": true, "clientPort": port + 5,
                        }] },
                        "chat": { "modules": GUEST, "servers": [{ "id": "chat-", "idStart": 1, "port": [port + 2, port + 4] }] },
                    },
                },
                "modules": { GUEST: grants, "gate": gates },
                "websocket": { "listeners": listeners, "pingInterval": "3s", "pingTimeout": "5s", "ackTimeout": "20s" },
                "sse": { "pingInterval": "1s" },
                "shutdown": { "drain": "5s", "linger": "100ms" },
            }));
        let mut topology = Topology {
            project,
            nats,
            nodes: Vec::new(),
            server_kills: Vec::new(),
            version: 0,
            doors: [local(port + 5), local(port + 6)],
        };
        topology.rewrite();
        for index in 0..NODES.len() {
            let mut cables = Vec::new();
            for server in &topology.nats {
                cables.push(Cable::to(server.address(), Duration::ZERO).await);
            }
            let admin = local(port + index as u16);
            topology.nodes.push(Node {
                cables,
                admin,
                process: None,
                starts: 0,
                kills: 0,
                frozen: None,
                long_freezes: 0,
                ends: Vec::new(),
            });
            topology.launch(index);
        }
        for index in 0..NODES.len() {
            topology.serves(index).await;
        }
        Some(topology)
    }

    /// Starts the process of a node, and waits until it serves.
    pub async fn run(&mut self, index: usize) {
        self.launch(index);
        self.serves(index).await;
    }

    fn launch(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.starts += 1;
        let log = self.project.path().join(format!("{}.{}.log", NODES[index], node.starts));
        let urls: Vec<String> = node.cables.iter().map(|cable| format!("nats://{}", cable.address)).collect();
        let mut command = self.project.command(&["serve", "--node", NODES[index]]);
        command.env("FANFARE_CLUSTER_NATS", urls.join(","));
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).kill_on_drop(true);
        node.process = Some(Process { child: command.spawn().unwrap(), log, begun: Instant::now() });
    }

    async fn serves(&self, index: usize) {
        self.becomes("the node serves", async || match self.operator(index, "GET", "/readyz", "").await {
            Some((200, _)) => Ok(()),
            other => Err(format!("{}: {other:?}", NODES[index])),
        })
        .await;
    }

    /// Waits until a condition holds. Fails with what it says at last.
    pub async fn becomes(&self, what: &str, mut holds: impl AsyncFnMut() -> Result<(), String>) {
        let begun = Instant::now();
        while let Err(why) = holds().await {
            if begun.elapsed() > PATIENCE {
                panic!("not true after {PATIENCE:?}: {what}: {why}\n{}", self.report().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the backends and the NATS servers say about durable broadcasts, and the last lines of
    /// each log.
    async fn report(&self) -> String {
        let mut report = String::new();
        for (index, name) in NODES.iter().enumerate().skip(FRONTENDS) {
            report += &format!("{name}: {:?}\n", self.operator(index, "GET", "/v1/broadcasts", "").await);
        }
        if let Ok(context) = self.jetstream().await
            && let Ok(stream) = context.get_stream("fanfare_broadcasts").await
        {
            report += &format!("{:?}\n", stream.cached_info());
            let mut consumers = stream.consumers();
            while let Some(consumer) = consumers.next().await {
                report += &format!("{consumer:?}\n");
            }
        }
        for (node, name) in self.nodes.iter().zip(NODES) {
            let log = node.process.as_ref().and_then(|process| fs::read_to_string(&process.log).ok());
            for line in log.iter().flat_map(|text| text.lines().rev().take(30)) {
                report += &format!("{name}: {line}\n");
            }
        }
        report
    }

    /// Asks the admin listener of a node. `None` if it does not answer.
    pub async fn operator(&self, index: usize, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let admin = self.nodes[index].admin;
        // Ends the connection if the process does not accept it.
        tokio::net::TcpStream::connect(admin).await.ok()?;
        let asked = tokio::spawn({
            let (method, path, body) = (method.to_owned(), path.to_owned(), body.to_owned());
            async move { Connection::open(admin).await.send(&method, &path, &[], body).await }
        });
        let answer = timeout(Duration::from_secs(30), asked).await.ok()?.ok()?;
        Some((answer.status, answer.text().to_owned()))
    }

    async fn json(&self, index: usize, path: &str) -> Result<Value, String> {
        let (_, text) = self.operator(index, "GET", path, "").await.ok_or("it does not answer")?;
        serde_json::from_str(&text).map_err(|_| text)
    }

    /// Whether each node sees the present process of each other one, and reads the stream.
    pub async fn is_whole(&self) -> Result<(), String> {
        for (index, own) in NODES.iter().enumerate() {
            let nodes = self.json(index, "/v1/nodes").await?;
            let listed = nodes["nodes"].as_array().ok_or_else(|| nodes.to_string())?;
            let sees = |other: usize| {
                let pid = self.pid(other).as_raw_nonzero().get();
                listed.iter().any(|node| {
                    let module = if other < FRONTENDS { "gate" } else { GUEST };
                    node["id"] == NODES[other] && node["pid"] == pid && node["modules"].get(module).is_some()
                })
            };
            if nodes["state"] != "up" || listed.len() != NODES.len() || !(0..NODES.len()).all(sees) {
                return Err(format!("{own} sees {nodes}"));
            }
            if index >= FRONTENDS {
                let durable = self.json(index, "/v1/broadcasts").await?;
                let mut modules = durable["modules"].as_array().into_iter().flatten();
                if !modules.any(|module| module["module"] == GUEST && module["reading"] == true) {
                    return Err(format!("{own} reads {durable}"));
                }
                let (_, metrics) = self.operator(index, "GET", "/metrics", "").await.ok_or("it does not answer")?;
                if metric_of(&metrics, "fanfare_cluster_sure", &[]) != 1.0 {
                    return Err(format!("{own} is not sure of its channels"));
                }
            }
        }
        Ok(())
    }

    /// Whether a node takes another one for gone.
    pub async fn misses(&self, index: usize, other: usize) -> Result<(), String> {
        let nodes = self.json(index, "/v1/nodes").await?;
        let listed = nodes["nodes"].as_array().ok_or_else(|| nodes.to_string())?;
        match listed.iter().any(|node| node["id"] == NODES[other]) {
            true => Err(format!("{} sees {}", NODES[index], NODES[other])),
            false => Ok(()),
        }
    }

    pub async fn is_down(&self, index: usize) -> Result<(), String> {
        match self.json(index, "/v1/nodes").await? {
            nodes if nodes["state"] == "down" => Ok(()),
            nodes => Err(nodes["state"].to_string()),
        }
    }

    async fn jetstream(&self) -> Result<Context, String> {
        let client = async_nats::ConnectOptions::new().ignore_discovered_servers();
        let client = client.connect(self.nats[0].url()).await.map_err(|error| error.to_string())?;
        // Servers answer nothing about a stream without a leader.
        Ok(ContextBuilder::new().timeout(Duration::from_secs(1)).build(client))
    }

    /// Lets each of three servers have a copy of each stream. The nodes have made one copy, because
    /// their servers do not tell them of each other.
    pub async fn copy_streams(&self) {
        if self.nats.len() == 1 {
            return;
        }
        // Nodes make it when they need it, with further limits.
        let [.., name] = STREAMS.map(str::to_owned);
        let histories = Config { name, subjects: vec!["fanfare.history.>".to_owned()], ..Config::default() };
        self.becomes("the streams have three copies", async || {
            let context = self.jetstream().await?;
            context.get_or_create_stream(histories.clone()).await.map_err(|error| error.to_string())?;
            for name in STREAMS {
                let stream = context.get_stream(name).await.map_err(|error| format!("{name}: {error}"))?;
                let mut config = stream.cached_info().config.clone();
                config.num_replicas = 3;
                context.update_stream(config).await.map_err(|error| format!("{name}: {error}"))?;
            }
            self.servers_are_whole().await
        })
        .await;
    }

    /// Whether each NATS server has all of each stream.
    pub async fn servers_are_whole(&self) -> Result<(), String> {
        let context = self.jetstream().await?;
        for name in STREAMS {
            let stream = context.get_stream(name).await.map_err(|error| format!("{name}: {error}"))?;
            let copies = stream.cached_info().cluster.as_ref().map(|cluster| cluster.replicas.clone());
            let behind = |copies: &Vec<async_nats::jetstream::stream::PeerInfo>| {
                copies.len() + 1 < self.nats.len() || copies.iter().any(|copy| !copy.current || copy.offline)
            };
            if copies.as_ref().is_some_and(behind) {
                return Err(format!("{name}: {copies:?}"));
            }
        }
        Ok(())
    }

    pub fn pid(&self, index: usize) -> Pid {
        pid_of(&self.nodes[index].process.as_ref().unwrap().child)
    }

    /// How often a node may have begun again with durable broadcasts that it had run, and whether
    /// with several in a row. A kill lets it run the present one again, and so does a freeze after
    /// which the call of the handler has timed out. A single NATS server that is killed may forget
    /// what nodes have told it last: if a node ends within seconds of it, its next process runs
    /// again what it ran last (docs/durable.md, What is promised).
    pub fn replays(&self, index: usize) -> (usize, bool) {
        let Node { kills, long_freezes, ends, .. } = &self.nodes[index];
        let is_near = |end: Instant, kill: Instant| end.max(kill) - end.min(kill) < UNWRITTEN;
        let near = |kill: &Instant| ends.iter().filter(|end| is_near(**end, *kill)).count();
        let forgotten = if self.nats.len() == 1 { self.server_kills.iter().map(near).sum() } else { 0 };
        (kills + long_freezes + forgotten, forgotten > 0)
    }

    pub fn kill_server(&mut self, index: usize) {
        self.server_kills.push(Instant::now());
        self.nats[index].kill();
    }

    /// Ends a node as `kill -9` does.
    pub async fn kill(&mut self, index: usize) {
        self.nodes[index].kills += 1;
        kill_process(self.pid(index), Signal::KILL).unwrap();
        self.ended(index).await;
    }

    /// Stops a node in order.
    pub async fn stop(&mut self, index: usize) {
        kill_process(self.pid(index), Signal::TERM).unwrap();
        let code = self.ended(index).await;
        assert_eq!(code, Some(0), "{} stops in order", NODES[index]);
    }

    async fn ended(&mut self, index: usize) -> Option<i32> {
        let mut process = self.nodes[index].process.take().unwrap();
        let ended = timeout(PATIENCE, process.child.wait()).await.expect("it ends").unwrap();
        self.nodes[index].ends.push(Instant::now());
        self.assert_quiet(&process.log);
        ended.code()
    }

    pub async fn freeze(&mut self, index: usize) {
        freeze(self.pid(index)).await;
        self.nodes[index].frozen = Some(Instant::now());
    }

    pub fn thaw(&mut self, index: usize) {
        let frozen = self.nodes[index].frozen.take().unwrap();
        self.nodes[index].long_freezes += usize::from(frozen.elapsed() >= LONG_FREEZE);
        kill_process(self.pid(index), Signal::CONT).unwrap();
    }

    /// Cuts a node off from all NATS servers, without a word.
    pub fn cut(&self, index: usize) {
        self.nodes[index].cables.iter().for_each(Cable::pull);
    }

    pub fn mend(&self, index: usize) {
        self.nodes[index].cables.iter().for_each(Cable::plug_in);
    }

    /// Writes a new version of the module.
    fn rewrite(&mut self) {
        self.version += 1;
        self.project.dir.write(&format!("modules/{GUEST}/module.json"), manifest(self.version));
    }

    /// Swaps a new version on all backends, one after another.
    pub async fn reload(&mut self, asked: usize) {
        self.rewrite();
        let path = format!("/v1/modules/{GUEST}/reload");
        let (status, text) = self.operator(asked, "POST", &path, "").await.expect("it answers");
        assert_eq!(status, 200, "{text}");
        let told: Value = serde_json::from_str(&text).unwrap();
        let nodes = told["nodes"].as_array().unwrap_or_else(|| panic!("{told}"));
        assert!(nodes.len() == 2 && nodes.iter().all(|node| node["outcome"] == "swapped"), "{told}");
    }

    /// The lines that the workers of a backend have written into their files of a kind.
    pub fn lines(&self, index: usize, kind: &str, worker: usize) -> Vec<String> {
        let folder = format!("{}/{}/dirs/{GUEST}/seen", TempDir::STATE, NODES[index]);
        // The first line makes the file.
        let text =
            fs::read_to_string(self.project.path().join(format!("{folder}/{kind}-{worker}"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The name, the age and the resident memory of each process.
    pub fn memory(&self) -> Vec<(String, Duration, u64)> {
        let nodes = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let process = node.process.as_ref()?;
            Some((NODES[index].to_owned(), process.begun.elapsed(), memory_of(pid_of(&process.child), "VmRSS")?))
        });
        nodes.collect()
    }

    /// Asserts that no process has reported a fault of its own.
    pub fn assert_all_quiet(&self) {
        for node in &self.nodes {
            self.assert_quiet(&node.process.as_ref().unwrap().log);
        }
    }

    fn assert_quiet(&self, log: &PathBuf) {
        let text = fs::read_to_string(log).unwrap();
        let loud: Vec<&str> = text.lines().filter(|line| line.contains(" ERROR ") || line.contains("panic")).collect();
        assert!(loud.is_empty(), "{}: {loud:#?}", log.display());
    }
}
