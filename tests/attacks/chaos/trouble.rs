//! Swaps, kills and crashes, one after another and in a random order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use fanfare::api::{KillMode, KilledIsolate};
use serde_json::{Value, json};

use super::SESSIONS;
use crate::channels::Client;
use crate::harness::{Random, Started, WebSocket, ends, json_of};
use crate::socketcluster::greet;

pub const MODULES: [&str; 8] =
    ["echo", "waits", "streams", "sessions", "channels", "subscriptions", "schedules", "counts"];

pub struct Trouble {
    host: Arc<Started>,
    random: Random,
    swaps: u64,
    kills: u64,
    crashes: u64,
    /// The calls of each module that were in flight in an instance that was killed at once.
    crashed: BTreeMap<String, u64>,
    /// The messages of clients of `sessions` that have crashed their instance.
    pub messages: u64,
    /// The broadcasts that have crashed an instance of `counts`.
    pub broadcasts: u64,
}

impl fmt::Display for Trouble {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trouble { swaps, kills, crashes, crashed, .. } = self;
        write!(to, "{swaps} swaps, {kills} kills, {crashes} crashes; in flight at kills: {crashed:?}")
    }
}

impl Trouble {
    pub fn new(host: Arc<Started>) -> Trouble {
        let (crashed, random) = (BTreeMap::new(), Random::new(0));
        Trouble { host, random, swaps: 0, kills: 0, crashes: 0, crashed, messages: 0, broadcasts: 0 }
    }

    /// The calls of a module that were in flight in an instance that was killed at once.
    pub fn in_flight(&self, module: &str) -> u64 {
        self.crashed.get(module).copied().unwrap_or_default()
    }

    /// Makes trouble, and waits until it has passed. A kill fails when the next instance crashes
    /// at once, so that no crash happens during a kill.
    pub async fn next(&mut self) {
        match self.random.below(10) {
            0..4 => self.swap().await,
            4..7 => self.kill().await,
            _ => self.crash().await,
        }
    }

    async fn swap(&mut self) {
        self.swaps += 1;
        let module = MODULES[self.random.below(8) as usize];
        self.host.rewrite(module, json!({ "config": { "version": self.swaps } }));
        let swapped = self.host.reload(module).await;
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    }

    async fn kill(&mut self) {
        self.kills += 1;
        let mode = if self.random.below(2) == 0 { KillMode::Graceful } else { KillMode::Immediate };
        let id = [None, Some(0), Some(1)][self.random.below(3) as usize];
        let running = self.host.running();
        let killed = match self.random.below(3) {
            0 => running.kill_brokers(id, mode).await.unwrap(),
            _ => running.kill_workers(id, mode).await.unwrap(),
        };
        for KilledIsolate { isolate, modules, .. } in killed {
            for module in modules {
                let crashed = module.crashed as u64;
                assert!(mode == KillMode::Immediate || crashed == 0, "{isolate}: {module:?}");
                *self.crashed.entry(module.module).or_default() += crashed;
            }
        }
    }

    /// A guest traps, and its running calls with it.
    async fn crash(&mut self) {
        self.crashes += 1;
        let worker = self.random.below(2) as u32;
        let target = format!("worker-{worker}");
        let code = match self.random.below(7) {
            0 => self.host.call(&target, "streams", "trap", "").await["code"].clone(),
            1 => self.host.call(&target, "subscriptions", "crash", "").await["code"].clone(),
            2 => self.host.call(&target, "channels", "panic", "").await["code"].clone(),
            3 => self.in_home().await,
            4 => self.as_client().await,
            5 => {
                let url = "/v1/schedules/run?module=schedules&name=crash";
                self.host.admin("POST", url, json!({ "how": "traps" }).to_string()).await.json()["code"].clone()
            }
            _ => self.as_broadcast(worker).await,
        };
        assert_eq!(code, "crashed");
    }

    /// The route of a channel traps in the home of the channel.
    async fn in_home(&mut self) -> Value {
        let channel = format!("channels/publish/{}", self.random.below(8));
        let mut client = Client::open(&self.host, 2).await;
        client.error("#publish", json!({ "channel": channel, "data": { "do": "panic" } })).await["code"].clone()
    }

    /// The message of a client traps in the worker of the client.
    async fn as_client(&mut self) -> Value {
        self.messages += 1;
        let mut client = WebSocket::open(self.host.http, SESSIONS[1]).await;
        greet(&mut client, Value::Null).await;
        client.ask(json!({ "event": "trap", "cid": 2 })).await["error"]["code"].clone()
    }

    /// A broadcast traps in one worker, and not in the other one.
    async fn as_broadcast(&mut self, worker: u32) -> Value {
        self.broadcasts += 1;
        let how = json!({ "worker": worker, "how": "trap" }).to_string();
        let entries = self.host.gather("counts", "misbehave", how).await.into();
        let mut ends = ends(&entries);
        let (_, code) = ends.remove(worker as usize);
        assert_eq!(ends.len(), 1, "{entries}");
        assert_eq!(ends[0].1, "reply", "{entries}");
        code.into()
    }
}

/// The reply of the guest `sessions` to a use of a function without a session. `None` if it has
/// crashed.
pub async fn sessions(host: &Started, what: Value) -> Option<Value> {
    let reply = host.call("any", "sessions", "outside/use", what.to_string()).await;
    if reply["code"] == "crashed" {
        return None;
    }
    Some(json_of(&reply))
}
