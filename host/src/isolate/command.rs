//! The commands of schedules.

use crate::call::{Call, Payload, Trigger};
use crate::registry::Generation;

/// What a command gets.
#[derive(Debug)]
pub struct Command {
    /// The name of the module, and what follows it.
    pub arguments: Vec<String>,
    pub stdin: Payload,
}

impl Command {
    /// The command that a call runs in a generation, if it runs one.
    pub fn of(call: &Call, generation: &Generation) -> Option<Command> {
        let Trigger::Schedule(run) = &call.trigger else { return None };
        let arguments = generation.manifest.schedules.get(&*run.name)?.command()?;
        let name = [generation.module.as_ref().to_owned()];
        Some(Command {
            arguments: name.into_iter().chain(arguments.iter().cloned()).collect(),
            stdin: call.payload.clone(),
        })
    }
}
