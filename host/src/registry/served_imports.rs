//! The interfaces of WASI that the host has for components to import.

use crate::call::text::{NAME, line};
use crate::document::shape::nearest;

/// The packages, each with its interfaces and its version. A component may import an interface with
/// another patch version.
pub const SERVED: &[(&str, &[&str], &str)] = &[
    ("wasi:io", &["error", "poll", "streams"], "0.2.12"),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"], "0.2.12"),
    ("wasi:random", &["insecure", "insecure-seed", "random"], "0.2.12"),
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
        ],
        "0.2.12",
    ),
    ("wasi:filesystem", &["preopens", "types"], "0.2.12"),
    (
        "wasi:sockets",
        &["instance-network", "ip-name-lookup", "network", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
        "0.2.12",
    ),
    ("wasi:http", &["outgoing-handler", "types"], "0.2.12"),
    ("wasi:clocks", &["monotonic-clock", "system-clock", "types"], "0.3.0"),
    ("wasi:random", &["insecure", "insecure-seed", "random"], "0.3.0"),
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
            "types",
        ],
        "0.3.0",
    ),
    ("wasi:filesystem", &["preopens", "types"], "0.3.0"),
    ("wasi:sockets", &["ip-name-lookup", "types"], "0.3.0"),
    ("wasi:http", &["client", "types"], "0.3.0"),
    ("wasi:config", &["store"], "0.2.0-rc.1"),
    ("wasi:keyvalue", &["atomics", "batch", "store"], "0.2.0-draft"),
    ("wasi:logging", &["logging"], "0.1.0-draft"),
];

/// Every interface, as `wasi:http/types`, with its version.
pub fn all() -> impl Iterator<Item = (String, &'static str)> {
    let of = |(package, interfaces, version): &'static (&str, &[&str], &str)| {
        interfaces.iter().map(move |interface| (format!("{package}/{interface}"), *version))
    };
    SERVED.iter().flat_map(of)
}

/// Returns why the host cannot satisfy an import of WASI, if so, with the nearest that it has.
pub fn refuse(name: &str) -> Option<String> {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    let versions: Vec<&str> = all().filter(|(served, _)| served == interface).map(|(_, version)| version).collect();
    if versions.iter().any(|served| fits(version, served)) {
        return None;
    }
    let known: Vec<String> = all().map(|(served, _)| served).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let has = match (versions.is_empty(), nearest(interface, &known)) {
        (false, _) => format!("it has {interface} in version {}", versions.join(" and ")),
        (true, Some(near)) => {
            let version = all().find(|(served, _)| served == near).map_or("", |(_, version)| version);
            format!("the nearest that it has is {near}@{version}")
        }
        (true, None) => "docs/capabilities.md lists those that it has".to_owned(),
    };
    Some(format!("imports {}, which this host does not have: {has}", line(name, NAME)))
}

/// Whether the host's version satisfies an import: they are equal, or differ in the patch only.
fn fits(wanted: &str, served: &str) -> bool {
    let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    let plain = |version: &str| !version.contains('-');
    wanted == served || (plain(wanted) && plain(served) && minor(wanted) == minor(served))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_import_is_refused_with_the_nearest_that_exists() {
        for name in
            ["wasi:http/types@0.2.0", "wasi:http/types@0.2.99", "wasi:io/poll@0.2.3", "wasi:config/store@0.2.0-rc.1"]
        {
            assert_eq!(refuse(name), None, "{name}");
        }
        for (name, text) in [
            ("wasi:http/types@0.4.0", "it has wasi:http/types in version 0.2.12 and 0.3.0"),
            ("wasi:config/store@0.2.0-draft", "it has wasi:config/store in version 0.2.0-rc.1"),
            ("wasi:clocks/wall-clock", "it has wasi:clocks/wall-clock in version 0.2.12"),
            ("wasi:http/outgoing-handle@0.2.0", "the nearest that it has is wasi:http/outgoing-handler@0.2.12"),
            ("wasi:nn/graph@0.2.0", "docs/capabilities.md lists those that it has"),
        ] {
            assert_eq!(refuse(name).unwrap(), format!("imports {name}, which this host does not have: {text}"));
        }
    }
}
