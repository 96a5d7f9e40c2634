//! `wasi:logging`.

use crate::bindings::wasi::wasi::logging::logging::{Host, Level};
use crate::isolate::logs;
use crate::isolate::state::State;

impl Host for State {
    fn log(&mut self, level: Level, context: String, message: String) {
        let level = match level {
            Level::Trace => logs::Level::Trace,
            Level::Debug => logs::Level::Debug,
            Level::Info => logs::Level::Info,
            Level::Warn => logs::Level::Warn,
            Level::Error | Level::Critical => logs::Level::Error,
        };
        let fields = if context.is_empty() { Vec::new() } else { vec![("context".to_owned(), context)] };
        self.guest.log.line(level, "log", self.guest.running.only_trace(), &message, &fields);
    }
}
