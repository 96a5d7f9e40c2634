//! The parts of `fanfare status` about connected clients: sockets, filters and channels.

use std::fmt::Write as _;

use fanfare::api::{ChannelPatternStatus, ChannelsStatus, ClientsStatus, Status};

use crate::client::printable;
use crate::table::aligned;

/// The connected clients, if the host has any, or has paths where they connect. Returns whether it
/// has.
pub fn clients(status: &Status, text: &mut String) -> bool {
    let ClientsStatus { open, max, bound, groups, listeners } = &status.clients;
    let has_paths = !listeners.is_empty() || status.modules.iter().any(|module| !module.sockets.is_empty());
    if *open == 0 && !has_paths {
        return false;
    }
    // Writing to a string cannot fail.
    _ = writeln!(text, "clients: {open} of {max} WebSockets, {bound} bound to users, {groups} groups");
    true
}

/// The channels, if the host has any, or a module declares some. Returns whether it has.
pub fn channels(status: &Status, text: &mut String) -> bool {
    let ChannelsStatus { open, max, subscriptions, waiting, .. } = &status.channels;
    if *open == 0 && status.modules.iter().all(|module| module.channels.is_empty()) {
        return false;
    }
    // Writing to a string cannot fail.
    _ = writeln!(text, "channels: {open} of {max}, {subscriptions} subscriptions of clients, {waiting} messages wait");
    true
}

/// The channels that modules declare, and those with the most members.
pub fn channel_tables(status: &Status, text: &mut String) {
    let mut rows = vec![["MODULE", "CHANNELS", "ROUTE", "ASKED ABOUT", "HISTORY", "PRESENCE"].map(str::to_owned)];
    for module in &status.modules {
        rows.extend(module.channels.iter().map(|one| {
            let ChannelPatternStatus { pattern, route, on, history, presence, envelope: _ } = one;
            let asked = if on.is_empty() { "-".to_owned() } else { on.join(", ") };
            let cells = [&*module.name, pattern, route.as_deref().unwrap_or("-"), &asked].map(printable);
            let [name, pattern, route, asked] = cells;
            let history = history.map_or_else(|| "-".to_owned(), |history| history.count.to_string());
            [name, pattern, route, asked, history, if *presence { "yes" } else { "-" }.to_owned()]
        }));
    }
    if rows.len() > 1 {
        _ = write!(text, "\n{}", aligned(&rows));
    }
    let mut rows = vec![["CHANNEL", "MEMBERS HERE", "KEPT HERE"].map(str::to_owned)];
    let largest = status.channels.largest.iter();
    rows.extend(largest.map(|one| [printable(&one.name), one.members.to_string(), one.kept.to_string()]));
    if rows.len() > 1 {
        _ = write!(text, "\n{}", aligned(&rows));
    }
}

/// The paths where clients connect, and the filters of their messages.
pub fn sockets(status: &Status, text: &mut String) {
    let row = |module: &str, cells: [String; 3]| {
        let [path, route, protocols] = cells;
        [printable(module), printable(&path), printable(&route), printable(&protocols)]
    };
    let listed = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    let mut rows = vec![["MODULE", "SOCKET", "ROUTE", "PROTOCOLS"].map(str::to_owned)];
    for listener in &status.clients.listeners {
        let protocol = format!("socketcluster/{}", listener.protocol);
        rows.push(row(&listener.module, [listener.path.clone(), "-".to_owned(), protocol]));
    }
    for module in &status.modules {
        let path = |pattern: &str| format!("/api/{}/{pattern}", module.name);
        let of_module = module.sockets.iter();
        rows.extend(
            of_module.map(|one| row(&module.name, [path(&one.pattern), one.route.clone(), listed(&one.protocols)])),
        );
    }
    if rows.len() > 1 {
        _ = write!(text, "\n{}", aligned(&rows));
    }
    let mut rows = vec![["MODULE", "FILTERS BEFORE", "FILTERS AFTER"].map(str::to_owned)];
    for module in status.modules.iter().filter(|module| !module.filters.is_empty()) {
        let (before, after) = (&module.filters.before, &module.filters.after);
        rows.push([&module.name, &listed(before), &listed(after)].map(|cell| printable(cell)));
    }
    if rows.len() > 1 {
        _ = write!(text, "\n{}", aligned(&rows));
    }
}
