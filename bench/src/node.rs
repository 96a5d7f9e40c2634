//! A host in this process, without the command line.

use std::path::Path;
use std::sync::Arc;

use fanfare::tooling::{Actor, CallOptions, Dispatch, IsolateId, Payload, Probe, RouteName, Target};
use fanfare::{Builder, Config, Host, RunningHost};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{bare, machine};

/// A host and the runtime of its listeners. The runtime runs only inside `block_on`; workers have
/// their own threads.
pub struct Node {
    host: Option<RunningHost>,
    pub runtime: Runtime,
    pub dispatch: Arc<Dispatch>,
}

impl Node {
    pub fn start(modules: &Path, workers: u32) -> Node {
        Node::with(modules, workers, json!({}), None)
    }

    /// Starts a host with further settings, which calls `probe` for every call that starts.
    pub fn with(modules: &Path, workers: u32, settings: Value, probe: Option<Probe>) -> Node {
        let runtime = bare::runtime();
        let mut config = json!({
            "workers": workers,
            "modulesDir": modules,
            "stateDir": machine::state_dir(),
            "http": { "listen": "127.0.0.1:0" },
            "admin": { "listen": "127.0.0.1:0" },
            "limits": { "max": { "memory": "1GiB" } },
        });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let config = Config::from_text(&config.to_string(), modules).unwrap();
        let builder = Host::builder().config(config).compiler(machine::fanfare());
        let builder = probe.into_iter().fold(builder, Builder::probe);
        let host = runtime.block_on(async { builder.start().await.unwrap() });
        let refused = host.roster().refused();
        assert!(refused.is_empty(), "{refused:?}");
        Node { dispatch: host.dispatch().clone(), host: Some(host), runtime }
    }

    pub fn host(&self) -> &RunningHost {
        self.host.as_ref().unwrap()
    }

    /// Runs a future on a worker's thread, where its guests run.
    pub fn on_worker<F>(&self, index: u32, work: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let worker = self.dispatch.places().get(IsolateId::Worker(index)).unwrap();
        self.runtime.block_on(worker.runtime().spawn(work)).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(host) = self.host.take() {
            self.runtime.block_on(host.shutdown());
        }
    }
}

/// Calls a route in one worker, as the operator.
pub async fn call(dispatch: &Dispatch, worker: u32, route: &RouteName, payload: Payload) -> Payload {
    let target = Target::Isolate(IsolateId::Worker(worker));
    dispatch.call(&Actor::Operator, target, route, payload, CallOptions::default()).await.unwrap().payload
}

pub fn route(text: &str) -> RouteName {
    RouteName::parse(text).unwrap()
}
