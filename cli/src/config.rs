//! `fanfare config`: prints the effective settings and their origins. Also defines the settings
//! flags of all commands.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use serde_json::json;

use super::project;
use super::terminal::{eprint, exit_code, print};
use fanfare::{Config, Fault, Flags, Sources, ValueOrigin};

/// The flags that select the settings.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FileArgs {
    /// The settings file [default: fanfare.json in the current folder or the nearest one above].
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The environment: selects a section of `environments` [default: development].
    #[arg(long, value_name = "NAME", env = "FANFARE_ENV")]
    pub env: Option<String>,
    /// The folder of the modules; overrides `modulesDir`.
    #[arg(long, value_name = "DIR", env = "FANFARE_MODULES_DIR")]
    pub modules: Option<String>,
}

impl FileArgs {
    /// These flags, and no others.
    pub fn alone(&self) -> SettingsArgs {
        SettingsArgs { file: self.clone(), ..SettingsArgs::default() }
    }
}

/// The flags that select and override the settings of a host.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SettingsArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// The number of workers, or `auto` for one per core; overrides `workers`.
    #[arg(long, value_name = "N", env = "FANFARE_WORKERS")]
    pub workers: Option<String>,
    /// The address for clients; overrides `http.listen`.
    #[arg(long, value_name = "ADDRESS", env = "FANFARE_HTTP_LISTEN")]
    pub listen: Option<String>,
    /// The address of the admin listener, which the operator uses; overrides `admin.listen`.
    #[arg(long, value_name = "ADDRESS", env = "FANFARE_ADMIN_LISTEN")]
    pub admin: Option<String>,
    /// The server of `cluster.servers` that this host is; overrides `node.id`.
    #[arg(long, value_name = "ID", env = "FANFARE_NODE_ID")]
    pub node: Option<String>,
}

impl SettingsArgs {
    /// The sources of a configuration: these flags, the process's variables, and the settings file
    /// in `dir`.
    pub fn sources(&self, dir: PathBuf) -> Sources {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Sources {
            config: self.file.config.clone().filter(|file| !file.as_os_str().is_empty()),
            dir,
            environment: given(&self.file.env),
            variables: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            flags: Flags {
                modules: self.file.modules.clone(),
                workers: self.workers.clone(),
                listen: self.listen.clone(),
                admin: self.admin.clone(),
                node: given(&self.node),
            },
        }
    }
}

/// Flags of `fanfare config`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// Prints every effective value with its origin. Prints the faults instead if there are any, and
/// exits with 1.
pub fn run(args: &ConfigArgs) -> ExitCode {
    exit_code(project::settings(&args.settings).map(|config| {
        eprint(&warnings(&config.warnings));
        print(&if args.json { as_json(&config) } else { as_text(&config) });
        ExitCode::SUCCESS
    }))
}

fn as_text(config: &Config) -> String {
    let file = config.file.as_ref().map_or("none".to_owned(), |file| file.display().to_string());
    let lines: Vec<(String, &ValueOrigin)> = config
        .effective
        .leaves()
        .into_iter()
        .map(|(path, node)| (format!("{path} = {}", node.to_json()), &node.origin))
        .collect();
    let width = lines.iter().map(|(text, _)| text.chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    let mut out = format!("file {file}\nenvironment {}\n\n", config.environment);
    for (text, origin) in lines {
        let _ = writeln!(out, "{text:width$}  {origin}");
    }
    out
}

fn as_json(config: &Config) -> String {
    let values = config.effective.leaves().into_iter().map(
        |(path, node)| json!({ "key": path.to_string(), "value": node.to_json(), "origin": origin(&node.origin) }),
    );
    let whole = json!({
        "file": config.file,
        "root": config.root,
        "environment": config.environment,
        "values": values.collect::<Vec<_>>(),
        "warnings": config.warnings,
    });
    format!("{whole:#}\n")
}

fn origin(origin: &ValueOrigin) -> serde_json::Value {
    match origin {
        ValueOrigin::Default => json!({ "kind": "default" }),
        ValueOrigin::File { file, line, column, environment } => json!({
            "kind": if environment.is_some() { "environment" } else { "file" },
            "file": &**file, "line": line, "column": column, "environment": environment.as_deref(),
        }),
        ValueOrigin::Variable(name) => json!({ "kind": "variable", "name": &**name }),
        ValueOrigin::Flag(name) => json!({ "kind": "flag", "name": &**name }),
    }
}

/// One line per warning.
pub(crate) fn warnings(warnings: &[Fault]) -> String {
    warnings.iter().fold(String::new(), |mut text, warning| {
        let _ = writeln!(text, "warning: {warning}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn values_are_printed_with_their_origin() {
        let text = "{\n  \"workers\": 3,\n  \"environments\": {\"development\": {\"http\": {\"maxHeaders\": 2}}}\n}";
        let config = Config::from_text(text, Path::new("/srv")).unwrap();
        let out = as_text(&config);
        let line = |start: &str| {
            out.lines().find(|line| line.starts_with(start)).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("workers"), "workers = 3 fanfare.json:2:14");
        assert_eq!(line("http.maxHeaders"), "http.maxHeaders = 2 environments.development fanfare.json:3:59");
        assert_eq!(line("http.maxBody"), "http.maxBody = \"2MiB\" default");
        assert_eq!(line("http.domain"), "http.domain = null default");
        let json: serde_json::Value = serde_json::from_str(&as_json(&config)).unwrap();
        let workers = json["values"].as_array().unwrap().iter().find(|value| value["key"] == "workers").unwrap();
        assert_eq!(workers["origin"]["line"], 2);
    }
}
