//! [`Builder`]: everything that a host needs before it starts.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::event_server::event_token;
use super::messages::{GuestMessage, Handler};
use super::{Host, Places, StartError};
use crate::admin::LostLineCount;
use crate::call::{Failure, Payload};
use crate::config::{Config, Sources, formats};
use crate::document::source::MAX_BYTES;
use crate::engine;
use crate::isolate::Probe;
use crate::net::{Listener, ListenerId, bind};
use crate::ports::{ChangePorts, NoPeers, Peers};
use crate::registry::{Module, PlacesOf};
use crate::swap::{LogProgress, Progress};

/// Collects the settings of a host, and starts it. [`Host::builder`] returns one.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let host = fanfare::Host::builder()
///     .dir("/srv/site")
///     .listen(([127, 0, 0, 1], 0))
///     .admin_listen(([127, 0, 0, 1], 0))
///     .compiler("/usr/local/bin/fanfare")
///     .start()
///     .await?;
/// println!("http://{}", host.addr());
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    settings: Settings,
    listen: Option<SocketAddr>,
    admin_listen: Option<SocketAddr>,
    modules_dir: Option<PathBuf>,
    modules: Vec<Module>,
    options: Option<Result<Value, serde_json::Error>>,
    compiler: Option<PathBuf>,
    progress: Arc<dyn Progress>,
    lost_log_lines: LostLineCount,
    handler: Option<Handler>,
    probe: Option<Probe>,
    places: Option<Places>,
    peers: Arc<dyn Peers>,
    change_ports: Option<ChangePorts>,
}

/// The origin of the settings.
enum Settings {
    Config(Box<Config>),
    Text { text: String, root: PathBuf },
    Sources(Sources),
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            settings: Settings::Sources(Sources::default()),
            listen: None,
            admin_listen: None,
            modules_dir: None,
            modules: Vec::new(),
            options: None,
            compiler: None,
            progress: Arc::new(LogProgress),
            lost_log_lines: Arc::new(|| 0),
            handler: None,
            probe: None,
            places: None,
            peers: Arc::new(NoPeers),
            change_ports: None,
        }
    }
}

/// The settings come from the last call of [`Builder::dir`], [`Builder::sources`],
/// [`Builder::text`] or [`Builder::config`]. Without any, the builder reads `fanfare.json` in the
/// current folder if it exists.
impl Builder {
    /// Reads `fanfare.json` in this folder, or uses the defaults if there is none. Relative paths
    /// in the settings, such as `modulesDir`, start here.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = fanfare::Host::builder().dir("/srv/site");
    /// let host = builder.compiler("/usr/local/bin/fanfare").start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dir(self, dir: impl Into<PathBuf>) -> Builder {
        self.sources(Sources { dir: dir.into(), ..Sources::default() })
    }

    /// Reads the settings from a file, variables and flags.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use fanfare::{Host, Sources};
    ///
    /// let sources = Sources { config: Some("/etc/site.json".into()), ..Sources::default() };
    /// let host = Host::builder().sources(sources).compiler("/usr/local/bin/fanfare").start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sources(self, sources: Sources) -> Builder {
        Builder { settings: Settings::Sources(sources), ..self }
    }

    /// Reads the settings from a text with the syntax of `fanfare.json`. Relative paths in it start
    /// at `root`.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let settings = r#"{ "workers": 2, "http": { "listen": "127.0.0.1:0" } }"#;
    /// let host = fanfare::Host::builder()
    ///     .text(settings, "/srv/site")
    ///     .compiler("/usr/local/bin/fanfare")
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn text(self, text: impl Into<String>, root: impl Into<PathBuf>) -> Builder {
        Builder { settings: Settings::Text { text: text.into(), root: root.into() }, ..self }
    }

    /// Uses settings that were checked before.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::path::Path;
    ///
    /// let mut config = fanfare::Config::defaults(Path::new("/srv/site"))?;
    /// config.workers = 2;
    /// let host = fanfare::Host::builder()
    ///     .config(config)
    ///     .compiler("/usr/local/bin/fanfare")
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(self, config: Config) -> Builder {
        Builder { settings: Settings::Config(Box::new(config)), ..self }
    }

    /// Sets the address of the HTTP listener instead of `http.listen`. Port 0 takes any free port,
    /// which [`RunningHost::addr`](super::RunningHost::addr) returns.
    ///
    /// ```no_run
    /// let builder = fanfare::Host::builder().listen(([127, 0, 0, 1], 0));
    /// ```
    pub fn listen(self, address: impl Into<SocketAddr>) -> Builder {
        Builder { listen: Some(address.into()), ..self }
    }

    /// Sets the address of the admin listener instead of `admin.listen`. Port 0 takes any free
    /// port, which [`RunningHost::admin_addr`](super::RunningHost::admin_addr) returns.
    ///
    /// ```no_run
    /// let builder = fanfare::Host::builder().admin_listen(([127, 0, 0, 1], 0));
    /// ```
    pub fn admin_listen(self, address: impl Into<SocketAddr>) -> Builder {
        Builder { admin_listen: Some(address.into()), ..self }
    }

    /// Sets the folder of the modules instead of `modulesDir`. A relative path starts at the
    /// current folder.
    ///
    /// ```no_run
    /// let builder = fanfare::Host::builder().modules_dir("/srv/modules");
    /// ```
    pub fn modules_dir(self, dir: impl Into<PathBuf>) -> Builder {
        Builder { modules_dir: Some(dir.into()), ..self }
    }

    /// Adds a module that is in memory. It hides a folder of the same name in `modulesDir`. Like a
    /// folder, it may be rejected when it is loaded, which does not stop the start.
    ///
    /// ```no_run
    /// # async fn run(component: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
    /// use fanfare::{Host, Module};
    ///
    /// let manifest = r#"{ "component": "hello.wasm", "routes": [{ "path": "hi", "handler": "hi" }] }"#;
    /// let host = Host::builder()
    ///     .module(Module::new("hello", manifest, component))
    ///     .compiler("/usr/local/bin/fanfare")
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn module(mut self, module: Module) -> Builder {
        self.modules.push(module);
        self
    }

    /// Sets the options of this host instead of `options` in the settings: any value that serde can
    /// write as JSON, of at most 1 MiB.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(serde::Serialize)]
    /// struct Options {
    ///     region: &'static str,
    /// }
    ///
    /// let host = fanfare::Host::builder()
    ///     .options(Options { region: "eu" })
    ///     .compiler("/usr/local/bin/fanfare")
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn options(self, options: impl Serialize) -> Builder {
        Builder { options: Some(serde_json::to_value(options)), ..self }
    }

    /// Sets the program that compiles components, in child processes: the program `fanfare`, or
    /// this program itself if its `main` calls [`compile_if_asked`](crate::compile_if_asked) first.
    /// A host does not start without it.
    pub fn compiler(self, program: impl Into<PathBuf>) -> Builder {
        Builder { compiler: Some(program.into()), ..self }
    }

    /// Reports to `progress` which module is being compiled. The default, [`LogProgress`], writes
    /// to the log every two seconds.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use std::time::Duration;
    ///
    /// use fanfare::{Compiling, Host, Progress};
    ///
    /// struct Print;
    ///
    /// impl Progress for Print {
    ///     fn interval(&self) -> Duration {
    ///         Duration::from_secs(1)
    ///     }
    ///
    ///     fn report(&self, compiling: &Compiling<'_>) {
    ///         println!("{}: {:?}", compiling.module, compiling.elapsed);
    ///     }
    /// }
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Host::builder().compiler("/usr/local/bin/fanfare");
    /// let host = builder.progress(Arc::new(Print)).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(self, progress: Arc<dyn Progress>) -> Builder {
        Builder { progress, ..self }
    }

    /// Sets the source of the metric `fanfare_log_lines_lost`: a function that returns how many
    /// lines of the program's log were lost. The default returns 0.
    ///
    /// ```no_run
    /// let builder = fanfare::Host::builder().lost_log_lines(|| 0);
    /// ```
    pub fn lost_log_lines(self, lost: impl Fn() -> usize + Send + Sync + 'static) -> Builder {
        Builder { lost_log_lines: Arc::new(lost), ..self }
    }

    /// Handles the messages that guests send to the embedding program, from the first startup on:
    /// see [`RunningHost::on_message`](super::RunningHost::on_message).
    ///
    /// ```no_run
    /// use fanfare::{GuestMessage, Host};
    ///
    /// # async fn run() -> Result<(), fanfare::StartError> {
    /// let host = Host::builder()
    ///     .on_message(async |message: GuestMessage| Ok(message.data))
    ///     .compiler("/usr/local/bin/fanfare")
    ///     .start()
    ///     .await?;
    /// # drop(host);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_message<F, Fut>(self, handler: F) -> Builder
    where
        F: Fn(GuestMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Payload, Failure>> + Send + 'static,
    {
        Builder { handler: Some(Handler::new(handler)), ..self }
    }

    /// Calls `probe` for every call that starts.
    #[doc(hidden)]
    pub fn probe(self, probe: Probe) -> Builder {
        Builder { probe: Some(probe), ..self }
    }

    /// Sets the number of brokers, and which modules they and the master hold, instead of `brokers`
    /// and the manifests. For tests of modules that live there.
    #[doc(hidden)]
    pub fn places(self, brokers: u32, places_of: PlacesOf) -> Builder {
        Builder { places: Some((brokers, places_of)), ..self }
    }

    /// Sets the port to other nodes. No setting does so yet. For tests of calls between nodes.
    #[doc(hidden)]
    pub fn peers(self, peers: Arc<dyn Peers>) -> Builder {
        Builder { peers, ..self }
    }

    /// Changes the ports of the guests. For `fanfare test`, which records what guests send.
    #[doc(hidden)]
    pub fn ports(self, change: ChangePorts) -> Builder {
        Builder { change_ports: Some(change), ..self }
    }

    /// Reads the settings and binds both listeners, without loading a module.
    /// [`Host::start`](super::Host::start) does the rest. For a program that has something to do in
    /// between, once the ports are known.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = fanfare::Host::builder().listen(([127, 0, 0, 1], 0));
    /// let host = builder.compiler("/usr/local/bin/fanfare").bind()?;
    /// println!("modules are loading; then http://{} serves", host.addr());
    /// let host = host.start().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(self) -> Result<Host, StartError> {
        if engine::is_compiler() {
            return Err(StartError::CompilerProcess);
        }
        check_names(&self.modules)?;
        let compiler = self.compiler.ok_or(StartError::NoCompiler)?;
        let mut config = match self.settings {
            Settings::Config(config) => *config,
            Settings::Text { text, root } => Config::from_text(&text, &root)?,
            Settings::Sources(sources) => Config::load(sources)?,
        };
        if let Some(address) = self.listen {
            config.http.listen = address;
        }
        if let Some(address) = self.admin_listen {
            config.admin.listen = address;
        }
        if let Some(dir) = self.modules_dir {
            config.modules_dir = std::path::absolute(&dir).unwrap_or(dir);
        }
        if let Some(options) = self.options {
            config.options = checked(options)?;
        }
        if config.workers == 0 {
            return Err(StartError::NoWorker);
        }
        let token = event_token(&config)?;
        let http = bind(ListenerId::Http, config.http.listen)?;
        let admin = bind(ListenerId::Admin, config.admin.listen)?;
        let events = config.events.listen.map(|listen| bind(ListenerId::Events, listen)).transpose()?;
        Ok(Host {
            addr: http.address().map_err(StartError::Worker)?,
            admin_addr: admin.address().map_err(StartError::Worker)?,
            events_addr: events.as_ref().map(Listener::address).transpose().map_err(StartError::Worker)?,
            config: Arc::new(config),
            http,
            admin,
            events,
            token,
            compiler,
            modules: self.modules,
            probe: self.probe,
            progress: self.progress,
            lost_log_lines: self.lost_log_lines,
            handler: self.handler,
            places: self.places,
            peers: self.peers,
            change_ports: self.change_ports,
        })
    }

    /// Reads the settings, binds both listeners, loads the modules and serves.
    ///
    /// Resolves when the host has tried to load every module once. A module that does not load does
    /// not stop the start: [`RunningHost::not_ready`](super::RunningHost::not_ready) has the
    /// reasons.
    ///
    /// Call it in a tokio runtime with I/O and time enabled. The listeners run there, and the
    /// workers run in threads of their own.
    pub async fn start(self) -> Result<super::RunningHost, StartError> {
        self.bind()?.start().await
    }
}

/// Checks the names of modules in memory.
fn check_names(modules: &[Module]) -> Result<(), StartError> {
    let mut names = BTreeSet::new();
    for module in modules {
        let why = match module.name() {
            name if !formats::is_module(name) => format!("is not {}: rename the module", formats::MODULE_RULE),
            name if !names.insert(name) => "names two modules: rename one of them".to_owned(),
            _ => continue,
        };
        return Err(StartError::Module { name: module.name().to_owned(), why });
    }
    Ok(())
}

/// Returns options that are not too large.
fn checked(options: Result<Value, serde_json::Error>) -> Result<Value, StartError> {
    let options = options.map_err(StartError::Options)?;
    let size = options.to_string().len();
    match u64::try_from(size).is_ok_and(|size| size <= MAX_BYTES) {
        true => Ok(options),
        false => Err(StartError::OptionsSize { size, max: MAX_BYTES }),
    }
}
