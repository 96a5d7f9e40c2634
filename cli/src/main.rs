//! The command line. Every flag has a variable as its twin.

mod build;
mod call;
mod check;
mod client;
mod compile;
mod component;
mod config;
mod dev;
mod emit;
mod entries;
mod grant;
mod inspect;
mod new;
mod progress;
mod project;
mod reload;
mod schema;
mod serve;
mod status;
mod temp;
mod terminal;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A WebAssembly plugin host for broadcast handlers.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, propagate_version = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the modules.
    Serve(serve::ServeArgs),
    /// Serve the modules, and build and swap one whenever its sources are saved.
    Dev(dev::DevArgs),
    /// Check fanfare.json and every module, and print all faults at once.
    Check(check::CheckArgs),
    /// Make a module in Rust that builds and passes its tests.
    New(new::NewArgs),
    /// Build modules with the commands of their module.json, and check what came out.
    Build(build::BuildArgs),
    /// Run a module's cases, its files `*.test.json`, in a host that is gone afterwards.
    Test(test::TestArgs),
    /// Print the effective settings and where each comes from.
    Config(config::ConfigArgs),
    /// Print the JSON Schema of module.json, fanfare.json or *.test.json.
    Schema(schema::SchemaArgs),
    /// Show what a component imports, exports and handles, and who made it.
    Inspect(inspect::InspectArgs),
    /// Show and write what a module is granted.
    Grant(grant::GrantArgs),
    /// Show a running host: its modules and how they are.
    Status(status::StatusArgs),
    /// Emit a broadcast of a module, through the admin listener.
    Emit(emit::EmitArgs),
    /// Call a route of a module, through the admin listener.
    Call(call::CallArgs),
    /// Read fanfare.json and the modules' folders again, and let what is there take over, through the admin listener.
    Reload(reload::ReloadArgs),
    /// Go back to a generation of a module that served before, through the admin listener.
    Rollback(reload::RollbackArgs),
    /// Compile one component: what `serve` starts as a child process.
    #[command(hide = true)]
    Compile(compile::CompileArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Check(args) => check::run(&args, &component::faults),
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Grant(args) => grant::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Emit(args) => emit::run(&args),
        Command::Call(args) => call::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Rollback(args) => reload::roll_back(&args),
        Command::Compile(args) => compile::run(args),
    }
}

/// This program, which is its own compiler.
fn program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("the program does not find itself: {error}"))
}

/// For a command that waits in one thread.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("the runtime does not start: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use fanfare::tooling::config::variables::{OTHERS, known};

    /// Of every command that people use: its flags and arguments, under the command's name.
    fn arguments() -> Vec<(String, clap::Arg)> {
        let cli = Cli::command();
        let commands = cli.get_subcommands().filter(|command| !command.is_hide_set());
        let of = |command: &clap::Command| -> Vec<_> {
            command.get_arguments().map(|argument| (command.get_name().to_owned(), argument.clone())).collect()
        };
        commands.flat_map(of).collect()
    }

    fn variable(argument: &clap::Arg) -> Option<String> {
        argument.get_env().map(|name| name.to_string_lossy().into_owned())
    }

    #[test]
    fn every_flag_has_a_variable() {
        let commands: BTreeSet<_> = arguments().into_iter().map(|(command, _)| command).collect();
        assert!(commands.iter().any(|name| name == "serve") && commands.len() >= 8, "{commands:?}");
        for (command, flag) in arguments().into_iter().filter(|(_, argument)| !argument.is_positional()) {
            assert!(variable(&flag).is_some(), "{command} --{}", flag.get_id());
        }
    }

    #[test]
    fn the_variable_of_every_flag_is_known_and_no_other_one() {
        let read: BTreeSet<String> = arguments().iter().filter_map(|(_, argument)| variable(argument)).collect();
        for name in &read {
            assert!(OTHERS.contains(&name.as_str()) || known().contains_key(name), "{name}");
        }
        // The one that no flag stands for makes a test write the schemas.
        for name in OTHERS.iter().filter(|name| **name != "FANFARE_BLESS") {
            assert!(read.contains(*name), "nothing reads {name}");
        }
    }
}
