//! `fanfare completions` and `fanfare man`: what the command line tells shells and `man`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::Resettable;
use clap_complete::Shell as Generator;

use super::error::CommandError;
use super::terminal::{eprint, exit_code, print};
use fanfare::tooling::document::source::shown;

/// What each exit code means. The manual and docs/reference.md have the same table.
pub const EXIT_CODES: &[(&str, &str)] = &[
    (
        "0",
        "success. For `serve`, `dev`, `events serve` and `cluster up`: the first signal stopped the process, and it has drained",
    ),
    ("1", "failure: a fault, a refusal, a failed test or an unreachable host. Standard error or the report says why"),
    ("2", "the command line is wrong: an unknown command or flag, or a value such as a payload that is not JSON"),
    ("101", "a bug: the program panicked. Please report it"),
    ("130", "SIGINT stopped `serve`, `dev` or `events serve` before it served, or at once when sent twice"),
    ("143", "SIGTERM did"),
];

/// Flags of `fanfare completions`.
#[derive(Debug, Clone, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Flags of `fanfare man`.
#[derive(Debug, Clone, clap::Args)]
pub struct ManArgs {
    /// The folder for the pages of all commands [default: print the page of the program].
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Prints the script that completes commands and flags in a shell.
pub fn complete(args: &CompletionsArgs, mut command: clap::Command) -> ExitCode {
    let shell = match args.shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "fanfare", &mut script);
    // A reader that has closed the pipe is not an error.
    _ = io::stdout().write_all(&script);
    ExitCode::SUCCESS
}

/// Prints the manual, or writes a page for each command.
pub fn man(args: &ManArgs, command: clap::Command) -> ExitCode {
    let written = match &args.dir {
        Some(dir) => write(dir, command),
        None => page(command).map_err(CommandError::at(Path::new("fanfare.1"))).map(|page| {
            let (out, hint) = printed(&page, io::stdout().is_terminal());
            // As above.
            _ = io::stdout().write_all(out);
            eprint(hint);
        }),
    };
    exit_code(written.map(|()| ExitCode::SUCCESS))
}

/// What `fanfare man` prints: the page, or on a terminal, which does not format it, how to read it.
/// The second text is for standard error.
fn printed(page: &[u8], is_terminal: bool) -> (&[u8], &'static str) {
    match is_terminal {
        true => (&[], "this is roff: read it with `fanfare man | man -l -`\n"),
        false => (page, ""),
    }
}

fn write(dir: &Path, command: clap::Command) -> Result<(), CommandError> {
    std::fs::create_dir_all(dir).map_err(CommandError::at(dir))?;
    clap_mangen::generate_to(command.clone().disable_help_subcommand(true), dir).map_err(CommandError::at(dir))?;
    let file = dir.join("fanfare.1");
    let page = page(command).map_err(CommandError::at(&file))?;
    std::fs::write(&file, page).map_err(CommandError::at(&file))?;
    print(&format!("wrote the manual to {0}: see `man -l {0}/fanfare.1`\n", shown(dir)));
    Ok(())
}

/// The page of the program, with the exit codes.
fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    // The section below says more than the last line of the help.
    let command = command.disable_help_subcommand(true).after_help(Resettable::Reset);
    clap_mangen::Man::new(command).render(&mut page)?;
    writeln!(page, ".SH EXIT STATUS")?;
    for (code, meaning) in EXIT_CODES {
        writeln!(page, ".TP\n\\fB{code}\\fR\n{}", meaning.replace('`', "").replace('-', "\\-"))?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn docs_reference_has_the_exit_codes() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
        let page = std::fs::read_to_string(page).unwrap();
        for (code, meaning) in EXIT_CODES {
            assert!(page.contains(&format!("| {code} | {meaning} |\n")), "docs/reference.md lacks exit code {code}");
        }
    }

    #[test]
    fn a_terminal_gets_a_hint_in_place_of_the_page() {
        let hint = "this is roff: read it with `fanfare man | man -l -`\n";
        assert_eq!(printed(b".TH", true), (&b""[..], hint));
        assert_eq!(printed(b".TH", false), (&b".TH"[..], ""));
        let help = crate::Cli::command().render_help().to_string();
        assert!(help.trim_end().ends_with("(see `fanfare man | man -l -`)"), "{help}");
    }

    #[test]
    fn every_command_has_a_page() {
        let temp = tempfile::tempdir().unwrap();
        let command = crate::Cli::command();
        let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        write(temp.path(), command).unwrap();
        for name in names {
            assert!(temp.path().join(format!("fanfare-{name}.1")).is_file(), "{name}");
        }
        let page = std::fs::read_to_string(temp.path().join("fanfare.1")).unwrap();
        assert!(page.contains(".SH EXIT STATUS\n.TP\n\\fB0\\fR\nsuccess"), "{page}");
    }
}
