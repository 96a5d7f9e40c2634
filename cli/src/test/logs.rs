//! What is logged while a case runs: all that the guest says, and the host's warnings.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The most lines that are kept of one case.
const MOST: usize = 200;

/// The lines since they were last taken.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: Vec<String>,
    more: usize,
}

impl Lines {
    /// Takes the log of this process.
    pub fn capture() -> Result<Lines, String> {
        let lines = Lines::default();
        let wanted = filter_fn(|meta| meta.target() == "guest" || *meta.level() <= Level::WARN);
        let subscriber = tracing_subscriber::registry().with(lines.clone().with_filter(wanted));
        tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
        Ok(lines)
    }

    pub fn take(&self) -> Vec<String> {
        let Kept { mut lines, more } = std::mem::take(&mut *self.0.lock());
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    fn push(&self, line: String) {
        let mut kept = self.0.lock();
        match kept.lines.len() < MOST {
            true => kept.lines.push(line),
            false => kept.more += 1,
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let isolate = if said.isolate.is_empty() { "host" } else { &said.isolate };
        self.push(format!("{isolate} {level}: {}{}", said.message, said.others));
    }
}

#[derive(Default)]
struct Said {
    isolate: String,
    message: String,
    others: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "isolate" => write!(self.isolate, "{value:?}"),
            // The same in every line, or of no use without the whole log.
            "module" | "generation" | "trace" | "stream" => Ok(()),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_where_and_how_grave_and_are_not_too_many() {
        let lines = Lines::default();
        let wanted = filter_fn(|meta| meta.target() == "guest" || *meta.level() <= Level::WARN);
        let subscriber = tracing_subscriber::registry().with(lines.clone().with_filter(wanted));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "guest", module = "m", isolate = %"worker-0", "said");
            tracing::info!("not ours");
            tracing::warn!(code = 7, "the host");
        });
        assert_eq!(lines.take(), ["worker-0 debug: said", "host warn: the host code=7"]);
        (0..MOST + 2).for_each(|number| lines.push(number.to_string()));
        let taken = lines.take();
        assert_eq!((taken.len(), taken.last().unwrap().as_str()), (MOST + 1, "and 2 more"));
        assert!(lines.take().is_empty());
    }
}
