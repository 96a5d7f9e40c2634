//! Whether output has colours: `--color`, the variable `NO_COLOR`, and whether it goes to a
//! terminal.

use std::ffi::OsString;
use std::sync::OnceLock;

use clap::ColorChoice;
use clap::ValueEnum as _;

/// The variable that replaces `--color`.
pub const VARIABLE: &str = "FANFARE_COLOR";

static CHOICE: OnceLock<ColorChoice> = OnceLock::new();

/// Sets the choice of the command line. Only the first call has an effect.
pub fn choose(choice: ColorChoice) {
    // The error returns a second choice.
    _ = CHOICE.set(choice);
}

/// Whether text on a terminal has colours.
pub fn on_terminal() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_enabled(CHOICE.get().copied().unwrap_or(ColorChoice::Auto), no_color)
}

fn is_enabled(choice: ColorChoice, no_color: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => !no_color,
    }
}

/// The choice among arguments that are not parsed yet, because the help and the errors of the
/// parser have colours too. The parser itself reports a wrong value.
pub fn of_arguments(arguments: impl IntoIterator<Item = OsString>) -> ColorChoice {
    let mut arguments = arguments.into_iter().take_while(|argument| argument != "--");
    let mut found = std::env::var(VARIABLE).ok();
    while let Some(argument) = arguments.next() {
        let argument = argument.to_string_lossy();
        match argument.strip_prefix("--color") {
            Some("") => found = arguments.next().map(|value| value.to_string_lossy().into_owned()),
            Some(value) => found = value.strip_prefix('=').map(str::to_owned).or(found),
            None => {}
        }
    }
    found.and_then(|value| ColorChoice::from_str(&value, true).ok()).unwrap_or(ColorChoice::Auto)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_counts_more_than_no_color() {
        use ColorChoice::{Always, Auto, Never};
        for (choice, no_color, enabled) in
            [(Auto, false, true), (Auto, true, false), (Always, true, true), (Never, false, false)]
        {
            assert_eq!(is_enabled(choice, no_color), enabled, "{choice} {no_color}");
        }
    }

    #[test]
    fn the_choice_is_known_before_the_arguments_are_parsed() {
        for (arguments, choice) in [
            (&["status"][..], ColorChoice::Auto),
            (&["status", "--color", "never"], ColorChoice::Never),
            (&["--color=always", "status"], ColorChoice::Always),
            (&["--color=always", "--color=never"], ColorChoice::Never),
            (&["call", "--", "--color=always"], ColorChoice::Auto),
            (&["--color"], ColorChoice::Auto),
            (&["--color=red"], ColorChoice::Auto),
        ] {
            assert_eq!(of_arguments(arguments.iter().map(OsString::from)), choice, "{arguments:?}");
        }
    }
}
