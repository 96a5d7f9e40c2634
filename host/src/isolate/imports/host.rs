//! `fanfare:module/host`.

use crate::bindings::fanfare::module::host::{Host, Identity, Level};
use crate::isolate::logs;
use crate::isolate::state::State;

impl Host for State {
    fn whoami(&mut self) -> Identity {
        let guest = &self.guest;
        Identity {
            node: guest.node.id.clone(),
            server: guest.node.server.clone(),
            isolate: guest.isolate.into(),
            workers: guest.node.workers,
            module: guest.generation.module.as_ref().to_owned(),
            generation: guest.generation.digest.clone(),
        }
    }

    fn log(&mut self, caller: Option<u64>, level: Level, message: String, fields: Vec<(String, String)>) {
        let level = match level {
            Level::Trace => logs::Level::Trace,
            Level::Debug => logs::Level::Debug,
            Level::Info => logs::Level::Info,
            Level::Warn => logs::Level::Warn,
            Level::Error => logs::Level::Error,
        };
        let trace = self.guest.context(caller).map(|context| context.trace);
        self.guest.log.line(level, "log", trace, &message, &fields);
    }
}
