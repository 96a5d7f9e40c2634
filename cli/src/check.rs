//! `fanfare check`: reports every fault of `fanfare.json` and of all modules at once.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::FalseyValueParser;
use serde_json::json;

use super::config::{SettingsArgs, warnings};
use super::project::{self, Chosen};
use super::terminal::print;
use fanfare::api::State;
use fanfare::settings::Limits;
use fanfare::tooling::document::source;
use fanfare::tooling::manifest::{
    self, FolderState, MissingComponent, ModuleFolder, Stray, check_brokers, check_connections, check_grants,
    check_subjects, effective_limits, effective_schedules, unknown_schedules,
};
use fanfare::tooling::{KeyPath, Manifest, NoManifest, PatternTable, check_client_keys};
use fanfare::{Config, Fault, Faults, ValueOrigin};

mod callers;
mod fits;
mod routers;
#[cfg(test)]
mod tests;

/// Flags of `fanfare check`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CheckArgs {
    /// A module, by its name or folder, or any folder of the project [default: the current folder].
    #[arg(value_name = "MODULE|DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Compare the `calls` of every module.json with the routes and broadcasts that they name.
    #[arg(long, env = "FANFARE_CALLERS", value_parser = FalseyValueParser::new())]
    pub callers: bool,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// A check of a module's component.
pub type ComponentCheck<'a> = &'a dyn Fn(&Manifest, &Config) -> Vec<Fault>;

/// The result of a check.
#[derive(Debug, Default)]
pub struct Report {
    pub faults: Vec<Fault>,
    /// The number of further faults, which are not listed.
    pub more: usize,
    pub warnings: Vec<Fault>,
    /// Each module with its state: ready, waiting or refused. One that waits has a fault too.
    pub modules: Vec<(String, State)>,
}

/// Prints the report; exits with 1 if there is any fault. Runs `check_component` for every module
/// whose component exists and that asks for no more than the settings allow, granted or not.
pub fn run(args: &CheckArgs, check_component: ComponentCheck<'_>) -> ExitCode {
    let report = check(args, check_component);
    print(&if args.json { report.as_json() } else { report.as_text() });
    if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Checks a project or a module without printing.
pub fn check(args: &CheckArgs, check_component: ComponentCheck<'_>) -> Report {
    let mut report = Report::default();
    let Chosen { project, module } = match Chosen::of(args.dir.as_deref(), &args.settings) {
        Ok(chosen) => chosen,
        Err(error) => {
            // The error names the argument, which may be no file.
            report.faults.push(Fault::new(&ValueOrigin::Default, "", error.to_string()));
            return report;
        }
    };
    let (config, faults) = Config::load_with_faults(&args.settings.sources(project));
    let is_single_module = module.is_some();
    let scanned = match module {
        Some(module) => vec![manifest::read_folder(&module)],
        None => scan(&config, &mut report),
    };
    let settings_valid = !faults.list().iter().any(concerns_modules);
    let web_sockets_valid = !faults.list().iter().any(|fault| matches!(section(fault), "" | "websocket"));
    let connections_valid = !faults.list().iter().any(|fault| matches!(section(fault), "" | "redis" | "cluster"));
    let patterns = Arc::default();
    let checker = ModuleChecker { config: &config, settings_valid, connections_valid, check_component, patterns };
    report.add(faults);
    report.warnings.extend(config.warnings.iter().cloned());
    if !is_single_module {
        if web_sockets_valid {
            report.add(check_client_keys(&config));
        }
        let existing: Vec<&str> = scanned.iter().map(|module| module.name.as_str()).collect();
        report.warnings.extend(config.sections_without_module(&existing));
        report.warnings.extend(config.listeners_without_module(&existing));
        report.warnings.extend(config.routers_in_vain(&existing));
        let manifests = scanned.iter().filter_map(|module| match &module.state {
            FolderState::Ready(manifest) | FolderState::Waiting(manifest) => Some(manifest),
            FolderState::Refused(_) => None,
        });
        report.warnings.extend(manifests.flat_map(|manifest| unknown_schedules(manifest, &config)));
    }
    if !is_single_module {
        report.faults.extend(strays(&config));
    }
    // One module of a project has the others as its neighbours.
    let neighbours = match scanned.first() {
        Some(module) if is_single_module => neighbours(&config, module),
        _ => Some(Vec::new()),
    };
    let manifests = scanned.iter().chain(neighbours.iter().flatten());
    let manifests: Vec<_> = manifests.map(|module| (module.name.clone(), ready(module))).collect();
    let find = |name: &str| {
        let found = manifests.iter().find(|(module, _)| module == name);
        let (_, manifest) = found.ok_or(NoManifest::Missing)?;
        manifest.clone().ok_or(NoManifest::Refused)
    };
    if !is_single_module {
        report.warnings.extend(routers::without_route(&config, find));
    }
    if args.callers {
        let only = scanned.first().filter(|_| is_single_module).map(|module| module.name.as_str());
        let all = manifests.iter().filter_map(|(_, manifest)| manifest.as_deref());
        report.faults.extend(all.flat_map(|caller| callers::faults(caller, only, find)));
    }
    for module in scanned {
        if let FolderState::Ready(manifest) | FolderState::Waiting(manifest) = &module.state {
            report.warnings.extend(manifest.warnings());
        }
        let manifest = readable(&module);
        let (mut state, mut faults) = checker.check(&module, manifest.as_ref());
        // A module outside of a project does not show the others.
        if let Some(manifest) = manifest.filter(|_| neighbours.is_some()) {
            let nowhere = |name: &str, exists| config.why_nowhere(name, exists);
            report.warnings.extend(manifest.check_sockets(find, nowhere));
            for fault in manifest.check_chains(find) {
                state = State::Refused;
                faults.push(fault);
            }
        }
        report.modules.push((module.name, state));
        report.add(faults.sorted());
    }
    report
}

/// The other modules of the project. `None` if the module is in no project.
fn neighbours(config: &Config, module: &ModuleFolder) -> Option<Vec<ModuleFolder>> {
    let mut all = manifest::scan(&config.modules_dir).ok()?;
    let place = all.iter().position(|other| other.name == module.name)?;
    all.remove(place);
    Some(all)
}

/// The manifest of a module, if it has no faults.
fn ready(module: &ModuleFolder) -> Option<Arc<Manifest>> {
    match &module.state {
        FolderState::Ready(manifest) | FolderState::Waiting(manifest) => Some(Arc::new(Manifest::clone(manifest))),
        FolderState::Refused(_) => None,
    }
}

/// The manifest of a module, or its parts that have no faults.
fn readable(module: &ModuleFolder) -> Option<Manifest> {
    match &module.state {
        FolderState::Ready(manifest) | FolderState::Waiting(manifest) => Some(Manifest::clone(manifest)),
        FolderState::Refused(_) => Manifest::load_partly(&module.dir),
    }
}

fn scan(config: &Config, report: &mut Report) -> Vec<ModuleFolder> {
    let path = KeyPath::of(&["modulesDir"]);
    let origin = config.origin(&path);
    match manifest::scan(&config.modules_dir) {
        Ok(scanned) => scanned,
        Err(error) if origin == ValueOrigin::Default && error.kind() == std::io::ErrorKind::NotFound => {
            // With settings, the default folder may be missing.
            if config.file.is_none() {
                report.faults.push(Fault::new(&ValueOrigin::Default, "", project::no_project(&config.root)));
            }
            Vec::new()
        }
        Err(error) => {
            let message =
                format!("cannot read the folder {}: {error}; create it or name another", config.modules_dir.display());
            report.faults.push(Fault::new(&origin, path, message));
            Vec::new()
        }
    }
}

/// A fault for each component that no module loads, because a manifest is missing.
fn strays(config: &Config) -> Vec<Fault> {
    let fault = |stray: &Stray| Fault::new(&ValueOrigin::start_of(&source::shown(&stray.path)), "", stray.reason());
    manifest::strays(&config.modules_dir).iter().map(fault).collect()
}

/// The fault of a component that does not exist.
fn missing(manifest: &Manifest) -> Fault {
    let key = KeyPath::of(&["component"]);
    Fault::new(&manifest.source.nearest(&key).origin, key, MissingComponent::of(manifest).to_string())
}

/// Whether a fault may hide settings that apply to modules.
fn concerns_modules(fault: &Fault) -> bool {
    matches!(section(fault), "" | "modules" | "limits" | "environments")
}

/// The first key of the place of a fault.
fn section(fault: &Fault) -> &str {
    fault.key.split(['.', '[']).next().unwrap_or_default()
}

/// Faults where a module asks for more than the operator allows, except for capabilities.
pub(super) fn faults_besides_grants(manifest: &Manifest, config: &Config) -> Faults {
    let mut faults = Faults::default();
    let limits = effective_limits(manifest, config);
    let schedules = effective_schedules(manifest, config, limits.as_ref().unwrap_or(&Limits::default())).err();
    let refused =
        [check_brokers(manifest, config).err(), check_subjects(manifest, config).err(), limits.err(), schedules];
    refused.into_iter().flatten().for_each(|more| faults.extend(more));
    faults
}

struct ModuleChecker<'a> {
    config: &'a Config,
    /// Whether the operator's settings for modules have no faults.
    settings_valid: bool,
    /// Whether the sections `redis` and `cluster` have no faults.
    connections_valid: bool,
    check_component: ComponentCheck<'a>,
    /// The stream keys and channels of the modules that were checked.
    patterns: Arc<PatternTable>,
}

impl ModuleChecker<'_> {
    /// Checks a module, of which `manifest` is what can be read.
    fn check(&self, module: &ModuleFolder, manifest: Option<&Manifest>) -> (State, Faults) {
        let (state, mut faults) = match &module.state {
            FolderState::Refused(error) => (State::Refused, error.faults.clone()),
            FolderState::Ready(_) => (State::Ready, Faults::default()),
            FolderState::Waiting(_) => (State::Waiting, Faults::default()),
        };
        let Some(manifest) = manifest else { return (state, faults) };
        faults.extend(manifest.schema_faults());
        if self.connections_valid
            && let Err(missing) = check_connections(manifest, self.config)
        {
            faults.extend(missing);
        }
        match self.patterns.claim(manifest) {
            Ok(claim) => claim.keep(),
            Err(taken) => faults.extend(taken),
        }
        // Without the operator's settings, the host would refuse what they grant.
        if self.settings_valid {
            let missing = check_grants(manifest, self.config).err();
            let above = faults_besides_grants(manifest, self.config);
            if above.is_empty() && manifest.has_component() {
                self.component_faults(manifest, state, missing.is_some()).for_each(|fault| faults.push(fault));
            }
            missing.into_iter().chain([above]).for_each(|more| faults.extend(more));
        }
        let state = if faults.is_empty() { state } else { State::Refused };
        let is_waiting = match &module.state {
            FolderState::Ready(_) => false,
            FolderState::Waiting(_) => true,
            FolderState::Refused(_) => matches!(manifest.component.try_exists(), Ok(false)),
        };
        if is_waiting {
            faults.push(missing(manifest));
        }
        (state, faults.sorted())
    }

    /// The faults of the component. With `grant`, as if the operator granted every capability.
    fn component_faults(&self, manifest: &Manifest, state: State, grant: bool) -> impl Iterator<Item = Fault> {
        let faults = if grant {
            (self.check_component)(manifest, &granted(manifest, self.config))
        } else {
            (self.check_component)(manifest, self.config)
        };
        // A part of module.json with a fault may be the part that fits to the component.
        faults.into_iter().filter(move |fault| state != State::Refused || fault.key != "component")
    }
}

/// The settings, with everything granted that the module asks for.
pub(super) fn granted(manifest: &Manifest, config: &Config) -> Config {
    let mut granted = config.clone();
    granted.modules.entry(manifest.name.clone()).or_default().grant_for_test(&manifest.capabilities);
    granted
}

impl Report {
    fn add(&mut self, faults: Faults) {
        self.more += faults.more();
        self.faults.extend(faults.list().iter().cloned());
    }

    fn as_text(&self) -> String {
        let mut out = String::new();
        for fault in &self.faults {
            let _ = writeln!(out, "{fault}");
        }
        if self.more > 0 {
            let _ = writeln!(out, "and {} more", self.more);
        }
        out.push_str(&warnings(&self.warnings));
        let modules = match self.modules.len() {
            1 => "1 module".to_owned(),
            count => format!("{count} modules"),
        };
        let _ = match self.faults.len() + self.more {
            0 => writeln!(out, "{modules} checked, no faults"),
            1 => writeln!(out, "{modules} checked, 1 fault"),
            count => writeln!(out, "{modules} checked, {count} faults"),
        };
        out
    }

    fn as_json(&self) -> String {
        let modules: Vec<_> =
            self.modules.iter().map(|(name, state)| json!({ "name": name, "state": state })).collect();
        let whole = json!({ "faults": self.faults, "more": self.more, "warnings": self.warnings, "modules": modules });
        format!("{whole:#}\n")
    }
}
