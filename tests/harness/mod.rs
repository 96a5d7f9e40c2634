//! Starts hosts for tests, and sends requests to them:
//!
//! ```ignore
//! let host = TestHost::with("echo").start().await;
//! let answer = host.post("/api/echo/echo", "hello").await;
//! assert_eq!((answer.status, answer.text()), (200, "hello"));
//! ```

#![allow(dead_code)] // A helper may have no user for a while.

mod authority;
mod binary;
mod browser;
mod client;
pub mod crowd;
mod dir;
mod gate;
mod guests;
mod http2;
mod log;
mod nats;
mod process;
mod proxy;
mod random;
mod readers;
mod redis;
pub mod sse;
mod started;
mod web_server;
pub mod websocket;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanfare::tooling::{Manifest, Peers, PlaceKinds, PlacesOf, Probe, config};
use fanfare::{Builder, Config, Host, Sources, StartError};
use serde_json::{Value, json};

pub use authority::sign_server;
pub use binary::{number, section, vector};
pub use browser::Browser;
pub use client::{Answer, Connection};
pub use dir::TempDir;
pub use gate::Gate;
pub use guests::{by_worker, ends, json_of};
pub use http2::{Http2, Stream};
pub use log::Log;
pub use nats::{Nats, node};
pub use process::spawn;
pub use proxy::Proxy;
pub use random::{Random, rounds, test_duration, variable};
pub use readers::Reader;
pub use redis::Redis;
pub use sse::EventStream;
pub use started::Started;
pub use web_server::WebServer;
pub use websocket::{Received, WebSocket};

/// Returns the folder of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the first of these programs that is in the `PATH`.
pub fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = names.iter().flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    places.into_iter().find(|file| file.is_file())
}

/// Returns the program under test.
pub fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_fanfare").into()
}

/// Builds a host for a test.
pub struct TestHost {
    dir: TempDir,
    config: Value,
    environment: Option<String>,
    probe: Option<Probe>,
    brokers: Option<u32>,
    peers: Option<Arc<dyn Peers>>,
    change: Option<Box<dyn FnOnce(Builder) -> Builder>>,
    watched: bool,
    compiler: PathBuf,
}

impl TestHost {
    /// Starts with one of the test guests or example modules, under its own name.
    pub fn with(module: &str) -> TestHost {
        TestHost::empty().and(module)
    }

    pub fn empty() -> TestHost {
        let config = json!({
            "workers": 2,
            "stateDir": TempDir::STATE,
            "swap": { "watch": false },
            "http": { "listen": "127.0.0.1:0" },
            "admin": { "listen": "127.0.0.1:0" },
            "shutdown": { "drain": "5s", "linger": "100ms" },
        });
        let dir = TempDir::new();
        dir.make_state_dir();
        TestHost {
            dir,
            config,
            environment: None,
            probe: None,
            brokers: None,
            peers: None,
            change: None,
            watched: false,
            compiler: binary(),
        }
    }

    /// Adds a module under its own name.
    pub fn and(self, module: &str) -> TestHost {
        self.and_as(module, module)
    }

    /// Adds a module under another name.
    pub fn and_as(self, module: &str, name: &str) -> TestHost {
        let from = source_of(module);
        let to = self.dir.path().join("modules").join(name);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(&from).unwrap() {
            let path = entry.unwrap().path();
            let wanted = path.extension().is_some_and(|extension| extension == "wasm" || extension == "json");
            if wanted {
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
        match module {
            "test-party" => self.grant(name, json!({ "reload": true })),
            _ => self,
        }
    }

    /// Merges a patch into a module's manifest.
    pub fn manifest(self, name: &str, patch: Value) -> TestHost {
        let file = self.dir.path().join("modules").join(name).join("module.json");
        let mut manifest: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        merge(&mut manifest, patch);
        fs::write(&file, manifest.to_string()).unwrap();
        self
    }

    /// Changes the text of a module's manifest.
    pub fn manifest_text(self, name: &str, change: impl FnOnce(String) -> String) -> TestHost {
        let file = self.dir.path().join("modules").join(name).join("module.json");
        fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
        self
    }

    /// Sets a limit of a module, as the operator.
    pub fn limit(self, module: &str, limit: &str, value: impl Into<Value>) -> TestHost {
        let value = value.into();
        self.config(json!({ "modules": { module: { "limits": { limit: value } } } }))
    }

    /// Grants a module capabilities, as the operator.
    pub fn grant(self, module: &str, grants: Value) -> TestHost {
        self.config(json!({ "modules": { module: { "grants": grants } } }))
    }

    /// Merges a patch into `fanfare.json`.
    pub fn config(mut self, patch: Value) -> TestHost {
        merge(&mut self.config, patch);
        self
    }

    /// Sets the environment, like `--env`.
    pub fn environment(self, name: &str) -> TestHost {
        TestHost { environment: Some(name.to_owned()), ..self }
    }

    pub fn workers(self, count: u32) -> TestHost {
        self.config(json!({ "workers": count }))
    }

    /// Writes a file into the host's folder.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> TestHost {
        self.dir.write(name, text);
        self
    }

    /// Makes the host watch its files, `fanfare.json` too.
    pub fn watched(self) -> TestHost {
        // With this poll interval, the host notices only the changes that the system reports.
        TestHost { watched: true, ..self.config(json!({ "swap": { "watch": true, "poll": "1h" } })) }
    }

    /// Uses the folder of a stopped host, with its modules and its state.
    pub fn again(self, previous: TempDir) -> TestHost {
        TestHost { dir: previous, ..self }
    }

    /// Delays compiling a module until the file `open` exists in the host's folder. The compiler
    /// creates the file `reached` when it begins to wait, and `early` when it compiles another
    /// module meanwhile.
    pub fn gated_compiler(self, module: &str) -> TestHost {
        let (dir, binary) = (self.dir.path().display(), binary());
        let waits = format!(": > {dir}/reached; while [ ! -e {dir}/open ]; do sleep 0.02; done");
        let other = format!("if [ -e {dir}/reached ] && [ ! -e {dir}/open ]; then : > {dir}/early; fi");
        let cases = format!("case $2 in */modules/{module}/*) {waits};; *) {other};; esac");
        let script = format!("#!/bin/sh\n{cases}\nexec {} \"$@\"\n", binary.display());
        let compiler = self.dir.write("compiler", script);
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
        TestHost { compiler, ..self }
    }

    /// Sets a function that the host calls when a call starts.
    pub fn probe(mut self, probe: Probe) -> TestHost {
        self.probe = Some(probe);
        self
    }

    /// Starts brokers and a master. A module lives in them if `places` in its config says so.
    pub fn brokers(self, count: u32) -> TestHost {
        TestHost { brokers: Some(count), ..self }
    }

    /// Sets the port to other nodes.
    pub fn peers(self, peers: Arc<dyn Peers>) -> TestHost {
        TestHost { peers: Some(peers), ..self }
    }

    /// Changes the builder of the host.
    pub fn builder(self, change: impl FnOnce(Builder) -> Builder + 'static) -> TestHost {
        TestHost { change: Some(Box::new(change)), ..self }
    }

    pub async fn start(self) -> Started {
        self.try_start().await.expect("the host starts")
    }

    /// Starts a host that may not start.
    pub async fn try_start(self) -> Result<Started, StartError> {
        let log = Log::capture();
        let sources = Sources { environment: self.environment, dir: self.dir.path().to_owned(), ..Sources::default() };
        let text = self.config.to_string();
        let config = match self.watched {
            true => {
                self.dir.write("fanfare.json", text);
                Config::load(sources)
            }
            false => config::from_text(Some(&text), self.dir.path(), &sources),
        };
        let config = config.expect("the configuration is valid");
        let host = Host::builder().config(config).compiler(self.compiler);
        let host = match self.change {
            Some(change) => change(host),
            None => host,
        };
        let host = match self.probe {
            Some(probe) => host.probe(probe),
            None => host,
        };
        let host = match self.brokers {
            Some(count) => host.places(count, places_of as PlacesOf),
            None => host,
        };
        let host = match self.peers {
            Some(peers) => host.peers(peers),
            None => host,
        };
        let running = host.start().await?;
        let settings = self.config;
        Ok(Started {
            http: running.addr(),
            admin: running.admin_addr(),
            events: running.events_addr(),
            running: Some(running),
            dir: self.dir,
            log,
            settings,
        })
    }
}

/// Reads the places of a module from its config: `"places": ["brokers", "master"]`.
fn places_of(manifest: &Manifest) -> PlaceKinds {
    let places = manifest.config.get("places").and_then(Value::as_array);
    let named = |name: &str| places.is_some_and(|places| places.iter().any(|place| place == name));
    PlaceKinds { brokers: named("brokers"), master: named("master") }
}

/// Returns the folder of a test guest or example module.
pub fn source_of(module: &str) -> PathBuf {
    let candidates = [root().join("tests/guests").join(module), root().join("modules").join(module)];
    candidates.into_iter().find(|dir| dir.join("module.json").exists()).unwrap_or_else(|| panic!("no module {module}"))
}

fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

/// Waits until `condition` is true. Fails after ten seconds with its description.
pub async fn eventually<F: Future<Output = bool>>(description: &str, condition: impl FnMut() -> F) {
    eventually_within(10, description, condition).await;
}

/// The same, for what takes longer, such as an election of NATS servers.
pub async fn eventually_within<F: Future<Output = bool>>(
    seconds: u64,
    description: &str,
    mut condition: impl FnMut() -> F,
) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed().as_secs() < seconds, "not true within {seconds} s: {description}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reports that a test is skipped because something is missing. Fails the test instead if
/// `FANFARE_TEST_REQUIRE` is `all`.
pub fn not_run(reason: &str) {
    assert_ne!(std::env::var("FANFARE_TEST_REQUIRE").as_deref(), Ok("all"), "not run: {reason}");
    println!("not run: {reason}");
}

/// The sum of all samples of a metric whose labels contain all of `labels`. `<name>_max` is another
/// metric.
pub fn metric_of(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let is_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| !rest.starts_with("_max"));
    let samples = metrics.lines().filter(is_it).filter(|line| labels.iter().all(|label| line.contains(label)));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
