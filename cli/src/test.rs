//! `fanfare test`: runs the cases of modules, `*.test.json`, each file in a temporary host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::builder::FalseyValueParser;
use serde_json::json;
use tempfile::TempDir;

use super::component;
use super::config::{FileArgs, SettingsArgs};
use super::error::CommandError;
use super::progress;
use super::project::Selection;
use super::temp;
use super::terminal::{exit_code, print};
use case::Case;
use clients::Clients;
use expect::{Answer, cut};
use fanfare::settings::{ModuleConfig, SocketListener};
use fanfare::tooling::document::source;
use fanfare::tooling::{Cache, Manifest, overlay_json};
use fanfare::{Config, Host, RunningHost, StartError};
use file::Tests;
use logs::Lines;
use outside::Outside;
use send::SendError;
use streams::Streams;

mod case;
mod clients;
mod expect;
mod expected;
pub mod file;
mod given;
mod logs;
mod outside;
mod send;
mod socketcluster;
mod streams;
mod websocket;

/// Flags of `fanfare test`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TestArgs {
    /// A module, by its name or folder, or any folder of the project [default: the current folder].
    /// The command tests only this module, or every one of the project that has cases.
    #[arg(value_name = "MODULE|DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    /// The settings file, read for the environment `test` [default: the project's fanfare.json].
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The number of workers [default: 1].
    #[arg(long, value_name = "N", env = "FANFARE_WORKERS")]
    pub workers: Option<String>,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// The result of one case.
struct CaseResult {
    module: String,
    case: Case,
    faults: Vec<String>,
    logs: Vec<String>,
    took: Duration,
}

/// Prints one line per case. Exits with 1 if a case fails or cannot run.
pub fn run(args: &TestArgs) -> ExitCode {
    let begun = Instant::now();
    let report = |result: &CaseResult| {
        if !args.json {
            print(&result.as_text());
        }
    };
    let results = Lines::capture().and_then(|lines| super::runtime()?.block_on(test(args, &lines, &report)));
    exit_code(results.map(|all| summarise(&all, begun.elapsed(), args.json)))
}

/// Prints the summary; returns the exit code.
fn summarise(all: &[CaseResult], took: Duration, json: bool) -> ExitCode {
    let failed = all.iter().filter(|result| !result.faults.is_empty()).count();
    if json {
        let cases: Vec<_> = all.iter().map(CaseResult::as_json).collect();
        let whole = json!({ "passed": all.len() - failed, "failed": failed, "cases": cases });
        print(&format!("{whole:#}\n"));
    } else {
        let cases = if all.len() == 1 { "case" } else { "cases" };
        print(&format!("{} {cases}, {failed} failed, in {:.2} s\n", all.len(), took.as_secs_f64()));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn test(args: &TestArgs, lines: &Lines, report: &dyn Fn(&CaseResult)) -> Result<Vec<CaseResult>, CommandError> {
    let settings = SettingsArgs {
        file: FileArgs { config: args.config.clone(), env: Some("test".to_owned()), modules: None },
        workers: Some(args.workers.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "1".to_owned())),
        ..SettingsArgs::default()
    };
    let selection = Selection::new(args.dir.as_deref(), &settings)?;
    let mut all = Vec::new();
    for dir in &selection.modules {
        let files = file::all(dir)?;
        if files.is_empty() && selection.is_single_module {
            return Err(no_cases(dir));
        }
        // Reads all files before it runs the first one, so that faults in any of them are
        // reported at once.
        let read: Result<Vec<Tests>, _> = files.iter().map(|file| file::load(file)).collect();
        for tests in read? {
            all.extend(test_file(dir, &selection.config, tests, lines, report).await?);
        }
    }
    if all.is_empty() { Err(no_cases(&selection.config.modules_dir.join("<name>"))) } else { Ok(all) }
}

fn no_cases(dir: &Path) -> CommandError {
    CommandError::NoCases { dir: source::shown(dir).to_string() }
}

/// Runs the cases of one file in order in one host.
async fn test_file(
    dir: &Path,
    config: &Config,
    tests: Tests,
    lines: &Lines,
    report: &dyn Fn(&CaseResult),
) -> Result<Vec<CaseResult>, CommandError> {
    let manifest = built(dir)?;
    let middlewares = modules_of_chains(&manifest, config)?;
    let temp = temp::folder()?;
    let config = host_config(config, &manifest, &middlewares, &tests, &temp)?;
    let (stream_path, listeners) = (config.sse.path.clone(), config.websocket.listeners.clone());
    // Checks the component first, because the host would name files of the temporary folder in its
    // errors.
    let faults = component::faults(&manifest, &config).await;
    if !faults.is_empty() {
        return Err(CommandError::Refused(faults));
    }
    let max_payload = config.limits.max.payload;
    let (outside, ports) = Outside::record();
    let host = Host::builder().config(config).ports(ports).explained().compiler(super::program()?);
    let host = host.progress(progress::without_log()).start().await?;
    let reasons = host.not_ready();
    if !reasons.is_empty() {
        return Err(CommandError::NotReady(reasons));
    }
    let mut all = Vec::with_capacity(tests.cases.len());
    let mut target = Target {
        host: &host,
        manifest: &manifest,
        stream_path,
        listeners,
        streams: Streams::default(),
        clients: Clients::default(),
        outside,
        max_payload,
    };
    lines.take();
    for case in tests.cases {
        let begun = Instant::now();
        let faults = target.faults(&case).await;
        let logs = if faults.is_empty() { Vec::new() } else { lines.take() };
        lines.take();
        let result = CaseResult { module: manifest.name.clone(), case, faults, logs, took: begun.elapsed() };
        report(&result);
        all.push(result);
    }
    Ok(all)
}

/// Loads the manifest of a module that is built.
fn built(dir: &Path) -> Result<Manifest, CommandError> {
    let manifest = Manifest::load(dir)?;
    if manifest.has_component() {
        return Ok(manifest);
    }
    let (component, module) = (source::shown(&manifest.component).to_string(), source::shown(dir).to_string());
    Err(CommandError::NotBuilt { component, module })
}

/// The other modules of the project whose routes are middlewares of this one. The host rejects a
/// module whose middleware does not exist, and says so.
fn modules_of_chains(manifest: &Manifest, config: &Config) -> Result<Vec<Manifest>, CommandError> {
    let names = manifest.chained().filter_map(|(_, name)| name.module.as_deref());
    let names: BTreeSet<&str> = names.filter(|name| *name != manifest.name).collect();
    let folders = names.into_iter().map(|name| config.modules_dir.join(name));
    folders.filter(|dir| dir.exists()).map(|dir| built(&dir)).collect()
}

/// The settings of a module in the temporary host: it has every capability that it asks for.
fn operator(config: &Config, manifest: &Manifest) -> ModuleConfig {
    let mut operator = config.module(&manifest.name);
    operator.grant_for_test(&manifest.capabilities);
    // Only cases run schedules, because a run at another time would disturb them.
    for name in manifest.schedules.keys() {
        operator.schedules.entry(name.clone()).or_default().disable = Some(true);
    }
    for schedule in operator.subdomains.values_mut().flat_map(|section| section.schedules.values_mut()) {
        schedule.disable = Some(true);
    }
    operator
}

/// The settings of the temporary host: this module, and those of its middlewares. The host shares
/// the project's cache of compiled components and keeps everything else in `temp`.
fn host_config(
    config: &Config,
    manifest: &Manifest,
    middlewares: &[Manifest],
    tests: &Tests,
    temp: &TempDir,
) -> Result<Config, CommandError> {
    let (modules, state) = (temp.path().join("modules"), temp.path().join("state"));
    let cache = config.shared_dir().join("cache");
    Cache::open(&cache, config.engine.cache_size, config.engine.function_cache_size).map_err(StartError::from)?;
    let created = fs::create_dir(&modules).and_then(|()| fs::create_dir(&state));
    let mut all = middlewares.iter().chain([manifest]);
    let created = created.and_then(|()| all.try_for_each(|it| symlink(&it.dir, modules.join(&it.name))));
    created.and_then(|()| symlink(cache, state.join("cache"))).map_err(CommandError::at(temp.path()))?;
    let mut config = config.clone();
    let mut tested = operator(&config, manifest);
    overlay_json(&mut tested.config, &tests.config);
    tested.env.extend(tests.env.clone());
    let others = middlewares.iter().map(|other| (other.name.clone(), operator(&config, other)));
    config.modules = others.chain([(manifest.name.clone(), tested)]).collect();
    (config.modules_dir, config.state_dir) = (modules, state);
    let any_port = ([127, 0, 0, 1], 0).into();
    (config.http.listen, config.admin.listen) = (any_port, any_port);
    // The project's own host may use the address of its event service, and the events of a test are
    // not for other processes.
    (config.events.listen, config.events.connect) = (None, None);
    // A test must neither publish to the servers of the project nor take messages from them.
    config.redis.0.clear();
    config.cluster.nats = None;
    socketcluster::serve(&mut config.websocket, &manifest.name, temp.path()).map_err(CommandError::at(temp.path()))?;
    // Tests the module as it is now: no reloads.
    (config.swap.watch, config.sources) = (false, None);
    Ok(config)
}

/// The temporary host, with the streams and clients that the cases have opened.
struct Target<'a> {
    host: &'a RunningHost,
    manifest: &'a Manifest,
    /// The path of live streams.
    stream_path: String,
    /// The paths at which clients of SocketCluster connect.
    listeners: Vec<SocketListener>,
    streams: Streams,
    clients: Clients,
    outside: Outside,
    /// `limits.max.payload`.
    max_payload: u64,
}

impl Target<'_> {
    /// Runs a case. Returns its unmet expectations.
    async fn faults(&mut self, case: &Case) -> Vec<String> {
        self.outside.forget();
        let answers = match self.step(case).await {
            Ok(answers) => answers,
            Err(error) => return vec![error.to_string()],
        };
        let mut faults = unmet(case, answers);
        faults.extend(self.streams.faults(&case.expect.events).await);
        faults.extend(self.streams.open_ones(&case.expect.ended).await);
        faults.extend(self.clients.faults(&case.expect.received).await);
        faults.extend(self.clients.open_ones(&case.expect.closed).await);
        faults.extend(self.outside.faults(&case.expect).await);
        faults
    }

    /// Runs the step of a case. Returns the answers to it.
    async fn step(&mut self, case: &Case) -> Result<Vec<Answer>, SendError> {
        let Target { host, manifest, stream_path, listeners, streams, clients, outside, max_payload } = self;
        match case {
            Case { call: Some(call), .. } => Ok(vec![send::call(host, manifest, call).await?]),
            Case { broadcast: Some(broadcast), .. } => send::broadcast(host, &manifest.name, broadcast).await,
            Case { schedule: Some(schedule), .. } => send::schedule(host, &manifest.name, schedule).await,
            Case { stream: Some(stream), .. } => {
                Ok(streams.step(host.addr(), stream_path, stream).await?.into_iter().collect())
            }
            Case { client: Some(client), .. } => {
                Ok(clients.step(host.addr(), &manifest.name, listeners, client).await?.into_iter().collect())
            }
            Case { message: Some(message), .. } => Ok(clients.send(message).await?.into_iter().collect()),
            Case { emit: Some(event), .. } => Ok(vec![send::of_result(outside.emit(event, *max_payload))]),
            Case { receive: Some(message), .. } => Ok(vec![send::receive(host, &manifest.name, message).await]),
            _ => Ok(Vec::new()),
        }
    }
}

/// The expectations that the answers do not meet, each followed by the answer.
fn unmet(case: &Case, answers: Vec<Answer>) -> Vec<String> {
    let mut faults = Vec::new();
    for answer in answers {
        let place = answer.isolate.as_ref().map(|isolate| format!("{isolate}: ")).unwrap_or_default();
        let differing = case.expect.faults(&answer);
        if !differing.is_empty() {
            faults.extend(differing.into_iter().map(|fault| format!("{place}{fault}")));
            faults.push(format!("{place}the answer: {}", answer.as_text()));
        }
    }
    faults
}

impl Answer {
    fn as_text(&self) -> String {
        format!("{} {}", self.status, cut(&self.body)).trim_end().to_owned()
    }
}

impl CaseResult {
    fn as_text(&self) -> String {
        let name = super::client::printable(&self.case.name);
        if self.faults.is_empty() {
            return format!("ok    {}: {name}\n", self.module);
        }
        let mut text = format!("FAIL  {}: {name} ({})\n", self.module, self.case.place);
        self.faults.iter().for_each(|fault| text.push_str(&format!("        {fault}\n")));
        self.logs.iter().for_each(|line| text.push_str(&format!("        log: {line}\n")));
        text
    }

    fn as_json(&self) -> serde_json::Value {
        json!({
            "module": self.module,
            "name": self.case.name,
            "place": self.case.place.to_string(),
            "passed": self.faults.is_empty(),
            "faults": self.faults,
            "logs": self.logs,
            "milliseconds": self.took.as_millis() as u64,
        })
    }
}
