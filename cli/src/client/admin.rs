//! Chooses the host that a command talks to: that of the project around the current folder.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::FalseyValueParser;
use http::Method;
use serde::Deserialize;

use super::{ClientError, Endpoint, printable};
use crate::config::{FileArgs, SettingsArgs};
use crate::machine::is_here;
use crate::project::{around, module_of};
use crate::terminal::eprint;
use fanfare::settings::ServerConfig;
use fanfare::{Config, Faults};

/// Flags of every command that talks to a running host.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AdminArgs {
    /// The address of the host's admin listener, or its `http://` URL; overrides `admin.listen`.
    #[arg(long, env = "FANFARE_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// The settings file, which names the admin listener [default: the project's fanfare.json].
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The environment: selects a section of `environments` [default: development].
    #[arg(long, value_name = "NAME", env = "FANFARE_ENV")]
    pub env: Option<String>,
    /// The server of `cluster.servers` to talk to [default: the first of this machine that runs].
    #[arg(long, env = "FANFARE_NODE_ID", value_name = "ID")]
    pub node: Option<String>,
    /// Print the host's response as JSON, unchanged.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// A client of the admin listener of one host.
#[derive(Debug, Clone)]
pub struct AdminClient {
    pub(super) endpoint: Endpoint,
    /// The folder of the project that chose the host. `None` outside a project.
    project: Option<PathBuf>,
    /// Whether the operator named the host, with `--admin` or its variable.
    is_named: bool,
    /// Whether to print the host's response unchanged.
    pub json: bool,
}

/// The part of the status that says which host answers.
#[derive(Deserialize)]
struct Identity {
    node: String,
    #[serde(default)]
    root: String,
    #[serde(default)]
    modules: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl AdminArgs {
    /// Chooses the host: that of `--admin`, else that of the settings. `module` is the argument
    /// that names a module; if it is a folder, its project counts instead of that of the current
    /// folder.
    pub fn client(&self, module: Option<&str>) -> Result<AdminClient, ClientError> {
        let dir = module.and_then(|argument| module_of(argument).1).unwrap_or_else(|| PathBuf::from("."));
        let place = around(&dir);
        let (config, faults) = self.settings(place.project);
        let named = self.admin.as_deref().filter(|text| !text.is_empty());
        let endpoint = match named {
            Some(text) => text.parse().map_err(|error| ClientError::Address { text: text.to_owned(), error })?,
            None => listener(&config, faults)?,
        };
        let is_project = place.is_project || config.file.is_some();
        let project = is_project.then_some(config.root);
        Ok(AdminClient { endpoint, project, is_named: named.is_some(), json: self.json })
    }
}

impl AdminArgs {
    fn settings(&self, project: PathBuf) -> (Config, Faults) {
        let file = FileArgs { config: self.config.clone(), env: self.env.clone(), modules: None };
        let settings = SettingsArgs { node: self.node.clone(), ..file.alone() };
        let mut sources = settings.sources(project);
        // The value of this variable may be a URL here. The flag reads it.
        sources.variables.remove("FANFARE_ADMIN_LISTEN");
        Config::load_with_faults(&sources)
    }

    /// Clients of the servers of this machine that run, by their ids and types, frontends first.
    pub fn local_clients(&self) -> Vec<(String, String, AdminClient)> {
        let place = around(Path::new("."));
        let (config, _) = self.settings(place.project);
        let mut running: Vec<_> = servers(&config).collect();
        running.sort_by_key(|(server, _)| !server.frontend);
        let client = |(server, endpoint): (&ServerConfig, Endpoint)| {
            let (project, is_named) = (Some(config.root.clone()), self.admin.is_some());
            let client = AdminClient { endpoint, project, is_named, json: self.json };
            (server.id.clone(), server.server.clone(), client)
        };
        running.into_iter().map(client).collect()
    }
}

/// Whether faults of the settings may hide the values of a section.
pub fn hide(faults: &Faults, section: &str) -> bool {
    let sections = faults.list().iter().map(|fault| fault.key.split('.').next().unwrap_or_default());
    sections.into_iter().any(|at| ["", section, "environments"].contains(&at))
}

/// How long a server of this machine may take to accept a connection.
const CONNECT: Duration = Duration::from_millis(500);

/// The listener of the server that the settings name, else of the first one of this machine that
/// accepts a connection. `None` without servers, and if none runs.
fn server(config: &Config) -> Option<Endpoint> {
    match &config.server {
        Some(own) if is_here(&own.host) => Endpoint::of_listener(config.admin.listen),
        Some(own) => format!("{}:{}", own.host, own.port).parse().ok(),
        None => servers(config).map(|(_, endpoint)| endpoint).next(),
    }
}

/// The servers of this machine that accept a connection, and their admin listeners.
fn servers(config: &Config) -> impl Iterator<Item = (&ServerConfig, Endpoint)> {
    let here = config.servers.iter().filter(|server| is_here(&server.host));
    here.filter_map(|server| {
        let endpoint = Endpoint::of_listener(SocketAddr::new(config.admin.listen.ip(), server.port))?;
        let address = endpoint.authority.as_str().parse().ok()?;
        TcpStream::connect_timeout(&address, CONNECT).is_ok().then_some((server, endpoint))
    })
}

/// The listener that the settings name. Faults in other sections do not matter.
fn listener(config: &Config, faults: Faults) -> Result<Endpoint, ClientError> {
    // With a fault of `node.id`, another server than the one that is meant would answer.
    if hide(&faults, "admin") || faults.list().iter().any(|fault| fault.key == "node.id") {
        return Err(ClientError::Settings(faults));
    }
    if let Some(endpoint) = server(config) {
        return Ok(endpoint);
    }
    let listen = config.admin.listen;
    let endpoint = Endpoint::of_listener(listen).filter(|_| listen.port() != 0);
    endpoint.ok_or(ClientError::AnyPort(listen))
}

impl AdminClient {
    /// Says on standard error which host answers. If it is that of another project, warns, or
    /// refuses a command that changes it, unless the operator named this host. Returns the names of
    /// the host's modules.
    pub async fn introduce(&self, effect: Effect) -> Result<Vec<String>, ClientError> {
        let identity: Identity = match self.send(Method::GET, "/v1/status", None).await {
            Ok(response) => match response.parse() {
                Ok(identity) => identity,
                // The command itself reports what is wrong.
                Err(_) => return Ok(Vec::new()),
            },
            Err(ClientError::Refused(_) | ClientError::Strange { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        match self.stranger(&identity) {
            Some(stranger) if effect == Effect::Changes && !self.is_named => {
                return Err(ClientError::OtherProject { stranger, endpoint: self.endpoint.clone() });
            }
            Some(stranger) => eprint(&format!("warning: {stranger}; set admin.listen or --admin to use another one\n")),
            None if self.json => {}
            None => eprint(&self.introduction(&identity)),
        }
        Ok(identity.modules.into_iter().map(|module| module.name).collect())
    }

    /// The node that answers, if it is the host of the project in this folder.
    pub async fn node_of(&self, project: &Path) -> Option<String> {
        let identity: Identity = self.send(Method::GET, "/v1/status", None).await.ok()?.parse().ok()?;
        is_same(project, Path::new(&identity.root)).then(|| printable(&identity.node))
    }

    /// What is wrong with a host that is not that of the project.
    fn stranger(&self, identity: &Identity) -> Option<String> {
        let (endpoint, node, root) = (&self.endpoint, printable(&identity.node), printable(&identity.root));
        let project = self.project.as_deref()?;
        // The folders of another machine have other names.
        if !endpoint.is_here() || root.is_empty() || is_same(project, Path::new(&identity.root)) {
            return None;
        }
        let project = printable(&project.to_string_lossy());
        Some(format!("the host at {endpoint} is {node} in {root}, not that of this project, {project}"))
    }

    fn introduction(&self, identity: &Identity) -> String {
        let (endpoint, node, root) = (&self.endpoint, printable(&identity.node), printable(&identity.root));
        match root.is_empty() {
            true => format!("host {node} at {endpoint}\n"),
            false => format!("host {node} in {root} at {endpoint}\n"),
        }
    }
}

/// What a command does to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It shows or uses what runs.
    Uses,
    /// It replaces what runs.
    Changes,
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

#[cfg(test)]
impl AdminClient {
    /// A client outside a project.
    pub fn of(address: &str) -> AdminClient {
        AdminClient { endpoint: address.parse().unwrap(), project: None, is_named: true, json: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(address: &str, project: Option<&str>, root: &str) -> Option<String> {
        let client = AdminClient { project: project.map(PathBuf::from), ..AdminClient::of(address) };
        client.stranger(&Identity { node: "node-1".to_owned(), root: root.to_owned(), modules: Vec::new() })
    }

    #[test]
    fn a_host_of_another_project_is_a_stranger_unless_it_is_on_another_machine() {
        let other = stranger("127.0.0.1:8081", Some("/srv/a"), "/srv/b");
        let words = "the host at 127.0.0.1:8081 is node-1 in /srv/b, not that of this project, /srv/a";
        assert_eq!(other.as_deref(), Some(words));
        for (address, project, root) in [
            ("127.0.0.1:8081", Some("/srv/a"), "/srv/a"),
            ("10.0.0.7:8081", Some("/srv/a"), "/srv/b"),
            ("127.0.0.1:8081", None, "/srv/b"),
            ("127.0.0.1:8081", Some("/srv/a"), ""),
        ] {
            assert_eq!(stranger(address, project, root), None, "{address} {project:?} {root}");
        }
    }

    #[test]
    fn the_settings_of_the_project_name_the_host() {
        let temp = tempfile::tempdir().unwrap();
        let module = temp.path().join("modules/m");
        std::fs::create_dir_all(&module).unwrap();
        std::fs::write(module.join("module.json"), "{}").unwrap();
        let settings = |text: &str| std::fs::write(temp.path().join("fanfare.json"), text).unwrap();
        let chosen = |args: &AdminArgs| args.client(module.to_str()).map(|client| client.endpoint.to_string());

        settings(r#"{ "admin": { "listen": "0.0.0.0:9081" }, "wokers": 2 }"#);
        assert_eq!(chosen(&AdminArgs::default()).unwrap(), "127.0.0.1:9081", "other faults do not matter");
        let flag = AdminArgs { admin: Some("host.test:7".to_owned()), ..AdminArgs::default() };
        assert_eq!(chosen(&flag).unwrap(), "host.test:7");
        let wrong = AdminArgs { admin: Some("nowhere".to_owned()), ..AdminArgs::default() };
        assert_eq!(chosen(&wrong).unwrap_err().exit_code(), 2);

        settings(r#"{ "admin": { "listen": "127.0.0.1:0" } }"#);
        let free = chosen(&AdminArgs::default()).unwrap_err().to_string();
        assert!(free.starts_with("admin.listen is 127.0.0.1:0, where the host itself picks the port"), "{free}");
        for broken in ["{", r#"{ "admin": { "listen": "nowhere" } }"#] {
            settings(broken);
            let unknown = chosen(&AdminArgs::default()).unwrap_err();
            assert!(unknown.to_string().contains("the address of the host is unknown"), "{unknown}");
            assert_eq!(chosen(&flag).unwrap(), "host.test:7");
        }
        settings(r#"{ "environments": { "test": { "admin": { "listen": "127.0.0.1:9082" } } } }"#);
        let test = AdminArgs { env: Some("test".to_owned()), ..AdminArgs::default() };
        assert_eq!(chosen(&test).unwrap(), "127.0.0.1:9082");
    }
}
