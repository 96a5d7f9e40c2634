//! Names that a module declares by patterns: stream keys and channels.

use std::collections::BTreeMap;

use super::channels::Channel;
use super::streams::Stream;
use crate::call::stream_key;

/// The patterns of one section of a checked manifest, with what each declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns<T>(BTreeMap<String, T>);

/// The streams of a checked manifest.
pub type Streams = Patterns<Stream>;

/// The channels of a checked manifest.
pub type Channels = Patterns<Channel>;

/// What a pattern names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternKind {
    /// Stream keys.
    Stream,
    /// Channels.
    Channel,
}

impl<T> Default for Patterns<T> {
    fn default() -> Patterns<T> {
        Patterns(BTreeMap::new())
    }
}

impl<T> Patterns<T> {
    pub fn new(patterns: BTreeMap<String, T>) -> Patterns<T> {
        Patterns(patterns)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The patterns and what each declares, sorted by pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(pattern, declared)| (pattern.as_str(), declared))
    }

    /// Finds the pattern of a name: the name itself, or else the longest prefix.
    pub fn find(&self, name: &str) -> Option<(&str, &T)> {
        let found = self
            .0
            .get_key_value(name)
            .or_else(|| stream_key::prefixes(name).find_map(|pattern| self.0.get_key_value(&pattern)));
        found.map(|(pattern, declared)| (pattern.as_str(), declared))
    }
}

impl PatternKind {
    pub const ALL: [PatternKind; 2] = [PatternKind::Stream, PatternKind::Channel];

    /// The section of the manifest that declares the patterns.
    pub fn section(self) -> &'static str {
        match self {
            PatternKind::Stream => "streams",
            PatternKind::Channel => "channels",
        }
    }

    /// The capability to use names of other modules.
    pub fn capability(self) -> &'static str {
        match self {
            PatternKind::Stream => "sse",
            PatternKind::Channel => "channels",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::registry::manifest::{Manifest, ManifestError};

    /// A module `chat` that declares these patterns of a kind.
    fn load(kind: PatternKind, patterns: &str) -> Result<Manifest, ManifestError> {
        let routes = r#"[{ "path": "ask", "handler": "a", "middlewares": "inner" }]"#;
        let section = kind.section();
        let text = format!(r#"{{ "component": "a.wasm", "routes": {routes}, "{section}": {patterns} }}"#);
        Manifest::from_text(Path::new("/modules/chat"), &text)
    }

    fn fault(kind: PatternKind, patterns: &str) -> String {
        let faults = load(kind, patterns).unwrap_err().faults;
        assert_eq!(faults.list().len(), 1, "{faults}");
        format!("{}: {}", faults.list()[0].key, faults.list()[0].message)
    }

    #[test]
    fn the_name_itself_beats_the_longest_prefix() {
        let patterns = r#"{ "chat/*": {}, "chat/room/*": { "path": "ask" }, "chat/room/1": {} }"#;
        for kind in PatternKind::ALL {
            let manifest = load(kind, patterns).unwrap();
            let find = |name| match kind {
                PatternKind::Stream => manifest.streams.find(name).map(|(pattern, one)| (pattern, one.route)),
                PatternKind::Channel => manifest.channels.find(name).map(|(pattern, one)| (pattern, one.route)),
            };
            assert_eq!(find("chat/room/1"), Some(("chat/room/1", None)));
            assert_eq!(find("chat/room/1/a"), Some(("chat/room/*", Some(0))));
            assert_eq!(find("chat/room/"), Some(("chat/room/*", Some(0))));
            assert_eq!(find("chat/room"), Some(("chat/*", None)));
            for other in ["chat", "", "chats/1", "*", "/"] {
                assert_eq!(find(other), None, "{other}");
            }
        }
    }

    #[test]
    fn a_pattern_outside_of_the_module_asks_for_the_capability() {
        for kind in PatternKind::ALL {
            let manifest = load(kind, r#"{ "chat": {}, "chat/*": {}, "news": {}, "orders/*": {} }"#).unwrap();
            let asked = match kind {
                PatternKind::Stream => manifest.capabilities.sse.0,
                PatternKind::Channel => manifest.capabilities.channels.0,
            };
            assert_eq!(asked, ["news", "orders/*"]);
            assert!(load(kind, r#"{ "chat": {}, "chat/1": {} }"#).unwrap().capabilities.is_empty());
        }
    }

    #[test]
    fn a_pattern_is_short_and_has_no_control_characters() {
        let (longest, longer) = ("k".repeat(256), "k".repeat(257));
        for (kind, rule) in
            PatternKind::ALL.into_iter().zip(["must be a key of 1 to 256", "must be a name of 1 to 256"])
        {
            assert!(load(kind, &format!(r#"{{ "{longest}": {{}} }}"#)).is_ok());
            for pattern in [longer.as_str(), "", "*", r"a\nb", r"a\u0000"] {
                let fault = fault(kind, &format!(r#"{{ "{pattern}": {{}} }}"#));
                assert!(fault.contains(rule), "{fault}");
            }
        }
    }

    #[test]
    fn a_module_declares_at_most_1024_patterns() {
        let text = |count: usize| {
            let names: Vec<String> = (0..count).map(|index| format!("\"chat/{index}\": {{}}")).collect();
            format!("{{{}}}", names.join(","))
        };
        for kind in PatternKind::ALL {
            assert!(load(kind, &text(1_024)).is_ok());
            let rule = format!("{}: must have at most 1024 entries", kind.section());
            assert!(fault(kind, &text(1_025)).contains(&rule));
        }
    }
}
