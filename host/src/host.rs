//! Composition: builds the parts of a host, and owns the order of its start and stop.
//!
//! A [`Builder`] collects the settings and binds the listeners, [`Host::start`] loads the modules
//! and serves, and [`RunningHost::shutdown`] drains. The program `fanfare` and the tests use the
//! same functions.

mod builder;
mod calls;
mod channels;
mod client_auth;
mod clients;
mod due_times;
mod echo_server;
mod event_server;
mod events;
mod hooks;
mod inspector;
mod loader;
mod messages;
mod running;
mod schedules;
mod send;
mod sessions;
mod start;
mod state_lock;
mod stop;
mod streams;
mod subscriptions;
mod threads;
mod topics;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use builder::Builder;
pub use channels::{ChannelItem, ChannelReader};
pub use client_auth::check_client_keys;
pub use echo_server::EchoServer;
pub use event_server::EventServer;
pub use inspector::{Inspection, Inspector};
pub use messages::GuestMessage;
pub use running::{RunningHost, Stopped};
use state_lock::StateLock;

use crate::admin::LostLineCount;
use crate::blocking;
use crate::cluster::JoinError;
use crate::config::Config;
use crate::document::Faults;
use crate::engine::CacheError;
use crate::isolate::Probe;
use crate::net::{BindError, Listener};
use crate::ports::{ChangePorts, Peers};
use crate::registry::{Module, PlacesOf};
use crate::swap::Progress;
use crate::triggers::events::Token;
use crate::triggers::websocket::Auth;

/// A configured host whose listeners are bound. It does not serve yet. [`Builder::bind`] returns
/// one.
pub struct Host {
    addr: SocketAddr,
    admin_addr: SocketAddr,
    events_addr: Option<SocketAddr>,
    config: Arc<Config>,
    /// `None` for a server of `cluster.servers` that is no frontend.
    http: Option<Listener>,
    admin: Listener,
    /// The listener of the event service.
    events: Option<Listener>,
    /// The token of the event service, as text and as a digest.
    token: Option<(String, Token)>,
    state_lock: Option<StateLock>,
    /// The keys of clients' tokens.
    client_auth: Option<Arc<Auth>>,
    compiler: PathBuf,
    modules: Vec<Module>,
    probe: Option<Probe>,
    progress: Arc<dyn Progress>,
    lost_log_lines: LostLineCount,
    handler: Option<messages::Handler>,
    places: Option<Places>,
    /// Replaces the cluster.
    peers: Option<Arc<dyn Peers>>,
    change_ports: Option<ChangePorts>,
    /// Whether errors show what instances wrote to standard error.
    explained: bool,
}

/// The number of brokers, and the modules that they and the master hold: see [`Builder::places`].
type Places = (u32, PlacesOf);

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings have faults.
    #[error(transparent)]
    Settings(#[from] Faults),
    /// The options are not a value that JSON can express, such as a map whose keys are lists.
    #[error("Builder::options: cannot write the options as JSON: {0}")]
    Options(serde_json::Error),
    /// The options are too large.
    #[error("Builder::options: the options have {size} bytes as JSON, but at most {max} are allowed; pass less")]
    OptionsSize {
        /// Their size as JSON, in bytes.
        size: usize,
        /// The most bytes.
        max: u64,
    },
    /// [`Config::workers`] was set to 0 in code.
    #[error("Builder::config: workers is 0, but a host needs a worker; set at least 1")]
    NoWorker,
    /// A module in memory has an invalid name, or the name of another one.
    #[error("Builder::module: {name:?} {why}")]
    Module {
        /// The name.
        name: String,
        /// What is wrong with it, and how to fix it.
        why: String,
    },
    /// The builder has no compiler.
    #[error(
        "no program compiles components: pass the path of the program `fanfare` to Builder::compiler, or \
         std::env::current_exe() if main begins with \
         `if let Some(code) = fanfare::compile_if_asked() {{ return code; }}`"
    )]
    NoCompiler,
    /// This process was started to compile a component for another host.
    #[error(
        "this process was started to compile a component: let main begin with \
         `if let Some(code) = fanfare::compile_if_asked() {{ return code; }}`, or pass the path of the program \
         `fanfare` to Builder::compiler"
    )]
    CompilerProcess,
    /// The token of the event service cannot be read, or is unusable.
    #[error("{key}: {why}")]
    EventToken {
        /// The setting that names it.
        key: &'static str,
        /// What is wrong, and how to fix it. Contains no part of the token.
        why: String,
    },
    /// A key of clients' tokens cannot be read, or is unusable.
    #[error("{place}: {why}")]
    TokenKey {
        /// The setting that names it, and where it is.
        place: String,
        /// What is wrong, and how to fix it. Contains no part of the key.
        why: String,
    },
    /// [`Config::events`] was set in code to an address that other machines reach, without a token.
    #[error(
        "events.listen is {address}, which other machines may reach, but the service has no token: set \
         events.tokenFile or events.tokenVariable, or use a loopback address"
    )]
    EventAddress {
        /// The address.
        address: SocketAddr,
    },
    /// A listener could not bind its address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The folder of the modules could not be read.
    #[error("{path}: cannot read the folder of the modules: {source}")]
    ModulesDir {
        /// The setting `modulesDir`.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The cache of compiled components in `stateDir` could not be opened.
    #[error(transparent)]
    Cache(Box<dyn std::error::Error + Send + Sync>),
    /// Another host uses `stateDir`.
    #[error("{path}: the host {holder} uses this stateDir; stop it, or set stateDir to a folder for this host alone")]
    StateDir {
        /// The setting `stateDir`.
        path: PathBuf,
        /// The id of its node, and its process.
        holder: String,
    },
    /// The node cannot join its cluster.
    #[error(transparent)]
    Cluster(#[from] JoinError),
    /// The WebAssembly engine could not start, because this machine lacks something that wasmtime
    /// needs. The string is wasmtime's reason.
    #[error("could not start the WebAssembly engine: {0}")]
    Engine(String),
    /// A thread or its runtime could not be created.
    #[error("could not start a thread of the host: {0}{hint}", hint = blocking::remedy(.0))]
    Worker(std::io::Error),
}

impl From<CacheError> for StartError {
    fn from(error: CacheError) -> StartError {
        StartError::Cache(error.into())
    }
}

impl Host {
    /// Returns a builder with the default settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the address of the HTTP listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address of the admin listener.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Returns the address of the event service. `None` without `events.listen`.
    pub fn events_addr(&self) -> Option<SocketAddr> {
        self.events_addr
    }
}
