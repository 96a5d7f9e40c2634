//! Ours: a host in the process that publishes, without a guest.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use fanfare::{Config, Host, RunningHost};
use serde_json::{Value, json};

use super::server::{Address, DATA, Publish};
use crate::machine;

pub struct Embedded(RunningHost);

/// The settings of a host whose streams are measured. Bounds that protect memory do not limit them.
pub fn settings(workers: usize) -> Value {
    json!({
        "workers": workers,
        "http": { "maxConnections": 1_000_000 },
        "sse": { "maxClients": 1_000_000 },
    })
}

impl Embedded {
    pub fn start(workers: usize) -> Embedded {
        let dir = machine::empty_dir("streams-embedded");
        let mut config = settings(workers);
        for listener in ["http", "admin"] {
            config[listener]["listen"] = json!("127.0.0.1:0");
        }
        config["modulesDir"] = json!(dir.join("modules"));
        config["stateDir"] = json!(dir.join("state"));
        let config = Config::from_text(&config.to_string(), &dir).unwrap();
        // It has no module, so that nothing is compiled.
        let compiler = std::env::current_exe().unwrap();
        let (send, receive) = mpsc::channel();
        // The listeners need the runtime for as long as the host serves.
        thread::spawn(move || {
            crate::bare::runtime().block_on(async {
                let host = Host::builder().config(config).compiler(compiler).start().await.unwrap();
                send.send(host).ok().unwrap();
                pending::<()>().await;
            });
        });
        Embedded(receive.recv().unwrap())
    }
}

impl Publish for Embedded {
    fn publish(&self, key: &str) {
        self.0.publish(key, DATA).unwrap();
    }
}

impl Address for Embedded {
    fn address(&self) -> SocketAddr {
        self.0.addr()
    }
}
