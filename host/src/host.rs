//! Composition: builds the parts of a host, and owns the order of its start and stop.
//!
//! [`Host::bind`] binds the listeners, [`Host::start`] loads the modules and serves, and
//! [`RunningHost::stop`] drains. The program `fanfare` and the tests use the same three functions.

mod inspector;
mod running;
mod start;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use inspector::{Inspection, Inspector};
pub use running::{RunningHost, Stopped};

use crate::admin::LostLineCount;
use crate::config::Config;
use crate::engine::CacheError;
use crate::isolate::Probe;
use crate::net::{BindError, Listener, ListenerId, bind};
use crate::ports::{NoPeers, Peers};
use crate::registry::PlacesOf;
use crate::swap::{LogProgress, Progress};

/// A configured host whose listeners are bound. It does not serve yet.
pub struct Host {
    config: Arc<Config>,
    http: Listener,
    admin: Listener,
    compiler: PathBuf,
    probe: Option<Probe>,
    progress: Arc<dyn Progress>,
    lost_lines: LostLineCount,
    /// The number of brokers, and the modules that they and the master hold: see
    /// [`Host::with_places`].
    places: Option<(u32, PlacesOf)>,
    peers: Arc<dyn Peers>,
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
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
    /// The WebAssembly engine could not start, because this machine lacks something that wasmtime
    /// needs. The string is wasmtime's reason.
    #[error("could not start the WebAssembly engine: {0}")]
    Engine(String),
    /// A thread or its runtime could not be created.
    #[error("could not start a worker: {0}")]
    Worker(std::io::Error),
}

impl From<CacheError> for StartError {
    fn from(error: CacheError) -> StartError {
        StartError::Cache(error.into())
    }
}

impl Host {
    /// Binds both listeners. `compiler` is the program that compiles components in child processes:
    /// the executable `fanfare`.
    pub fn bind(config: Config, compiler: PathBuf) -> Result<Host, StartError> {
        let http = bind(ListenerId::Http, config.http.listen)?;
        let admin = bind(ListenerId::Admin, config.admin.listen)?;
        Ok(Host {
            config: Arc::new(config),
            http,
            admin,
            compiler,
            probe: None,
            progress: Arc::new(LogProgress),
            lost_lines: Arc::new(|| 0),
            places: None,
            peers: Arc::new(NoPeers),
        })
    }

    /// Calls `probe` for every call that starts.
    #[doc(hidden)]
    #[must_use]
    pub fn with_probe(self, probe: Probe) -> Host {
        Host { probe: Some(probe), ..self }
    }

    /// Reports the progress of compiling to `progress` instead of the log.
    #[doc(hidden)]
    #[must_use]
    pub fn with_progress(self, progress: Arc<dyn Progress>) -> Host {
        Host { progress, ..self }
    }

    /// Sets the source of the metric `fanfare_log_lines_lost`.
    #[doc(hidden)]
    #[must_use]
    pub fn with_lost_lines(self, lost_lines: LostLineCount) -> Host {
        Host { lost_lines, ..self }
    }

    /// Starts brokers and the master, and sets which modules they hold. No setting does so yet. For
    /// tests of modules that live there.
    #[doc(hidden)]
    #[must_use]
    pub fn with_places(self, brokers: u32, places_of: PlacesOf) -> Host {
        Host { places: Some((brokers, places_of)), ..self }
    }

    /// Sets the port to other nodes. No setting does so yet. For tests of calls between nodes.
    #[doc(hidden)]
    #[must_use]
    pub fn with_peers(self, peers: Arc<dyn Peers>) -> Host {
        Host { peers, ..self }
    }

    /// Returns the address of the HTTP listener.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.address().ok()
    }

    /// Returns the address of the admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.address().ok()
    }
}
