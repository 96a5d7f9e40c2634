//! `fanfare inspect`: describes a component.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use serde::Serialize;
use serde_json::json;
use tempfile::TempDir;

use super::backtrace::shortened;
use super::client::printable;
use super::component::inspector;
use super::config::FileArgs;
use super::error::CommandError;
use super::project::{self, Chosen};
use super::temp;
use super::terminal::{eprint, print};
use fanfare::Config;
use fanfare::api::{ChannelKeep, ChannelPatternStatus, FiltersStatus, SocketStatus};
use fanfare::tooling::config::{formats, of_import};
use fanfare::tooling::document::source;
use fanfare::tooling::files::{self, ReadError};
use fanfare::tooling::{ComponentInfo, Inspection, Manifest, component_info};

/// Flags of `fanfare inspect`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InspectArgs {
    /// The file of the component, or the module whose component it is: its name or its folder
    /// [default: the module around the current folder].
    #[arg(value_name = "WASM|MODULE", env = "FANFARE_COMPONENT")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub settings: FileArgs,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// Prints a description. If a host would refuse the component, prints the reasons too and exits
/// with 1.
pub fn run(args: &InspectArgs) -> ExitCode {
    let (text, faults) = match inspect(args) {
        Ok(found) if args.json => (found.as_json(), found.faults()),
        Ok(found) => (found.as_text(), found.faults()),
        Err(error) => (String::new(), vec![error.to_string()]),
    };
    print(&text);
    faults.iter().for_each(|fault| eprint(&format!("error: {fault}\n")));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The description of a component.
struct Description {
    file: String,
    /// What its bytes show.
    info: ComponentInfo,
    /// What compiling and running it shows, or why a host would refuse it.
    inspection: Result<Inspection, String>,
    /// The subscriptions of the module whose component it is.
    subscriptions: Vec<DescribedSubscription>,
    /// The WebSockets of that module.
    sockets: Vec<SocketStatus>,
    /// The channels of that module.
    channels: Vec<ChannelPatternStatus>,
    /// The filters of that module.
    filters: FiltersStatus,
}

/// A subscription of a manifest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DescribedSubscription {
    name: String,
    source: &'static str,
    topic: String,
    /// The connection of Redis.
    connection: Option<String>,
    /// The route that receives the messages. Null for live streams.
    path: Option<String>,
    deliver: &'static str,
    overflow: &'static str,
}

impl DescribedSubscription {
    fn as_text(&self) -> String {
        let connection = self.connection.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let receiver = match &self.path {
            Some(path) => format!("{path} ({}, {})", self.deliver, self.overflow),
            None => "live streams".to_owned(),
        };
        printable(&format!("{}: {} {}{connection} to {receiver}", self.name, self.source, self.topic))
    }
}

/// The manifest of the module around a component. `None` outside a module, or if the module has
/// another component; `fanfare check` reports a wrong manifest.
fn manifest_of(component: &Path) -> Option<Manifest> {
    let dir = project::around(component.parent().unwrap_or(Path::new("."))).module;
    let manifest = dir.and_then(|dir| Manifest::load(&dir).ok());
    manifest.filter(|manifest| std::path::absolute(component).is_ok_and(|file| file == manifest.component))
}

fn subscriptions(manifest: &Manifest) -> Vec<DescribedSubscription> {
    let described = manifest.subscriptions.iter().map(|(name, one)| {
        let (source, topic) = one.source.described();
        DescribedSubscription {
            name: name.clone(),
            source,
            topic: topic.to_string(),
            connection: one.connection().map(str::to_owned),
            path: one.route().map(|index| manifest.route_text(index)),
            deliver: one.settings.deliver.as_str(),
            overflow: one.settings.overflow.as_str(),
        }
    });
    described.collect()
}

fn inspect(args: &InspectArgs) -> Result<Description, CommandError> {
    let component = component_of(args)?;
    let (config, _temp) = settings(args, &component)?;
    let (file, most) = (source::shown(&component).to_string(), config.engine.max_component);
    let bytes = files::read(&component, most).map_err(|error| match error {
        ReadError::Io(error) => CommandError::Unreadable { file: file.clone(), error },
        ReadError::TooLarge(size) => CommandError::TooLarge { file: file.clone(), size, most },
    })?;
    let info = component_info(&bytes).map_err(|error| CommandError::Component { file: file.clone(), error })?;
    let inspector = inspector(&config)?;
    let inspection = super::runtime()?.block_on(inspector.inspect(&component)).map_err(|error| error.to_string());
    let manifest = manifest_of(&component);
    let manifest = manifest.as_ref();
    Ok(Description {
        file,
        info,
        inspection,
        subscriptions: manifest.map(subscriptions).unwrap_or_default(),
        sockets: manifest.map(Manifest::socket_statuses).unwrap_or_default(),
        channels: manifest.map(Manifest::channel_statuses).unwrap_or_default(),
        filters: manifest.map(Manifest::filters_status).unwrap_or_default(),
    })
}

/// The file that the argument names, itself or through a module.
fn component_of(args: &InspectArgs) -> Result<PathBuf, CommandError> {
    let file = args.file.as_deref().unwrap_or(Path::new("."));
    let is_name = file.to_str().is_some_and(formats::is_module);
    if file.is_file() || !(is_name || file.is_dir()) {
        return Ok(file.to_owned());
    }
    match Chosen::of(Some(file), &args.settings.alone())?.module {
        Some(module) => Ok(Manifest::load(&module)?.component),
        None => Err(CommandError::NoComponent(args.file.as_deref().map(|file| source::shown(file).to_string()))),
    }
}

/// The settings of the file's project, whose cache keeps the compiled component. Without a project,
/// the cache is a temporary folder.
fn settings(args: &InspectArgs, component: &Path) -> Result<(Config, Option<TempDir>), CommandError> {
    let dir = component.parent().unwrap_or(Path::new("."));
    let mut config = Config::load(args.settings.alone().sources(project::around(dir).project))?;
    if config.file.is_some() || config.state_dir.is_dir() {
        return Ok((config, None));
    }
    let temp = temp::folder()?;
    config.state_dir = temp.path().to_owned();
    Ok((config, Some(temp)))
}

/// A capability in the text. The standard libraries of most languages import the environment, also
/// for code that reads no variable, and a module needs no grant for calls within itself.
fn shown_need(capability: &'static str) -> String {
    match capability {
        "env" => "env (only if its code reads variables)".to_owned(),
        "broadcast" => "broadcast (only for broadcasts of other modules)".to_owned(),
        "rpc" => "rpc (only for routes of other modules)".to_owned(),
        "sse" => "sse (only for streams of others)".to_owned(),
        "channels" => "channels (only for channels of others)".to_owned(),
        "events" => "events (only for types of others)".to_owned(),
        other => other.to_owned(),
    }
}

impl Description {
    fn faults(&self) -> Vec<String> {
        let Err(why) = &self.inspection else { return Vec::new() };
        shortened(why).lines().map(str::to_owned).collect()
    }

    /// The version of the contract that the component exports.
    fn contract(&self) -> Option<&str> {
        self.info.exports.iter().find_map(|name| Some(name.strip_prefix("fanfare:module/")?.split_once('@')?.1))
    }

    /// The capabilities that its imports may need, by their keys. Most toolchains import more than
    /// the code uses.
    fn capabilities(&self) -> BTreeSet<&'static str> {
        self.info.imports.iter().filter_map(|import| of_import(import)).collect()
    }

    fn as_text(&self) -> String {
        let ComponentInfo { size, core_modules, imports, exports, producers, language, toolchain } = &self.info;
        let mut out = format!("{}: a component of {}\n", self.file, Bytes(*size));
        let mut line = |name: &str, value: &str| _ = writeln!(out, "  {name:<12} {value}");
        let sizes: Vec<_> = core_modules.iter().map(|size| Bytes(*size).to_string()).collect();
        line("core modules", &listed(&sizes));
        line("contract", self.contract().unwrap_or("none (no fanfare:module interface is exported)"));
        if let Ok(Inspection { exports, handlers }) = &self.inspection {
            let calls = match exports.must_be_fresh() {
                true => "each in an instance of its own",
                false if exports.serial => "one at a time (sync)",
                false => "many at once (async)",
            };
            line("calls", calls);
            if let Some(http) = &exports.http {
                let rest = if exports.has_handler() { "that no route serves" } else { "below /api/<module>/" };
                line("wasi:http", &format!("{}: answers all requests {rest}", printable(&http.export)));
            }
            if let Some(command) = &exports.command {
                line("command", &format!("{}: runs as a schedule with `command`", printable(command)));
            }
            if exports.has_handler() {
                line("snapshot", if exports.snapshot { "yes: a swap hands its state over" } else { "no" });
                let handlers =
                    handlers.as_ref().map(|names| names.iter().map(|name| printable(name)).collect::<Vec<_>>());
                line("handlers", &handlers.map_or("unknown (no export describe)".to_owned(), |names| listed(&names)));
            }
        }
        line("may need", &listed(&self.capabilities().into_iter().map(shown_need).collect::<Vec<_>>()));
        for (name, value) in [("language", language), ("toolchain", toolchain)] {
            if let Some(value) = value {
                line(name, &printable(value));
            }
        }
        let is_rust = language.is_none() && producers.iter().any(|one| one.field == "language" && one.name == "Rust");
        // The C library of WASI is in every module in Rust.
        for producer in producers {
            if is_rust && producer.field == "language" && is_c(&producer.name) {
                continue;
            }
            // The languages of the parts, if the component is written in another one.
            let is_part = language.is_some() && producer.field == "language";
            line(if is_part { "parts in" } else { &producer.field }, &printable(&producer.shown()));
        }
        if !self.subscriptions.is_empty() {
            out.push_str("  subscriptions\n");
            self.subscriptions.iter().for_each(|one| _ = writeln!(out, "    {}", one.as_text()));
        }
        if !self.sockets.is_empty() {
            out.push_str("  sockets\n");
            self.sockets.iter().for_each(|one| _ = writeln!(out, "    {}", socket_as_text(one)));
        }
        if !self.channels.is_empty() {
            out.push_str("  channels\n");
            self.channels.iter().for_each(|one| _ = writeln!(out, "    {}", channel_as_text(one)));
        }
        for (title, routes) in [("filters before", &self.filters.before), ("filters after", &self.filters.after)] {
            if !routes.is_empty() {
                _ = writeln!(out, "  {title}");
                routes.iter().for_each(|route| _ = writeln!(out, "    {}", printable(route)));
            }
        }
        for (title, names) in [("exports", exports), ("imports", imports)] {
            let _ = writeln!(out, "  {title}");
            names.iter().for_each(|name| _ = writeln!(out, "    {}", printable(name)));
        }
        out
    }

    fn as_json(&self) -> String {
        let inspection = self.inspection.as_ref().ok();
        let whole = json!({
            "file": self.file,
            "size": self.info.size,
            "coreModules": self.info.core_modules,
            "contract": self.contract(),
            "serial": inspection.map(|inspection| inspection.exports.serial),
            "wasiHttp": inspection.and_then(|inspection| Some(&inspection.exports.http.as_ref()?.export)),
            "snapshot": inspection.map(|inspection| inspection.exports.snapshot),
            "handlers": inspection.and_then(|inspection| inspection.handlers.as_ref()),
            "capabilities": self.capabilities(),
            "exports": self.info.exports,
            "imports": self.info.imports,
            "producers": self.info.producers,
            "language": self.info.language,
            "toolchain": self.info.toolchain,
            "subscriptions": self.subscriptions,
            "sockets": self.sockets,
            "channels": self.channels,
            "filters": self.filters,
            "faults": self.faults(),
        });
        format!("{whole:#}\n")
    }
}

/// `room/{room}: POST room/message, protocols v2, v1, at most 1.0 KiB`.
fn socket_as_text(socket: &SocketStatus) -> String {
    let SocketStatus { pattern, route, protocols, max_message } = socket;
    let mut text = format!("{pattern}: {route}");
    if !protocols.is_empty() {
        _ = write!(text, ", protocols {}", protocols.join(", "));
    }
    if let Some(size) = max_message {
        _ = write!(text, ", at most {}", Bytes(usize::try_from(*size).unwrap_or(usize::MAX)));
    }
    printable(&text)
}

/// `room/*: POST room decides about subscribe, publish; keeps 100 messages; presence`.
fn channel_as_text(channel: &ChannelPatternStatus) -> String {
    let ChannelPatternStatus { pattern, route, on, history, presence, envelope: _ } = channel;
    let mut text = match route {
        Some(route) => format!("{pattern}: {route} decides about {}", on.join(", ")),
        None => format!("{pattern}: open to every client"),
    };
    match history.as_ref().map(|history| history.count) {
        None => {}
        Some(1) => text.push_str("; keeps 1 message"),
        Some(count) => _ = write!(text, "; keeps {count} messages"),
    }
    if history.as_ref().is_some_and(|history| history.keep == ChannelKeep::Cluster) {
        text.push_str(" in the cluster");
    }
    if *presence {
        text.push_str("; presence");
    }
    printable(&text)
}

/// Whether a `producers` section means a version of C: `C11`.
fn is_c(language: &str) -> bool {
    language.strip_prefix('C').is_some_and(|version| version.chars().all(|c| c.is_ascii_digit()))
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A size with a unit.
pub struct Bytes(pub usize);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.0 as f64;
        match self.0 {
            bytes if bytes < 1 << 10 => write!(f, "{bytes} bytes"),
            bytes if bytes < 1 << 20 => write!(f, "{:.1} KiB", size / 1_024.0),
            _ => write!(f, "{:.1} MiB", size / 1_048_576.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_shows_one_frame_of_its_backtrace() {
        let crash = "a.wasm: unreachable\n    at abort\n    at hello::warm (src/lib.rs:9)\n    at hello::outer";
        let described = Description {
            file: "a.wasm".to_owned(),
            info: ComponentInfo::default(),
            inspection: Err(crash.to_owned()),
            subscriptions: Vec::default(),
            sockets: Vec::default(),
            channels: Vec::default(),
            filters: FiltersStatus::default(),
        };
        assert_eq!(described.faults(), ["a.wasm: unreachable", "    at hello::warm (src/lib.rs:9)"]);
    }

    #[test]
    fn a_size_has_the_largest_fitting_unit() {
        let all: Vec<String> = [0, 1_023, 1_024, 1_536, 1 << 20].iter().map(|size| Bytes(*size).to_string()).collect();
        assert_eq!(all, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 KiB", "1.0 MiB"]);
    }
}
