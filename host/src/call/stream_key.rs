//! Keys of live streams, and patterns of keys.
//!
//! A pattern is a key, or `prefix/*` for all keys that begin with `prefix/`.

use super::bounds;

/// The most bytes of a key or a pattern.
pub const MAX: usize = 256;

/// Whether the host accepts this text as a key. The empty key means the connections that name no
/// key.
pub fn is_key(text: &str) -> bool {
    text.len() <= MAX && !text.contains(char::is_control)
}

/// Whether the host accepts this text from outside as a key. Counts one that is too long.
pub fn accepts(text: &str) -> bool {
    if text.len() > MAX {
        bounds::STREAM_NAME.count();
    }
    is_key(text)
}

/// Whether a module may declare this text as a pattern.
pub fn is_pattern(text: &str) -> bool {
    is_key(text) && !text.is_empty() && text != "*"
}

/// The prefix of the keys that a pattern covers, with its slash. `None` if the pattern is a key.
pub fn prefix(pattern: &str) -> Option<&str> {
    pattern.strip_suffix('*').filter(|prefix| prefix.ends_with('/'))
}

/// The patterns with a prefix that cover a key, the longest prefix first.
pub fn prefixes(key: &str) -> impl Iterator<Item = String> {
    let slashes = key.match_indices('/').rev().take(MAX);
    slashes.filter_map(|(at, _)| Some(format!("{}*", key.get(..=at)?)))
}

/// How precisely a pattern names a key that it covers. Of several patterns, the one with the
/// highest rank applies.
pub fn rank(pattern: &str) -> (bool, usize) {
    (prefix(pattern).is_none(), pattern.len())
}

/// Whether `pattern` covers a key, or every key that another pattern covers.
pub fn covers(pattern: &str, wanted: &str) -> bool {
    match prefix(pattern) {
        Some(prefix) => wanted.starts_with(prefix),
        None => pattern == wanted,
    }
}

/// Whether a key or a pattern belongs to the module by its name: the name, or anything that begins
/// with the name and a slash.
pub fn is_own(key: &str, module: &str) -> bool {
    key.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_has_no_control_characters() {
        assert!(is_key("") && is_key("a b/ä*") && is_key(&"x".repeat(256)));
        assert!(!is_key(&"x".repeat(257)) && !is_key(&"ä".repeat(129)));
        for text in ["a\n", "\0", "a\rb", "\u{7f}", "\u{85}"] {
            assert!(!is_key(text), "{text:?}");
        }
        assert!(is_pattern("a") && is_pattern("a/*") && !is_pattern("") && !is_pattern("*"));
    }

    #[test]
    fn only_a_slash_and_a_star_at_the_end_mean_a_prefix() {
        assert_eq!(prefix("a/*"), Some("a/"));
        assert_eq!(prefix("/*"), Some("/"));
        for key in ["a", "a*", "a/**", "a/*/b", "*", ""] {
            assert_eq!(prefix(key), None, "{key}");
        }
    }

    #[test]
    fn a_pattern_covers_a_key_or_all_keys_with_its_prefix() {
        assert!(covers("a", "a") && covers("a/*", "a/b") && covers("a/*", "a/") && covers("a/*", "a/b/*"));
        assert!(!covers("a", "a/b") && !covers("a/*", "a") && !covers("a/*", "ab") && !covers("a/b/*", "a/*"));
    }

    #[test]
    fn the_longest_prefix_of_a_key_is_first() {
        assert_eq!(prefixes("a/b/c").collect::<Vec<_>>(), ["a/b/*", "a/*"]);
        assert_eq!(prefixes("/").collect::<Vec<_>>(), ["/*"]);
        assert_eq!(prefixes("a").count(), 0);
    }

    #[test]
    fn a_module_owns_its_name_and_what_is_below_it() {
        assert!(is_own("chat", "chat") && is_own("chat/", "chat") && is_own("chat/*", "chat"));
        assert!(!is_own("chats", "chat") && !is_own("chat-2", "chat") && !is_own("", "chat") && !is_own("*", "chat"));
    }
}
