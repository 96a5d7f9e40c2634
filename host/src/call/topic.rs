//! Topics of brokers outside, as grants and guests write them: `<connection>:<topic>`.
//!
//! A connection is `redis` for the connection to Redis named `default`, `redis.<name>` for any
//! other, and `nats` for NATS.

/// The most bytes of a topic, without its connection.
pub const MAX: usize = 512;

/// The most bytes of a connection.
const MAX_CONNECTION: usize = 80;

/// The most bytes of an entry in a grant.
pub const MAX_ENTRY: usize = MAX_CONNECTION + 1 + MAX;

/// The kind of the connections to Redis.
pub const REDIS: &str = "redis";

/// The connection to NATS, which needs no name.
pub const NATS: &str = "nats";

/// The name of the connection that needs no name.
pub const DEFAULT: &str = "default";

/// The rule for an entry of a grant, worded to follow "must be".
pub const RULE: &str = "\"*\" for all topics, or a connection and a topic such as \"redis:news\", \"redis.cache:news/*\" or \"nats:orders.*\", of at most 512 bytes without control characters; a `*` at the end stands for any text";

/// Returns the connection as guests and grants write it: `redis`, or `redis.cache` for `cache`.
pub fn connection(kind: &str, name: &str) -> String {
    if name == DEFAULT { kind.to_owned() } else { format!("{kind}.{name}") }
}

/// Splits a connection into its kind and its name. `None` if no connection is written like that.
pub fn parse_connection(text: &str) -> Option<(&str, &str)> {
    let (kind, name) = text.split_once('.').unwrap_or((text, DEFAULT));
    let well_formed = !name.is_empty() && !name.contains(':') && text.len() <= MAX_CONNECTION;
    (text == NATS || kind == REDIS && well_formed).then_some((kind, name))
}

/// Whether modules may publish to a subject of NATS: a text without wildcards that does not belong
/// to the server.
pub fn is_nats_subject(text: &str) -> bool {
    is_nats_pattern(text) && !text.split('.').any(|token| matches!(token, "*" | ">"))
}

/// Whether modules may receive the messages of a subject of NATS, which may have wildcards after
/// its first token. Source: the subjects of NATS. The servers keep `$` for themselves, and clients
/// `_INBOX`.
pub fn is_nats_pattern(text: &str) -> bool {
    let is_literal =
        |token: &str| !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || "*>".contains(c));
    let mut tokens = text.split('.').peekable();
    let first = tokens.next().is_some_and(|first| is_literal(first) && !first.starts_with(['$', '_']));
    let mut rest = true;
    while let Some(token) = tokens.next() {
        rest &= is_literal(token) || token == "*" || (token == ">" && tokens.peek().is_none());
    }
    first && rest && text.len() <= MAX && !text.contains(char::is_control)
}

/// Whether the host accepts this text as an entry of a grant.
pub fn is_entry(text: &str) -> bool {
    let topic = text.split_once(':').filter(|(connection, _)| parse_connection(connection).is_some());
    let well_formed = topic.is_some_and(|(_, topic)| (1..=MAX).contains(&topic.len()));
    text == "*" || (well_formed && !text.contains(char::is_control))
}

/// Whether the entry `granted` covers a topic, or every topic that another entry covers. Both have
/// their connection.
pub fn covers(granted: &str, wanted: &str) -> bool {
    match granted.strip_suffix('*') {
        Some(prefix) => wanted.starts_with(prefix),
        None => granted == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_a_kind_and_a_name() {
        assert_eq!(parse_connection("redis"), Some(("redis", "default")));
        assert_eq!(parse_connection("redis.cache"), Some(("redis", "cache")));
        assert_eq!(parse_connection("nats"), Some(("nats", "default")));
        for bad in ["", "default", "cache", "nats.a", "nats.default", "redis.", "redis:", "redis.a:b"] {
            assert_eq!(parse_connection(bad), None, "{bad}");
        }
        assert_eq!((connection("redis", "default"), connection("redis", "a")), ("redis".into(), "redis.a".into()));
    }

    #[test]
    fn an_entry_names_a_connection_and_a_topic() {
        for good in ["*", "redis:news", "redis:*", "redis.cache:a:b*", "redis:h?llo", "nats:orders.*"] {
            assert!(is_entry(good), "{good}");
        }
        let long = format!("redis:{}", "x".repeat(MAX + 1));
        for bad in ["", "news", "redis", "redis*", "redis:", "nats.x:a", "redis.:a", "redis:a\n", &long] {
            assert!(!is_entry(bad), "{bad}");
        }
    }

    #[test]
    fn a_subject_of_nats_has_wildcards_after_its_first_token() {
        for good in ["a", "a.b", "a.*", "a.*.c", "a.>", "a.b$", "orders.new"] {
            assert!(is_nats_pattern(good), "{good}");
        }
        let long = "x".repeat(MAX + 1);
        for bad in
            ["", ".", "a.", ".a", "a..b", "*", ">", "*.a", "a.>.b", "a.b*", "a b", "$SYS.a", "_INBOX.a", "a\n", &long]
        {
            assert!(!is_nats_pattern(bad), "{bad}");
        }
        assert!(is_nats_subject("a.b") && !is_nats_subject("a.*") && !is_nats_subject("a.>"));
    }

    #[test]
    fn a_star_at_the_end_stands_for_any_text() {
        assert!(
            covers("redis:news*", "redis:news") && covers("redis:news*", "redis:news*") && covers("redis:*", "redis:")
        );
        assert!(
            !covers("redis:news*", "redis:new*")
                && !covers("redis:*", "redis.a:x")
                && !covers("redis:a*b", "redis:axb")
        );
    }
}
