//! A checked `module.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value};

use super::durable::Durable;
use super::filters::Filters;
use super::hooks::{EVENTS, Hook};
use super::patterns::{Channels, PatternKind, Streams};
use super::payloads::{Callee, PayloadSchema};
use super::raw::{Isolation, Middleware, Mount, Rollout};
use super::schedules::DeclaredSchedule;
use super::sockets::Sockets;
use super::subscriptions::DeclaredSubscription;
use crate::call::{IsolateId, RouteName, stream_key};
use crate::config::{Capabilities, LimitsPatch};
use crate::document::{Faults, Node};
use crate::registry::segment::Segment;

/// A checked `module.json`.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The name of the module and of its folder: `[a-z][a-z0-9-]{0,63}`.
    pub name: String,
    /// The absolute path of the folder.
    pub dir: PathBuf,
    /// The path of `module.json`.
    pub file: PathBuf,
    /// The absolute path of the component, below `dir`. The file may not exist yet.
    pub component: PathBuf,
    pub routes: Vec<Route>,
    /// The index in `routes` of each broadcast's route, by the broadcast's name.
    pub broadcasts: BTreeMap<String, usize>,
    /// The broadcasts that a stream keeps.
    pub durable: BTreeMap<String, Durable>,
    /// The calls that a new instance runs before it serves, in the order of their names.
    pub startups: BTreeMap<String, Startup>,
    /// The routes that the host runs at certain times, by the name of the schedule.
    pub schedules: BTreeMap<String, DeclaredSchedule>,
    /// The messages that the module receives, by the name of the subscription.
    pub subscriptions: BTreeMap<String, DeclaredSubscription>,
    /// The routes that the host calls because something happened, by the name of the hook.
    pub hooks: BTreeMap<&'static str, Hook>,
    /// The live streams that the module declares.
    pub streams: Streams,
    /// The channels that the module declares.
    pub channels: Channels,
    /// The WebSockets that the module declares.
    pub sockets: Sockets,
    /// The routes that run around the routes of clients' messages.
    pub filters: Filters,
    /// The routes that the module calls.
    pub calls: Vec<Callee>,
    /// How to build the component from source, if the manifest says so.
    pub build: Option<Build>,
    /// The module's own values. The operator's are laid over them.
    pub config: Map<String, Value>,
    /// The capabilities that the module asks for, without those over itself, which need no grant. A
    /// pattern in `streams` outside of the module's own keys asks for `sse`, and so does a
    /// subscription that feeds such keys. A pattern in `channels` asks for `channels`. A
    /// subscription to an outside server asks for `subscribe`.
    pub capabilities: Capabilities,
    /// The limits that the module asks for.
    pub limits: LimitsPatch,
    /// Whether instances stay between calls. By default they stay.
    pub isolation: Isolation,
    /// Where the module answers requests in addition to `/api/<module>/`.
    pub mount: Option<Mount>,
    /// The canary that a changed generation must pass before every worker serves it.
    pub rollout: Option<Rollout>,
    /// Whether it stands for a component that belongs to no module.
    pub alone: bool,
    /// The bytes of the file, for the digest of a generation.
    pub digest_bytes: Arc<[u8]>,
    /// The file as a tree that knows the place of every key.
    pub source: Arc<Node>,
}

/// A route of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub method: Method,
    /// Empty for the root of the module.
    pub path: Vec<Segment>,
    /// The handler's name, which the guest receives with each call.
    pub handler: String,
    pub middlewares: Vec<Middleware>,
    /// The routes that run before the handler, in this order. Each names its module.
    pub chain: Vec<RouteName>,
    /// The payload that the handler accepts, and the one of its reply.
    pub takes: Option<PayloadSchema>,
    pub gives: Option<PayloadSchema>,
    /// The query that the handler reads.
    pub query: Option<PayloadSchema>,
    /// The path as written in `module.json`.
    pub text: String,
}

/// A call that a new instance runs before it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    /// The index in `routes`.
    pub route: usize,
    /// Whether it runs in every isolate that has the module installed. Otherwise it runs only in
    /// the lead worker.
    pub everywhere: bool,
}

/// How to build a module. `fanfare build` and `fanfare dev` run the command; the host never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The shell command, which runs in the module's folder.
    pub command: String,
    /// The files and folders, relative to the module's folder, whose change triggers a build.
    pub watch: Vec<PathBuf>,
}

/// Every fault in a `module.json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{faults}")]
pub struct ManifestError {
    pub faults: Faults,
}

impl Manifest {
    /// Whether the component file exists.
    pub fn has_component(&self) -> bool {
        self.component.is_file()
    }

    /// Whether the module may use a stream key without the capability `sse`: its name, a key below
    /// it, or a key that it declares.
    pub fn owns_key(&self, key: &str) -> bool {
        stream_key::is_own(key, &self.name) || self.streams.find(key).is_some()
    }

    /// The patterns of a kind, and for each whether a route decides about its clients.
    pub fn patterns(&self, kind: PatternKind) -> Vec<(&str, bool)> {
        match kind {
            PatternKind::Stream => self.streams.iter().map(|(pattern, one)| (pattern, one.route.is_some())).collect(),
            PatternKind::Channel => self.channels.iter().map(|(pattern, one)| (pattern, one.route.is_some())).collect(),
        }
    }

    /// Whether the module has a hook of a host event: of this one, or of any.
    pub fn has_event_hook(&self, event: Option<&str>) -> bool {
        self.hooks.keys().any(|name| EVENTS.contains(name) && event.is_none_or(|event| event == *name))
    }

    /// The hook of this name, if the isolate calls it.
    pub fn hook(&self, name: &str, isolate: IsolateId) -> Option<Hook> {
        self.hooks.get(name).copied().filter(|hook| hook.places.contain(isolate))
    }
}
