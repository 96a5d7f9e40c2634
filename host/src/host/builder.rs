//! [`Builder`]: everything that a host needs before it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::Places;
use super::messages::{GuestMessage, Handler};
use crate::admin::LostLineCount;
use crate::call::{Failure, Payload};
use crate::config::{Config, Sources};
use crate::isolate::Probe;
use crate::ports::{ChangePorts, Peers};
use crate::registry::{Module, PlacesOf};
use crate::swap::{LogProgress, Progress};

mod bind;

/// Collects the settings of a host, and starts it. [`Host::builder`](super::Host::builder) returns
/// one.
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
    peers: Option<Arc<dyn Peers>>,
    change_ports: Option<ChangePorts>,
    explained: bool,
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
            peers: None,
            change_ports: None,
            explained: false,
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

    /// Replaces the cluster. For tests of calls between nodes.
    #[doc(hidden)]
    pub fn peers(self, peers: Arc<dyn Peers>) -> Builder {
        Builder { peers: Some(peers), ..self }
    }

    /// Lets errors show what instances wrote to standard error, as in the environments for
    /// development. For `fanfare test`.
    #[doc(hidden)]
    pub fn explained(self) -> Builder {
        Builder { explained: true, ..self }
    }

    /// Changes the ports of the guests. For `fanfare test`, which records what guests send.
    #[doc(hidden)]
    pub fn ports(self, change: ChangePorts) -> Builder {
        Builder { change_ports: Some(change), ..self }
    }
}
