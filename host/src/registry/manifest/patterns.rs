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
