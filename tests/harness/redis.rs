//! A Redis server of one test, on a free port. Its process ends with the test.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{TempDir, eventually, not_run, program, sign_server};

pub struct Redis {
    pub port: u16,
    pub dir: TempDir,
    server: PathBuf,
    client: PathBuf,
    args: Vec<String>,
    /// How clients are to connect: the options of `redis-cli`.
    client_args: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// Starts a server. `None` if Redis is not installed.
    pub async fn start() -> Option<Redis> {
        Redis::with(&[]).await
    }

    /// Starts a server with further options. Its files survive [`Redis::kill`].
    pub async fn with(options: &[&str]) -> Option<Redis> {
        let mut redis = Redis::prepare()?;
        let port = redis.port.to_string();
        redis.args.extend(["--port", &port].map(str::to_owned));
        redis.args.extend(options.iter().map(|option| (*option).to_owned()));
        redis.run().await;
        Some(redis)
    }

    /// Starts a server that only accepts TLS, with a certificate for 127.0.0.1 whose authority is
    /// in `ca.pem` of the folder.
    pub async fn encrypted() -> Option<Redis> {
        let mut redis = Redis::prepare()?;
        let dir = redis.dir.path().to_owned();
        if !sign_server(&dir, "IP:127.0.0.1") {
            return None;
        }
        let port = redis.port.to_string();
        let path = |name: &str| dir.join(name).display().to_string();
        let args = ["--port", "0", "--tls-port", &port, "--tls-cert-file", &path("server.pem")];
        redis.args.extend(args.map(str::to_owned));
        let args = ["--tls-key-file", &path("server.key"), "--tls-ca-cert-file", &path("ca.pem")];
        redis.args.extend(args.map(str::to_owned));
        redis.args.extend(["--tls-auth-clients", "no"].map(str::to_owned));
        redis.client_args = vec!["--tls".to_owned(), "--cacert".to_owned(), path("ca.pem")];
        redis.run().await;
        Some(redis)
    }

    fn prepare() -> Option<Redis> {
        let (Some(server), Some(client)) = (program(&["redis-server"]), program(&["redis-cli"])) else {
            not_run("Redis: install it with apt-get install redis-server");
            return None;
        };
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let dir = TempDir::new();
        let folder = dir.path().display().to_string();
        let args = ["--bind", "127.0.0.1", "--dir", &folder, "--save", "", "--appendonly", "yes"];
        let args = [&args[..], &["--appendfsync", "always", "--loglevel", "warning"]].concat();
        let args = args.into_iter().map(str::to_owned).collect();
        Some(Redis { port, dir, server, client, args, client_args: Vec::new(), child: None })
    }

    /// Starts the process, and waits until it answers.
    pub async fn run(&mut self) {
        let mut command = Command::new(&self.server);
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let this = &*self;
        eventually("Redis answers", || async move {
            let answer = this.output(&["PING"]);
            let text = String::from_utf8_lossy(&answer.stdout).into_owned();
            text.contains("PONG") || text.contains("NOAUTH")
        })
        .await;
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.client);
        command.args(["-p", &self.port.to_string()]).args(&self.client_args).args(args);
        command.output().unwrap()
    }

    /// Runs `redis-cli`, and returns what it prints.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.output(args);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Gives `redis-cli` these options from now on.
    pub fn client(&mut self, args: &[&str]) {
        self.client_args.extend(args.iter().map(|arg| (*arg).to_owned()));
    }

    /// Publishes with `redis-cli`. Returns how many clients of the server got the message.
    pub fn publish(&self, channel: &str, message: &str) -> u32 {
        let answer = self.cli(&["PUBLISH", channel, message]);
        answer.parse().unwrap_or_else(|_| panic!("{answer}"))
    }

    /// The setting `redis` of a host, with short times.
    pub fn settings(&self) -> Value {
        json!({
            "url": format!("redis://127.0.0.1:{}", self.port),
            "timeout": "500ms", "reconnect": "10ms", "reconnectMax": "50ms",
        })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// Ends the server as `kill -9` does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    /// Ends the server in order, and starts it again.
    pub async fn restart(&mut self) {
        let mut child = self.child.take().expect("it runs");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        child.wait().unwrap();
        self.run().await;
    }

    /// Stops the process, so that it answers nothing but keeps its connections.
    pub fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Waits until this number of clients are subscribed to a channel.
    pub async fn until_subscribed(&self, channel: &str, count: u32) {
        eventually(&format!("{count} subscribe to {channel}"), || async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let answer = self.cli(&["PUBSUB", "NUMSUB", channel]);
            answer.lines().last() == Some(count.to_string().as_str())
        })
        .await;
    }

    /// Waits until the server has patterns.
    pub async fn until_patterns(&self, count: u32) {
        eventually("the patterns are subscribed", || async { self.cli(&["PUBSUB", "NUMPAT"]) == count.to_string() })
            .await;
    }

    /// The number of pending entries of a group, 0 if the host has not created it yet.
    pub fn pending(&self, stream: &str, group: &str) -> u64 {
        let answer = self.cli(&["XPENDING", stream, group]);
        if answer.starts_with("NOGROUP") {
            return 0;
        }
        answer.lines().next().and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            _ = child.kill();
            _ = child.wait();
        }
    }
}
