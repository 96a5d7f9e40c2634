//! The command line. Every flag can also be set by an environment variable.

mod backtrace;
mod broadcasts;
mod build;
mod call;
mod check;
mod client;
mod cluster;
mod color;
mod component;
mod config;
mod descriptors;
mod dev;
mod doctor;
mod emit;
mod entries;
mod error;
mod events;
mod grant;
mod init;
mod inspect;
mod log;
mod machine;
mod man;
mod message;
mod new;
mod progress;
mod project;
mod publish;
mod reload;
mod schedules;
mod schema;
mod serve;
mod service_client;
mod status;
mod subscribe;
mod subscriptions;
mod table;
mod temp;
mod terminal;
mod test;
mod threads;
mod types;
mod wit;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use error::CommandError;

/// A WebAssembly plugin host for broadcast handlers.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, propagate_version = true, max_term_width = 120)]
#[command(after_help = "Exit codes: 0 success, 1 failure, 2 wrong command line (see `fanfare man | man -l -`)")]
struct Cli {
    /// Whether help, errors and the log have colours. `auto` means on a terminal, unless NO_COLOR
    /// is set.
    #[arg(long, global = true, value_name = "WHEN", env = color::VARIABLE, default_value = "auto")]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the host and serve the modules.
    Serve(serve::ServeArgs),
    /// Serve the modules; build and swap a module when its sources change.
    Dev(dev::DevArgs),
    /// Check fanfare.json and every module, and report all faults at once.
    Check(check::CheckArgs),
    /// Check settings, modules, grants, ports, limits and the tools of each language.
    Doctor(doctor::DoctorArgs),
    /// Make a folder a project: fanfare.json, modules/ and .gitignore.
    Init(init::InitArgs),
    /// Create a module that builds and passes its tests.
    New(new::NewArgs),
    /// Build modules with the build.command of their module.json, and check the components.
    Build(build::BuildArgs),
    /// Run the test cases of modules (*.test.json) in a temporary host.
    Test(test::TestArgs),
    /// Print the effective settings and the origin of each.
    Config(config::ConfigArgs),
    /// Print the JSON Schema of module.json, fanfare.json or *.test.json.
    Schema(schema::SchemaArgs),
    /// Write stubs that call the routes and broadcasts of the modules, with types.
    Types(types::TypesArgs),
    /// Write the contract between modules and the host (WIT), for modules in other languages.
    Wit(wit::WitArgs),
    /// Show what a component imports, exports and handles, and which tools built it.
    Inspect(inspect::InspectArgs),
    /// Show the capabilities that modules ask for, and grant those of one in fanfare.json.
    Grant(grant::GrantArgs),
    /// Show a running host and the state of its modules.
    Status(status::StatusArgs),
    /// Show the events of a running host, and follow them; or run an event service.
    Events(events::EventsArgs),
    /// Emit an event to an event service.
    Publish(publish::PublishArgs),
    /// Print the events of an event service as they arrive.
    Subscribe(subscribe::SubscribeArgs),
    /// Emit a broadcast of a module in a running host.
    Emit(emit::EmitArgs),
    /// Call a route of a module in a running host.
    Call(call::CallArgs),
    /// Send a message to a module in one worker or broker of a running host.
    Message(message::MessageArgs),
    /// Show the schedules of a running host, or run one.
    Schedules(schedules::SchedulesArgs),
    /// Show the durable broadcasts of a running host, and replay those that failed.
    Broadcasts(broadcasts::BroadcastsArgs),
    /// Show the subscriptions of a running host.
    Subscriptions(subscriptions::SubscriptionsArgs),
    /// Start, show and stop the servers of a cluster.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Reload fanfare.json and modules in a running host.
    Reload(reload::ReloadArgs),
    /// Return a module to an earlier generation in a running host.
    Rollback(reload::RollbackArgs),
    /// Show the workers of a running host, or kill them one after another.
    Workers(workers::IsolatesArgs),
    /// Show the brokers of a running host, or kill them one after another.
    Brokers(workers::IsolatesArgs),
    /// Print a script that completes commands and flags in a shell.
    Completions(man::CompletionsArgs),
    /// Print the manual, or write a page for each command.
    Man(man::ManArgs),
}

fn main() -> ExitCode {
    if let Some(code) = fanfare::compile_if_asked() {
        return code;
    }
    let command = Cli::command().color(color::of_arguments(std::env::args_os().skip(1)));
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    color::choose(cli.color);
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Check(args) => check::run(&args, &component::faults_blocking),
        Command::Doctor(args) => doctor::run(&args),
        Command::Init(args) => init::run(&args),
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Types(args) => types::run(&args),
        Command::Wit(args) => wit::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Grant(args) => grant::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Subscribe(args) => subscribe::run(&args),
        Command::Emit(args) => emit::run(&args),
        Command::Call(args) => call::run(&args),
        Command::Message(args) => message::run(&args),
        Command::Schedules(args) => schedules::run(&args),
        Command::Cluster(command) => cluster::run(&command),
        Command::Broadcasts(args) => broadcasts::run(&args),
        Command::Subscriptions(args) => subscriptions::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Rollback(args) => reload::roll_back(&args),
        Command::Workers(args) => workers::run(&args, workers::Kind::Workers),
        Command::Brokers(args) => workers::run(&args, workers::Kind::Brokers),
        Command::Completions(args) => man::complete(&args, Cli::command()),
        Command::Man(args) => man::man(&args, Cli::command()),
    }
}

/// The path of this executable, which the host starts to compile components.
fn program() -> Result<PathBuf, CommandError> {
    std::env::current_exe().map_err(CommandError::Executable)
}

/// A runtime on the current thread.
fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CommandError::Runtime)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use fanfare::tooling::config::variables::{OTHERS, known};

    /// The flags and arguments of every visible command, each with the name of its command.
    fn arguments() -> Vec<(String, clap::Arg)> {
        let cli = Cli::command();
        let commands = cli.get_subcommands().filter(|command| !command.is_hide_set());
        let of = |command: &clap::Command| -> Vec<_> {
            command.get_arguments().map(|argument| (command.get_name().to_owned(), argument.clone())).collect()
        };
        commands.chain([&cli]).flat_map(of).collect()
    }

    fn variable(argument: &clap::Arg) -> Option<String> {
        argument.get_env().map(|name| name.to_string_lossy().into_owned())
    }

    #[test]
    fn every_flag_can_be_set_by_a_variable() {
        let commands: BTreeSet<_> = arguments().into_iter().map(|(command, _)| command).collect();
        assert!(commands.iter().any(|name| name == "serve") && commands.len() >= 8, "{commands:?}");
        for (command, flag) in arguments().into_iter().filter(|(_, argument)| !argument.is_positional()) {
            assert!(variable(&flag).is_some(), "{command} --{}", flag.get_id());
        }
    }

    #[test]
    fn the_known_variables_are_those_that_flags_read() {
        let read: BTreeSet<String> = arguments().iter().filter_map(|(_, argument)| variable(argument)).collect();
        for name in &read {
            assert!(OTHERS.contains(&name.as_str()) || known().contains_key(name), "{name}");
        }
        // Only tests read FANFARE_BLESS: it makes them write the schemas. Builds read the others.
        let without_flag = ["FANFARE_BLESS", "FANFARE_C_TOOLS", "FANFARE_GO_TOOLS"];
        for name in OTHERS.iter().filter(|name| !without_flag.contains(name)) {
            assert!(read.contains(*name), "no flag reads {name}");
        }
    }
}
