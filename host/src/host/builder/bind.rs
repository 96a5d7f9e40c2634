//! Checks what a [`Builder`] has collected, and binds the listeners.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Builder, Settings};
use crate::config::{Config, formats};
use crate::document::source::MAX_BYTES;
use crate::engine;
use crate::host::client_auth::client_auth;
use crate::host::event_server::event_token;
use crate::host::{Host, RunningHost, StartError, state_lock};
use crate::net::{Listener, ListenerId, bind};
use crate::registry::Module;

impl Builder {
    /// Reads the settings and binds both listeners, without loading a module.
    /// [`Host::start`](crate::Host::start) does the rest. For a program that has something to do in
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
        let client_auth = client_auth(&config)?;
        // A server of `cluster.servers` that is no frontend has no clients.
        let is_frontend = config.server.as_ref().is_none_or(|server| server.frontend);
        let http = is_frontend.then(|| bind(ListenerId::Http, config.http.listen)).transpose()?;
        let admin = bind(ListenerId::Admin, config.admin.listen)?;
        let events = config.events.listen.map(|listen| bind(ListenerId::Events, listen)).transpose()?;
        // A program that prepares something before the start learns first that it cannot start.
        let state_lock = state_lock::lock(&config.state_dir, &config.node.id)
            .map_err(|holder| StartError::StateDir { path: config.state_dir.clone(), holder })?;
        Ok(Host {
            addr: http.as_ref().map_or(Ok(config.http.listen), Listener::address).map_err(StartError::Worker)?,
            admin_addr: admin.address().map_err(StartError::Worker)?,
            events_addr: events.as_ref().map(Listener::address).transpose().map_err(StartError::Worker)?,
            config: Arc::new(config),
            http,
            admin,
            events,
            token,
            state_lock,
            client_auth,
            compiler,
            modules: self.modules,
            probe: self.probe,
            progress: self.progress,
            lost_log_lines: self.lost_log_lines,
            handler: self.handler,
            places: self.places,
            peers: self.peers,
            change_ports: self.change_ports,
            explained: self.explained,
        })
    }

    /// Reads the settings, binds both listeners, loads the modules and serves.
    ///
    /// Resolves when the host has tried to load every module once. A module that does not load does
    /// not stop the start: [`RunningHost::not_ready`](crate::RunningHost::not_ready) has the
    /// reasons.
    ///
    /// Call it in a tokio runtime with I/O and time enabled. The listeners run there, and the
    /// workers run in threads of their own.
    pub async fn start(self) -> Result<RunningHost, StartError> {
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
