//! A plugin host for WebAssembly components.
//!
//! A [`Host`] loads every module of a folder and serves the modules over HTTP. A module is a folder
//! with a `module.json` and a component. Every worker thread runs an instance of every module, so
//! that a broadcast reaches all of them. When a module changes on disk, the host replaces the
//! running generation without losing a call. The program `fanfare` is a command line for this
//! library.
//!
//! # Start a host
//!
//! ```no_run
//! use fanfare::{Host, Stopped};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::builder()
//!     .dir("/srv/site") // has fanfare.json and the folder `modules`; both are optional
//!     .listen(([127, 0, 0, 1], 0)) // any free port
//!     .compiler("/usr/local/bin/fanfare")
//!     .start()
//!     .await?;
//! println!("modules: http://{}, admin: http://{}", host.addr(), host.admin_addr());
//! assert_eq!(host.shutdown().await, Stopped::Clean);
//! # Ok(())
//! # }
//! ```
//!
//! [`Builder::start`] runs in a tokio runtime with I/O and time enabled. The listeners run there,
//! and the workers run in threads of their own.
//!
//! **Compiling.** The host compiles components in child processes. [`Builder::compiler`] names the
//! program: `fanfare`, or the embedding program itself, if its `main` begins with this line, which
//! does nothing except in such a child process:
//!
//! ```no_run
//! # use std::process::ExitCode;
//! # fn main() -> ExitCode {
//! if let Some(code) = fanfare::compile_if_asked() { return code; }
//! # ExitCode::SUCCESS
//! # }
//! ```
//!
//! The folder `examples` beside this library has complete programs.
//!
//! **Nothing is global.** Several hosts can run in one process. Give each its own `stateDir`. The
//! library never exits the process, installs no panic hook, no signal handler and no `tracing`
//! subscriber, and reads no environment variables: pass them in [`Sources`]. Hosts in one process
//! share its file descriptors, memory mappings (`vm.max_map_count`) and address space.
//! [`raise_descriptor_limit`] raises the limit of descriptors, and `engine.addressSpace` bounds the
//! address space that each host reserves.
//!
//! # Modules
//!
//! A module is a folder with a `module.json` and a component below `modulesDir`, or a [`Module`] in
//! memory, which [`Builder::module`] or [`RunningHost::install`] loads:
//!
//! ```no_run
//! use fanfare::Module;
//!
//! # async fn run(host: fanfare::RunningHost, component: Vec<u8>) -> Result<(), fanfare::SwapError> {
//! let manifest = r#"{ "component": "hello.wasm", "routes": [{ "path": "hi", "handler": "hi" }] }"#;
//! host.install(Module::new("hello", manifest, component)).await?;
//! host.remove("hello").await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`RunningHost::not_ready`] tells which modules do not serve, and why. [`RunningHost::status`]
//! returns the same document as the admin listener. [`api`] has the types of all such documents,
//! for clients of the admin listener.
//!
//! # Calls and broadcasts
//!
//! [`RunningHost::call`] runs a route of a module and returns its reply. [`RunningHost::emit`]
//! queues a broadcast in every worker, and [`RunningHost::gather`] waits for the replies. The
//! embedding program has the rights of the operator: it can call inner routes.
//!
//! ```no_run
//! use fanfare::{CallOptions, Payload};
//!
//! # async fn run(host: fanfare::RunningHost) -> Result<(), Box<dyn std::error::Error>> {
//! let reply = host.call("counter", "visits", "home", CallOptions::default()).await?;
//! println!("{}", reply.payload.to_text());
//! host.emit("flags", "set", Payload::json(&("beta", true))?, CallOptions::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Messages
//!
//! [`RunningHost::send_to_worker`] sends a message to a module in one worker, and
//! [`RunningHost::on_message`] receives the messages that modules send to the embedding program:
//!
//! ```no_run
//! use fanfare::{GuestMessage, Payload};
//!
//! # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
//! host.on_message(async |message: GuestMessage| Ok(Payload::from(format!("hello {}", message.module))));
//! let reply = host.send_to_worker(0, Some("chat"), "how are you?").await?;
//! println!("{}", reply.to_text());
//! # Ok(())
//! # }
//! ```
//!
//! # Live streams
//!
//! Clients that send `GET /stream?connectKey=news` receive what [`RunningHost::publish`] sends to
//! the key `news`, as server-sent events. [`settings::SseConfig`] has the settings.
//!
//! ```no_run
//! # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
//! println!("{} clients listen", host.stream_count(Some("news")));
//! host.publish("news", "the first message")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Connected clients
//!
//! Clients that are connected with a WebSocket have sessions. [`RunningHost::send_to_clients`]
//! sends to a session, a user, a group or everyone, [`RunningHost::session`] returns the facts
//! about a client, and [`RunningHost::disconnect_client`] ends its session.
//! [`settings::WebSocketConfig`] has the settings.
//!
//! ```no_run
//! # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
//! use fanfare::Recipient;
//!
//! let ada = Recipient::Uid("ada".to_owned());
//! let reached = host.send_to_clients(ada, "mail", r#"{ "unread": 3 }"#)?;
//! println!("{reached} windows of ada");
//! # Ok(())
//! # }
//! ```
//!
//! # Channels
//!
//! [`RunningHost::publish_to_channel`] publishes to the clients and modules that are subscribed to
//! a channel, and [`RunningHost::subscribe_channel`] reads the messages of one.
//! [`RunningHost::channel_history`] returns those that the channel keeps.
//!
//! ```no_run
//! # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
//! use fanfare::ChannelItem;
//!
//! let mut messages = host.subscribe_channel("room/7")?;
//! host.publish_to_channel("room/7", r#"{ "text": "hello" }"#).await?;
//! match messages.next().await {
//!     ChannelItem::Message(message) => println!("{}", message.payload.to_text()),
//!     ChannelItem::Missed(count) => println!("{count} messages were dropped"),
//!     _ => {}
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Reloads
//!
//! The host swaps a module when its folder changes, and [`RunningHost::reload`] does so at once.
//! [`RunningHost::rollback`] returns to an earlier generation. A swap that fails changes nothing.
//!
//! # Events
//!
//! [`RunningHost::events`] reads everything that happens in the host, such as crashes and swaps, in
//! order. [`RunningHost::log`] adds a message of the embedding program.
//!
//! ```no_run
//! use fanfare::EventItem;
//!
//! # async fn run(host: fanfare::RunningHost) {
//! let mut events = host.events();
//! host.log("the cache is warm", None);
//! while let Some(item) = events.next().await {
//!     match item {
//!         EventItem::Event(record) => println!("{} {}", record.number, record.event.name()),
//!         EventItem::Missed(count) => println!("{count} events were dropped before they were read"),
//!     }
//! }
//! # }
//! ```
//!
//! # Stop a host
//!
//! [`RunningHost::shutdown`] lets running calls end first. [`RunningHost::destroy`] ends them at
//! once, and so does a drop of the host. All methods take `&self`, so that tasks can share a host
//! in an `Arc`. Once a stop has begun, calls return [`CallError::Unavailable`] and reloads
//! [`SwapError::Stopping`].
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
//! start: the other modules serve, and [`RunningHost::not_ready`] has the reason. [`SwapError`]
//! says why a reload or a rollback was refused. The previous generation then keeps serving.
//! [`CallError`] says why a call has no reply. [`KillError`] says which instances a kill could not
//! replace. The types inside of them are in [`errors`].

mod admin;
pub mod api;
mod bindings;
mod blocking;
mod call;
mod cluster;
mod config;
mod dispatch;
mod document;
mod engine;
mod events;
mod files;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod host;
mod hub;
mod isolate;
mod journal;
mod net;
mod outgoing;
mod ports;
mod registry;
mod stores;
mod swap;
#[doc(hidden)]
pub mod tooling;
mod triggers;
mod worker;

pub use call::{
    CallError, CallOptions, ChannelMember, ChannelMessage, ChannelPage, ChannelPosition, Failure, GatherEntry,
    IsolateId, Payload, Pushed, Receipt, Recipient, Reply, SessionInfo, Skipped, StreamEvent,
};
pub use config::{Config, Flags, Sources};
pub use document::{Fault, Faults, ValueOrigin};
pub use engine::compile_if_asked;
pub use events::{EventItem, EventReader};
pub use host::{Builder, ChannelItem, ChannelReader, GuestMessage, Host, RunningHost, StartError, Stopped};
pub use net::{BindError, raise_descriptor_limit};
pub use registry::Module;
pub use swap::{Compiling, KillError, LogProgress, Progress, SwapError};

/// The types inside of [`StartError`], [`SwapError`], [`KillError`] and [`CallError`].
pub mod errors {
    pub use crate::call::Failure;
    pub use crate::engine::AddressSpaceError;
    pub use crate::isolate::{Crash, End, SnapshotError};
    pub use crate::net::ListenerId;
    pub use crate::swap::{KillFailure, KillFailureReason, ModuleError};
}

/// The sections of a [`Config`].
pub mod settings {
    pub use crate::config::{
        AdminConfig, AuthConfig, CallsConfig, Capabilities, ChannelAccess, ChannelNames, CorsConfig, DirAccess,
        DirConfig, Dirs, Endpoints, EngineConfig, EventHistoryConfig, EventQueueConfig, EventTypes, EventsConfig,
        HistoryConfig, HttpConfig, HubConfig, IsolateConfig, KeyValueConfig, Limits, LimitsConfig, LimitsPatch,
        MasterConfig, ModuleConfig, Modules, NodeConfig, Origins, OutgoingConfig, Overlap, PublishQueue, QueueConfig,
        RedisConfig, RedisConnection, ScheduleConfig, SecretConfig, SecretNames, ServerConfig, ServerType,
        ShutdownConfig, SocketListener, SseConfig, StoreConfig, StoreNames, StreamAccess, StreamKeys, SubdomainConfig,
        SwapConfig, TokenAlgorithm, Topics, Variables, VerifyKey, WebSocketConfig,
    };
}
