//! Types of events of the event service, and patterns of types.
//!
//! A pattern is a type, `prefix/*` for all types that begin with `prefix/`, or `*` for all types.

use super::stream_key;

/// The most bytes of a type or a pattern.
pub const MAX: usize = 256;

/// The pattern of all types.
pub const ALL: &str = "*";

/// The rule for a pattern, worded to follow "must be".
pub const PATTERN_RULE: &str = "\"*\" for all types, a type of 1 to 256 bytes without control characters, or \"prefix/*\" for all types that begin with \"prefix/\"";

/// Whether the host accepts this text as a type. A pattern is a type by this rule too: the type
/// `order/*` exists, but nobody can subscribe to it alone.
pub fn is_type(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX && !text.contains(char::is_control)
}

/// Whether `pattern` covers a type, or every type that another pattern covers.
pub fn covers(pattern: &str, wanted: &str) -> bool {
    pattern == ALL || stream_key::covers(pattern, wanted)
}

/// Whether a type or a pattern belongs to the module by its name: it begins with the name and a
/// slash.
pub fn is_own(wanted: &str, module: &str) -> bool {
    wanted.strip_prefix(module).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_short_and_has_no_control_characters() {
        assert!(is_type("order/paid") && is_type("a b") && is_type("*") && is_type(&"x".repeat(256)));
        for bad in ["", "a\n", "\0", "\u{85}", &"x".repeat(257)] {
            assert!(!is_type(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_pattern_covers_a_type_its_prefix_or_everything() {
        assert!(covers("order/*", "order/paid") && covers("*", "order/*") && covers("*", "*") && covers("a", "a"));
        assert!(!covers("order/*", "*") && !covers("order", "order/paid") && !covers("order/*", "order"));
    }

    #[test]
    fn a_module_owns_the_types_below_its_name() {
        assert!(is_own("chat/said", "chat") && is_own("chat/*", "chat") && is_own("chat/", "chat"));
        assert!(!is_own("chat", "chat") && !is_own("chats/said", "chat") && !is_own("*", "chat"));
    }
}
