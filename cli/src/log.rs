//! The log, on standard error.

mod short;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::color;
use super::error::CommandError;
use super::progress::Line;
use super::threads;
use short::Short;

/// The most log lines that wait for the reader of standard error. The host drops and counts further
/// ones, so that a reader that stops reading does not block it.
const WAITING_LINES: usize = 8_192;

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text with all fields on a terminal, JSON elsewhere.
    Full,
    /// Text with all fields, without colours.
    Text,
    Json,
    /// Text for the author of a module: see [`Short`].
    Short,
}

/// How the log looks, as the operator says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// What fits where standard error goes to.
    #[default]
    Auto,
    Text,
    Json,
}

impl LogFormat {
    /// The format, which is `usual` unless the operator says otherwise.
    pub fn or(self, usual: Format) -> Format {
        match self {
            LogFormat::Auto => usual,
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        }
    }
}

/// Starts to log. Dropping the guard writes the waiting lines.
pub fn start_log(
    filter: &str,
    format: Format,
    terminal: Option<Line>,
) -> Result<(WorkerGuard, ErrorCounter), CommandError> {
    // `notify` warns when a watched folder is removed, which is normal here. A later directive of
    // the user overrides this one.
    let directives = format!("notify=error,{filter}");
    let filter =
        EnvFilter::try_new(directives).map_err(|error| CommandError::LogFilter { filter: filter.to_owned(), error })?;
    let is_verbose = filter.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG);
    // The writer of the log panics without its thread.
    threads::check()?;
    let queue = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).thread_name("log");
    let is_terminal = terminal.is_some();
    let (writer, guard) = match terminal {
        Some(line) => queue.finish(line),
        None => queue.finish(std::io::stderr()),
    };
    let lost = writer.error_counter();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let ansi = is_terminal && color::on_terminal();
    match format {
        Format::Short => log.with_ansi(ansi).event_format(Short { whole_backtrace: is_verbose }).init(),
        Format::Full if is_terminal => log.with_ansi(ansi).init(),
        Format::Text => log.with_ansi(false).init(),
        Format::Full | Format::Json => log.json().flatten_event(true).init(),
    }
    Ok((guard, lost))
}
