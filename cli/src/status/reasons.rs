//! The reasons below the table of `fanfare status`: why a module does not serve, and why its
//! instances ended.

use std::fmt::Write as _;
use std::time::Duration;

use fanfare::api::{IsolateStatus, ModuleStatus, State};

use crate::backtrace::shortened;
use crate::client::printable;
use crate::schedules;

/// Writes the reasons of a module. Isolates with the same state and reason share an entry.
pub fn reasons(module: &ModuleStatus, text: &mut String) {
    // A failed build says more than the component that it did not write.
    let reason = module.reason.as_ref().filter(|_| module.state != State::Waiting || module.note.is_none());
    for reason in [reason, module.note.as_ref()].into_iter().flatten() {
        write(module, "", &shortened(reason), text);
    }
    let mut groups: Vec<(String, Vec<&IsolateStatus>)> = Vec::new();
    for isolate in &module.isolates {
        let Some(reason) = isolate.reason.as_deref().map(shortened) else { continue };
        match groups.iter_mut().find(|(other, of)| *other == reason && of.iter().all(|one| one.state == isolate.state))
        {
            Some((_, of)) => of.push(isolate),
            None => groups.push((reason, vec![isolate])),
        }
    }
    for (reason, isolates) in groups {
        write(module, &place(&isolates), &(ended(&isolates) + &reason), text);
    }
}

fn write(module: &ModuleStatus, on: &str, reason: &str, text: &mut String) {
    // Writing to a string cannot fail.
    _ = writeln!(text, "\n{}{on}:", printable(&module.name));
    for line in reason.lines() {
        _ = writeln!(text, "  {}", printable(line));
    }
}

/// ` on worker-0 and worker-1`, and what their state means for the reason.
fn place(isolates: &[&IsolateStatus]) -> String {
    let state = isolates.first().map(|isolate| isolate.state);
    let names = isolates.iter().map(|isolate| {
        let name = printable(&isolate.isolate);
        match isolate.restarts_in.filter(|_| state != Some(State::Ready)) {
            None => name,
            Some(0) => format!("{name}, which starts again now"),
            Some(wait) => format!("{name}, which starts again in {:.1?}", Duration::from_millis(wait)),
        }
    });
    let mut names: Vec<String> = names.collect();
    let restarts = isolates.iter().any(|isolate| isolate.restarts_in.is_some());
    let (verb, crash) = if names.len() == 1 { ("is", "its") } else { ("are", "their") };
    let last = names.pop().unwrap_or_default();
    let names = match names.len() {
        0 => last,
        _ => format!("{}{} {last}", names.join(", "), if restarts { ", and" } else { " and" }),
    };
    match state {
        Some(State::Ready) => format!(" on {names} {verb} ready; {crash} last crash was"),
        _ if restarts => format!(" on {names}, after"),
        _ => format!(" on {names}"),
    }
}

/// When the instances ended: the last of them, if not all ended in the same second.
fn ended(isolates: &[&IsolateStatus]) -> String {
    let ends = || isolates.iter().filter_map(|isolate| isolate.ended_at);
    match (ends().min().map(schedules::at), ends().max().map(schedules::at)) {
        (Some(first), Some(last)) if first == last => format!("{last}: "),
        (_, Some(last)) => format!("last at {last}: "),
        _ => String::new(),
    }
}
