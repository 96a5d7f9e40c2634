//! Captures the log of a case: every line of the guest, and the host's warnings and errors.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::error::CommandError;

/// The most log lines kept for one case.
const MAX_LINES: usize = 200;

/// The log lines since the last [`Lines::take`].
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<Buffer>>);

#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<String>,
    /// The number of lines dropped.
    more: usize,
}

impl Lines {
    /// Captures the log of this process from now on.
    pub fn capture() -> Result<Lines, CommandError> {
        let lines = Lines::default();
        let wanted = filter_fn(|meta| meta.target() == "guest" || *meta.level() <= Level::WARN);
        let subscriber = tracing_subscriber::registry().with(lines.clone().with_filter(wanted));
        tracing::subscriber::set_global_default(subscriber)?;
        Ok(lines)
    }

    pub fn take(&self) -> Vec<String> {
        let Buffer { mut lines, more } = std::mem::take(&mut *self.0.lock());
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    fn push(&self, line: String) {
        let mut buffer = self.0.lock();
        match buffer.lines.len() < MAX_LINES {
            true => buffer.lines.push(line),
            false => buffer.more += 1,
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let isolate = if fields.isolate.is_empty() { "host" } else { &fields.isolate };
        self.push(format!("{isolate} {level}: {}{}", fields.message, fields.others));
    }
}

/// The fields of a log event.
#[derive(Default)]
struct Fields {
    isolate: String,
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "isolate" => write!(self.isolate, "{value:?}"),
            // Left out: they are equal in every line, or mean nothing without the rest of the log.
            "module" | "generation" | "trace" | "stream" => Ok(()),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_isolate_and_level_and_the_number_of_lines_is_bounded() {
        let lines = Lines::default();
        let wanted = filter_fn(|meta| meta.target() == "guest" || *meta.level() <= Level::WARN);
        let subscriber = tracing_subscriber::registry().with(lines.clone().with_filter(wanted));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "guest", module = "m", isolate = %"worker-0", "said");
            tracing::info!("not ours");
            tracing::warn!(code = 7, "the host");
        });
        assert_eq!(lines.take(), ["worker-0 debug: said", "host warn: the host code=7"]);
        (0..MAX_LINES + 2).for_each(|number| lines.push(number.to_string()));
        let taken = lines.take();
        assert_eq!((taken.len(), taken.last().unwrap().as_str()), (MAX_LINES + 1, "and 2 more"));
        assert!(lines.take().is_empty());
    }
}
