//! `fanfare test`: runs a module's cases, `*.test.json`, in a host of its own that is gone afterwards.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::builder::FalseyValueParser;
use serde_json::json;
use tempfile::TempDir;

use super::component;
use super::config::SettingsArgs;
use super::progress::{Line, progress};
use super::project::Wanted;
use super::serve::must_be_whole;
use super::temp;
use super::terminal::{complain, print};
use expect::{Answer, cut};
use fanfare::tooling::document::source;
use fanfare::tooling::{Cache, Manifest, overlay_json};
use fanfare::{Config, Host, RunningHost};
use file::{Case, EXAMPLE, SUFFIX, Tests};
use logs::Lines;

mod expect;
pub mod file;
mod logs;
mod send;

/// Flags of `fanfare test`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TestArgs {
    /// The folder of one module, or that of fanfare.json for all modules that have cases [default: the current one].
    #[arg(value_name = "DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    /// The settings file [default: fanfare.json if it is there]. The environment is `test`.
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Threads that serve [default: 1].
    #[arg(long, value_name = "N", env = "FANFARE_WORKERS")]
    pub workers: Option<String>,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// How one case ended.
struct Tested {
    module: String,
    case: Case,
    faults: Vec<String>,
    logs: Vec<String>,
    took: Duration,
}

/// Prints a line for each case; exits 1 if one fails, or cannot be run.
pub fn run(args: &TestArgs) -> ExitCode {
    let begun = Instant::now();
    let tell = |tested: &Tested| {
        if !args.json {
            print(&tested.as_text());
        }
    };
    let done = Lines::capture().and_then(|lines| super::runtime()?.block_on(test(args, &lines, &tell)));
    let all = match done {
        Ok(all) => all,
        Err(why) => {
            complain(&format!("fanfare: {why}\n"));
            return ExitCode::FAILURE;
        }
    };
    let failed = all.iter().filter(|tested| !tested.faults.is_empty()).count();
    if args.json {
        let cases: Vec<_> = all.iter().map(Tested::as_json).collect();
        let whole = json!({ "passed": all.len() - failed, "failed": failed, "cases": cases });
        print(&format!("{whole:#}\n"));
    } else {
        let cases = if all.len() == 1 { "case" } else { "cases" };
        print(&format!("{} {cases}, {failed} failed, in {:.2} s\n", all.len(), begun.elapsed().as_secs_f64()));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn test(args: &TestArgs, lines: &Lines, tell: &dyn Fn(&Tested)) -> Result<Vec<Tested>, String> {
    let settings = SettingsArgs {
        config: args.config.clone(),
        env: Some("test".to_owned()),
        workers: Some(args.workers.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "1".to_owned())),
        ..SettingsArgs::default()
    };
    let wanted = Wanted::new(args.dir.as_deref(), &settings)?;
    let mut all = Vec::new();
    for dir in &wanted.modules {
        let files = file::all(dir)?;
        if files.is_empty() && wanted.alone {
            return Err(nothing(dir));
        }
        // All are read before one is run: what is written wrong is known at once.
        let read: Result<Vec<Tests>, _> = files.iter().map(|file| file::load(file)).collect();
        for tests in read.map_err(|faults| faults.to_string())? {
            all.extend(test_file(dir, &wanted.config, tests, lines, tell).await?);
        }
    }
    if all.is_empty() { Err(nothing(&wanted.config.modules_dir.join("<name>"))) } else { Ok(all) }
}

fn nothing(dir: &Path) -> String {
    let file = source::shown(&dir.join(format!("<name>{SUFFIX}"))).to_string();
    format!("there are no cases: write {file} with {{ \"cases\": [{EXAMPLE}] }} (docs/testing.md has more)")
}

/// The cases of one file, in order, in one host.
async fn test_file(
    dir: &Path,
    config: &Config,
    tests: Tests,
    lines: &Lines,
    tell: &dyn Fn(&Tested),
) -> Result<Vec<Tested>, String> {
    let manifest = Manifest::load(dir).map_err(|error| error.to_string())?;
    let shown = source::shown(dir);
    if !manifest.has_component() {
        let component = source::shown(&manifest.component);
        return Err(format!("{component} is not there yet: run `fanfare build {shown}`"));
    }
    let temp = temp::folder()?;
    let config = throw_away(config, &manifest, &tests, &temp).map_err(|why| format!("{shown}: {why}"))?;
    // The faults of a module name its own files, not those of the host to be.
    let faults = component::inspect(&manifest, &config).await;
    if !faults.is_empty() {
        return Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    let host = Host::bind(config, super::program()?).map_err(|error| error.to_string())?;
    let host = host.with_progress(progress(Line::on_terminal()));
    let host = must_be_whole(host.start().await.map_err(|error| error.to_string())?)?;
    let mut all = Vec::with_capacity(tests.cases.len());
    lines.take();
    for case in tests.cases {
        let begun = Instant::now();
        let faults = faults_of(&case, &host, &manifest).await;
        let logs = if faults.is_empty() { Vec::new() } else { lines.take() };
        lines.take();
        let tested = Tested { module: manifest.name.clone(), case, faults, logs, took: begun.elapsed() };
        tell(&tested);
        all.push(tested);
    }
    Ok(all)
}

/// The settings of a host with this module alone, which may do all that it asks for. What is compiled is kept where the
/// project keeps it, all else goes with the folder.
fn throw_away(config: &Config, manifest: &Manifest, tests: &Tests, temp: &TempDir) -> Result<Config, String> {
    let (modules, state) = (temp.path().join("modules"), temp.path().join("state"));
    let kept = config.state_dir.join("cache");
    Cache::open(&kept, config.engine.cache_size).map_err(|error| error.to_string())?;
    let made = fs::create_dir(&modules).and_then(|()| fs::create_dir(&state));
    let made = made.and_then(|()| symlink(&manifest.dir, modules.join(&manifest.name)));
    made.and_then(|()| symlink(kept, state.join("cache"))).map_err(|error| error.to_string())?;
    let mut config = config.clone();
    let mut operator = config.module(&manifest.name);
    operator.grants = manifest.capabilities.clone();
    overlay_json(&mut operator.config, &tests.config);
    config.modules = [(manifest.name.clone(), operator)].into();
    (config.modules_dir, config.state_dir) = (modules, state);
    let any_port = ([127, 0, 0, 1], 0).into();
    (config.http.listen, config.admin.listen) = (any_port, any_port);
    // What is tested is what is there now.
    (config.swap.watch, config.sources) = (false, None);
    Ok(config)
}

/// Runs a case: how what it brings differs from what it must, a line each, and what it brought.
async fn faults_of(case: &Case, host: &RunningHost, manifest: &Manifest) -> Vec<String> {
    let brought = match (&case.call, &case.broadcast) {
        (Some(call), _) => send::call(host, manifest, call).await.map(|answer| vec![answer]),
        (None, Some(broadcast)) => send::broadcast(host, &manifest.name, broadcast).await,
        (None, None) => Ok(Vec::new()),
    };
    let answers = match brought {
        Ok(answers) => answers,
        Err(why) => return vec![why],
    };
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

impl Tested {
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
