//! A plugin host for WebAssembly components.
//!
//! A [`Host`] loads every module of a folder and serves the modules over HTTP. A module is a folder
//! with a `module.json` and a component. Every worker thread runs an instance of every module, so
//! that a broadcast reaches all of them. When a module changes on disk, the host replaces the
//! running generation without losing a call. The program `fanfare` is a command line for this
//! library.
//!
//! # Running a host
//!
//! 1. [`Config::load`] reads `fanfare.json` and returns the settings, or every fault ([`Faults`]).
//! 2. [`Host::bind`] binds the HTTP listener and the admin listener.
//! 3. [`Host::start`] loads the modules and serves.
//! 4. [`RunningHost::stop`] drains and stops. Dropping a [`RunningHost`] stops it at once.
//!
//! ```no_run
//! use fanfare::{Config, Host, Sources, Stopped};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load(Sources { dir: "/srv/site".into(), ..Sources::default() })?;
//! // The host compiles components in a child process, `fanfare compile`.
//! let host = Host::bind(config, "/usr/local/bin/fanfare".into())?.start().await?;
//! println!("modules: http://{}, admin: http://{}", host.http_address(), host.admin_address());
//!
//! // Load the module's folder again, for example after a deployment.
//! let reloaded = host.reload("hello").await?;
//! println!("{}: {:?}", reloaded.module, reloaded.outcome);
//!
//! if host.stop().await == Stopped::CutOff {
//!     println!("some calls did not end within shutdown.drain");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The folder `examples` beside this library has complete programs.
//!
//! Call [`Host::start`] in a tokio runtime with I/O and time enabled. The listeners run there, and
//! the workers run in threads of their own.
//!
//! The library reads no environment variables and no arguments: pass them in [`Sources`]. It logs
//! with `tracing` and installs no subscriber.
//!
//! [`RunningHost::status`] returns the same document as the admin listener. [`api`] has the types
//! of all such documents, for clients of the admin listener.
//!
//! # Settings
//!
//! A [`Config`] can also come from a text. Its fields can be changed before the host starts. The
//! types of its sections are in [`settings`].
//!
//! ```
//! use std::path::Path;
//!
//! use fanfare::Config;
//!
//! let root = Path::new("/srv/site");
//! let mut config = Config::from_text(r#"{ "http": { "listen": "127.0.0.1:0" } }"#, root)?;
//! config.workers = 2;
//! assert_eq!(config.modules_dir, Path::new("/srv/site/modules"));
//!
//! let faults = Config::from_text(r#"{ "worker": 2 }"#, root).unwrap_err();
//! let message = "fanfare.json:1:3: worker: unknown key; did you mean \"workers\"?";
//! assert_eq!(faults.to_string(), message);
//! # Ok::<(), fanfare::Faults>(())
//! ```
//!
//! # Errors
//!
//! [`StartError`] says why a host did not start. A module that does not load does not stop the
//! start: the other modules serve, and [`RunningHost::status`] shows the reason. [`SwapError`] says
//! why a reload or a rollback was refused. The previous generation then keeps serving. The types
//! inside of both are in [`errors`].

mod admin;
pub mod api;
mod bindings;
mod call;
mod config;
mod dispatch;
mod document;
mod engine;
mod events;
mod files;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod host;
mod isolate;
mod net;
mod ports;
mod registry;
mod swap;
#[doc(hidden)]
pub mod tooling;
mod triggers;
mod worker;

pub use config::{Config, Flags, Sources};
pub use document::{Fault, Faults, ValueOrigin};
pub use events::{EventItem, EventReader};
pub use host::{Host, RunningHost, StartError, Stopped};
pub use net::BindError;
pub use swap::SwapError;

/// The types inside of [`StartError`] and [`SwapError`].
pub mod errors {
    pub use crate::call::{CallError, Failure, IsolateId, Payload};
    pub use crate::engine::AddressSpaceError;
    pub use crate::isolate::{Crash, End, SnapshotError};
    pub use crate::net::ListenerId;
    pub use crate::swap::ModuleError;
}

/// The sections of a [`Config`].
pub mod settings {
    pub use crate::config::{
        AdminConfig, CallsConfig, Capabilities, CorsConfig, EngineConfig, HttpConfig, IsolateConfig, Limits,
        LimitsConfig, LimitsPatch, MasterConfig, ModuleConfig, Modules, NodeConfig, ShutdownConfig, SubdomainConfig,
        SwapConfig,
    };
}
