//! An event service in a process of its own: `fanfare events serve`.

use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::Client;
use crate::cli::project::{Project, memory_of, pid_of};

/// A running service. Dropping it kills the process.
pub struct Service {
    pub project: Project,
    address: SocketAddr,
    child: Child,
}

impl Service {
    pub async fn start(events: Value) -> Service {
        Service::start_with(events, json!({})).await
    }

    /// Starts a service with other settings, too.
    pub async fn start_with(events: Value, others: Value) -> Service {
        let mut all = json!({ "listen": "127.0.0.1:0" });
        all.as_object_mut().unwrap().extend(events.as_object().unwrap().clone());
        Service::start_in(Project::with(&[]).config(others).config(json!({ "events": all }))).await
    }

    async fn start_in(project: Project) -> Service {
        let (child, mut lines) = spawn(&project, &["events", "serve", "--log", "warn"]);
        let line = lines.next_line().await.unwrap().expect("it starts");
        let address = line.strip_prefix("fanfare events http://").expect("an address").parse().unwrap();
        Service { project, address, child }
    }

    /// Kills the process with SIGKILL, and starts it again at the same address.
    pub async fn kill_and_restart(self) -> Service {
        self.kill().await.restart().await
    }

    /// Kills the process with SIGKILL. [`Stopped::restart`] starts it again at the same address.
    pub async fn kill(mut self) -> Stopped {
        self.child.kill().await.unwrap();
        Stopped(self.project.config(json!({ "events": { "listen": self.address.to_string() } })))
    }

    /// Ends the process with SIGTERM.
    pub async fn stop(mut self) -> Option<i32> {
        kill_process(pid_of(&self.child), Signal::TERM).unwrap();
        self.child.wait().await.unwrap().code()
    }

    /// The peak memory so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        memory_of(pid_of(&self.child), "VmHWM").expect("it runs")
    }
}

/// A service that was killed.
pub struct Stopped(Project);

impl Stopped {
    pub async fn restart(self) -> Service {
        Service::start_in(self.0).await
    }
}

impl Client for Service {
    fn events(&self) -> SocketAddr {
        self.address
    }
}

/// Starts the program in the folder of a project.
pub fn spawn(project: &Project, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = project.command(args).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}
