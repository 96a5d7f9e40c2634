//! `fanfare doctor`: looks for what would keep the host from starting or the author from building,
//! and says what to do about each.

mod nats;
mod streams;
mod system;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use serde::Serialize;

use super::check::{self, CheckArgs, Report};
use super::client::Endpoint;
use super::component;
use super::config::SettingsArgs;
use super::project::around;
use super::table::aligned;
use super::terminal::print;
use fanfare::tooling::document::source::shown;
use fanfare::{Config, Fault};

/// Flags of `fanfare doctor`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The monitoring port (`http_port`) of a NATS server of `cluster.nats`. Default: port 8222 of
    /// each server.
    #[arg(long, value_name = "HOST:PORT", env = "FANFARE_NATS_MONITOR")]
    pub nats_monitor: Option<Endpoint>,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was checked: a word.
    check: &'static str,
    state: State,
    /// One line, which ends with the remedy unless the state is `ok`.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Something is missing that this project does not need.
    Note,
    /// The host starts, but with less than the settings ask for.
    Warning,
    /// The host does not start, or a module is refused or cannot be built.
    Fault,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Note => "note",
            State::Warning => "warning",
            State::Fault => "fault",
        }
    }
}

impl Finding {
    fn new(check: &'static str, state: State, text: impl Into<String>) -> Finding {
        Finding { check, state, text: text.into() }
    }
}

/// Prints the findings; exits with 1 if one is a fault.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let findings = match super::runtime() {
        Ok(runtime) => examine(args, &runtime),
        Err(error) => vec![Finding::new("threads", State::Fault, error.to_string())],
    };
    print(&if args.json { as_json(&findings) } else { as_text(&findings) });
    match findings.iter().any(|finding| finding.state == State::Fault) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Runs all checks. A fault of one skips no other.
fn examine(args: &DoctorArgs, runtime: &tokio::runtime::Runtime) -> Vec<Finding> {
    let place = around(Path::new("."));
    let (config, of_settings) = Config::load_with_faults(&args.settings.sources(place.project));
    let mut findings = settings(&config, of_settings.list());
    let mut count = 0;
    if place.is_project || config.file.is_some() {
        // The whole project, also in the folder of one of its modules.
        let args =
            CheckArgs { dir: Some(config.root.clone()), settings: args.settings.clone(), callers: false, json: false };
        let report = check::check(&args, &component::faults_blocking);
        findings.extend(modules(&report, of_settings.list()));
        count = report.modules.len();
    }
    findings.extend(runtime.block_on(system::ports(&config, &args.settings)));
    findings.extend(runtime.block_on(nats::servers(&config, args.nats_monitor.as_ref())));
    findings.extend(system::limits(&config, count));
    findings.extend(runtime.block_on(tools::languages(&config)));
    findings
}

fn settings(config: &Config, faults: &[Fault]) -> Vec<Finding> {
    let found = |fault: &Fault| Finding::new("settings", State::Fault, fault.to_string());
    let mut findings: Vec<Finding> = faults.iter().map(found).collect();
    let warnings = config.warnings.iter();
    findings.extend(warnings.map(|warning| Finding::new("settings", State::Warning, warning.to_string())));
    if findings.is_empty() {
        let environment = &config.environment;
        findings.push(match &config.file {
            Some(file) => Finding::new("settings", State::Ok, format!("{}, environment {environment}", shown(file))),
            None => Finding::new(
                "settings",
                State::Note,
                format!("no fanfare.json, so all settings have their defaults, environment {environment}; `fanfare init` writes one"),
            ),
        });
    }
    findings
}

/// What `fanfare check` reports of modules, with a word of its own for capabilities.
fn modules(report: &Report, of_settings: &[Fault]) -> Vec<Finding> {
    let is_grant = |fault: &Fault| fault.key == "capabilities" || fault.key.starts_with("capabilities.");
    let word = |fault: &Fault| if is_grant(fault) { "grants" } else { "modules" };
    let faults = report.faults.iter().filter(|fault| !of_settings.contains(fault));
    let mut findings: Vec<Finding> =
        faults.map(|fault| Finding::new(word(fault), State::Fault, fault.to_string())).collect();
    if report.more > 0 {
        findings.push(Finding::new("modules", State::Fault, format!("and {} more; run `fanfare check`", report.more)));
    }
    let count = match report.modules.len() {
        0 => "no modules; `fanfare new hello` creates one".to_owned(),
        1 => "1 module, no faults".to_owned(),
        count => format!("{count} modules, no faults"),
    };
    for (check, good) in
        [("modules", count), ("grants", "every capability that a module asks for is granted".to_owned())]
    {
        if !findings.iter().any(|finding| finding.check == check) {
            findings.push(Finding::new(check, State::Ok, good));
        }
    }
    findings
}

fn as_text(findings: &[Finding]) -> String {
    let row = |finding: &Finding| [finding.state.as_str().to_owned(), finding.check.to_owned(), finding.text.clone()];
    let mut text = aligned(&findings.iter().map(row).collect::<Vec<_>>());
    let faults = findings.iter().filter(|finding| finding.state == State::Fault).count();
    let warnings = findings.iter().filter(|finding| finding.state == State::Warning).count();
    let counted = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    text.push_str(&format!("\n{}, {}\n", counted(faults, "fault"), counted(warnings, "warning")));
    text
}

fn as_json(findings: &[Finding]) -> String {
    format!("{:#}\n", serde_json::json!({ "findings": findings }))
}
