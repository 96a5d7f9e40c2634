//! The log of `fanfare dev`: a line has the time (UTC), the level, the module, the isolate
//! and the message.

use std::fmt::{self, Debug, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::backtrace::{frame_of_author, shortened};
use crate::terminal::visible;

/// Fields that an author does not need. `log.` begins those that other crates' messages have.
const HIDDEN: &[&str] = &["capability", "fault", "from", "generation", "stream", "trace"];

/// The format.
pub struct Short {
    /// Whether a crash shows its whole backtrace instead of one frame.
    pub whole_backtrace: bool,
}

impl<S, N> FormatEvent<S, N> for Short
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // The crash has a line of its own.
        if fields.is_crashed_call {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.write(writer, now, *event.metadata().level(), &fields)
    }
}

impl Short {
    fn write(&self, mut writer: Writer<'_>, seconds: u64, level: Level, fields: &Fields) -> fmt::Result {
        let (hours, minutes, seconds) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        let color = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            _ => "34",
        };
        let (on, off) =
            if writer.has_ansi_escapes() { (format!("\x1b[{color}m"), "\x1b[0m") } else { Default::default() };
        write!(writer, "{hours:02}:{minutes:02}:{seconds:02}Z {on}{:<5}{off} ", level.as_str())?;
        let place = [&*fields.module, &*fields.isolate].into_iter().filter(|name| !name.is_empty());
        let place = place.collect::<Vec<_>>().join(" ");
        if !place.is_empty() {
            write!(writer, "{}: ", visible(&place))?;
        }
        // Reports have a fault in each line.
        let message = &fields.message;
        let message = if self.whole_backtrace { message.clone() } else { shortened(message) };
        write!(writer, "{}", visible(&message).replace('\n', "\n  "))?;
        writeln!(writer, "{}", visible(&fields.others))?;
        let backtrace = fields.backtrace.trim();
        let frame = || frame_of_author(&backtrace.lines().collect::<Vec<_>>()).map(str::trim);
        let shown = if self.whole_backtrace { Some(backtrace) } else { frame() };
        match shown.filter(|text| !text.is_empty()) {
            Some(text) => writeln!(writer, "    {}", visible(text)),
            None => Ok(()),
        }
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    module: String,
    backtrace: String,
    isolate: String,
    /// Whether the event is a call that ended because its instance crashed.
    is_crashed_call: bool,
    /// All others, as ` name=value`.
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let target = match field.name() {
            "message" => &mut self.message,
            "module" => &mut self.module,
            "backtrace" => &mut self.backtrace,
            "isolate" => &mut self.isolate,
            name if HIDDEN.contains(&name) || name.starts_with("log.") => return,
            "code" if format!("{value:?}") == "crashed" => {
                self.is_crashed_call = true;
                return;
            }
            "took" => {
                // A duration, whose other digits say nothing. Writing to a string cannot fail.
                _ = write!(self.others, " took={value:.1?}");
                return;
            }
            name => {
                _ = write!(self.others, " {name}={value:?}");
                return;
            }
        };
        _ = write!(target, "{value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(short: &Short, fields: &Fields) -> String {
        let mut text = String::new();
        short.write(Writer::new(&mut text), 90_061, Level::ERROR, fields).unwrap();
        text
    }

    const BACKTRACE: &str = "\n    at __rustc::rust_panic (/rustc/1/library/std/src/panicking.rs:8)\n    \
                             at core::panicking::panic_fmt\n    at hello::greet (src/lib.rs:9)\n    at hello::outer";

    #[test]
    fn a_crash_is_a_line_and_the_frame_of_the_author() {
        let fields = Fields {
            message: "the instance crashed: unreachable\u{1b}[2J".into(),
            module: "hello".into(),
            isolate: "worker-1".into(),
            backtrace: BACKTRACE.into(),
            others: " handlers=[\"greet\"]".into(),
            ..Fields::default()
        };
        let line = "01:01:01Z ERROR hello worker-1: the instance crashed: unreachable\\u001b[2J handlers=[\"greet\"]\n";
        let short = written(&Short { whole_backtrace: false }, &fields);
        assert_eq!(short, format!("{line}    at hello::greet (src/lib.rs:9)\n"));
        assert_eq!(written(&Short { whole_backtrace: true }, &fields).lines().count(), 5);
        let plain = Fields { message: "two\nlines".into(), isolate: "worker-0".into(), ..Fields::default() };
        assert_eq!(written(&Short { whole_backtrace: true }, &plain), "01:01:01Z ERROR worker-0: two\n  lines\n");
    }

    #[test]
    fn a_rejected_reload_shows_the_frame_of_the_author() {
        let message = format!("reload rejected: unreachable{BACKTRACE}");
        let fields = Fields { message, ..Fields::default() };
        let short = written(&Short { whole_backtrace: false }, &fields);
        assert_eq!(short, "01:01:01Z ERROR reload rejected: unreachable\n      at hello::greet (src/lib.rs:9)\n");
        assert_eq!(written(&Short { whole_backtrace: true }, &fields).lines().count(), 5);
    }

    #[derive(Clone, Default)]
    struct Recorder(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Recorder {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_duration_has_one_decimal() {
        let recorder = Recorder::default();
        let writer = recorder.clone();
        let format = Short { whole_backtrace: false };
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(format)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let took = std::time::Duration::from_micros(9_581_109);
            tracing::info!(module = "hello", took = ?took, functions = "1 compiled", "compiled");
        });
        let text = String::from_utf8(recorder.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with(" INFO  hello: compiled took=9.6s functions=1 compiled\n"), "{text}");
    }
}
