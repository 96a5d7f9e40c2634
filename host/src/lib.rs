//! A host for modules compiled to WebAssembly components.
//!
//! A [`Host`] loads the modules of a folder, each a component with a `module.json`, and serves them over HTTP. Every
//! worker thread runs an instance of every module, so that a broadcast reaches them all. A module that changes on disk
//! replaces the generation that serves, without a lost call. The program `fanfare` is this library with a command line.
//!
//! # Running a host
//!
//! 1. [`Config::load`] reads `fanfare.json` and returns settings, or [`Faults`] with every fault at once.
//! 2. [`Host::bind`] binds both listeners, [`Host::start`] loads the modules and serves.
//! 3. [`RunningHost::stop`] drains. Dropping a [`RunningHost`] ends it at once.
//!
//! ```no_run
//! use fanfare::{Config, Host, Sources, Stopped};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load(Sources { dir: "/srv/site".into(), ..Sources::default() })?;
//! // Components are compiled in a child process: the program `fanfare`, started with `compile`.
//! let host = Host::bind(config, "/usr/local/bin/fanfare".into())?.start().await?;
//! println!("http://{} serves the modules, http://{} the operator", host.http_address(), host.admin_address());
//!
//! // Something else decides when the host reads a module's folder again, and when it stops.
//! let reloaded = host.reload("hello").await?;
//! println!("{}: {:?}", reloaded.module, reloaded.outcome);
//! if host.stop().await == Stopped::CutOff {
//!     println!("some calls had not ended after shutdown.drain");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`api`] has the types of the JSON documents that the operator's listener writes. [`RunningHost::status`] is one of them.
//!
//! The host needs a tokio runtime with IO and time for its listeners; workers have threads of their own. It reads no
//! variables and no arguments of the process: [`Sources`] has them all. It logs with `tracing`, and installs no subscriber.
//!
//! # Settings
//!
//! A [`Config`] can be made from a text, too, and its fields changed before the host starts. The sections are in
//! [`settings`].
//!
//! ```
//! use std::path::Path;
//!
//! let mut config = fanfare::Config::from_text(r#"{ "http": { "listen": "127.0.0.1:0" } }"#, Path::new("/srv/site"))?;
//! config.workers = 2;
//! assert_eq!(config.modules_dir, Path::new("/srv/site/modules"));
//!
//! let faults = fanfare::Config::from_text(r#"{ "worker": 2 }"#, Path::new("/srv/site")).unwrap_err();
//! assert_eq!(faults.to_string(), "fanfare.json:1:3: worker: unknown key; did you mean \"workers\"?");
//! # Ok::<(), fanfare::Faults>(())
//! ```

mod admin;
pub mod api;
mod bindings;
mod call;
mod config;
mod dispatch;
mod document;
mod engine;
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
pub use document::{Fault, Faults, Origin};
pub use host::{Host, RunningHost, StartError, Stopped};
pub use net::BindError;
pub use swap::SwapError;

/// The sections of a [`Config`].
pub mod settings {
    pub use crate::config::{
        AdminConfig, CallsConfig, Capabilities, CorsConfig, EngineConfig, HttpConfig, IsolateConfig, Limits,
        LimitsConfig, LimitsPatch, ModuleConfig, Modules, NodeConfig, ShutdownConfig, SubdomainConfig, SwapConfig,
    };
}
