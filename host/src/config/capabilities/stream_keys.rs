//! The capability `sse`: the keys of live streams that a module may publish to.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{ALL, Scope};
use crate::call::stream_key;
use crate::config::formats::StreamKeys as Format;

/// A list of keys of live streams. An entry is a key, `prefix/*` for all keys that begin with
/// `prefix/`, or `*` for all keys and for `publish-all` and `close-all`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamKeys(pub Vec<String>);

impl StreamKeys {
    /// Whether an entry covers the key or pattern.
    pub fn allow(&self, wanted: &str) -> bool {
        self.0.iter().any(|entry| entry == ALL || stream_key::covers(entry, wanted))
    }
}

impl JsonSchema for StreamKeys {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "StreamKeys".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<Format>::json_schema(generator)
    }
}

impl Scope for StreamKeys {
    fn lacking(&self, granted: &StreamKeys) -> StreamKeys {
        let mut lacking: Vec<String> = self.0.iter().filter(|key| !granted.allow(key)).cloned().collect();
        lacking.sort();
        lacking.dedup();
        StreamKeys(lacking)
    }

    fn requests(&self) -> Vec<Option<String>> {
        self.0.iter().cloned().map(Some).collect()
    }

    fn remove_own(&mut self, module: &str) {
        self.0.retain(|key| !stream_key::is_own(key, module));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(list: &[&str]) -> StreamKeys {
        StreamKeys(list.iter().map(|key| (*key).to_owned()).collect())
    }

    #[test]
    fn an_entry_covers_itself_its_prefix_or_everything() {
        let granted = keys(&["news", "orders/*"]);
        for covered in ["news", "orders/1", "orders/1/a", "orders/", "orders/*", "orders/eu/*"] {
            assert!(granted.allow(covered), "{covered}");
        }
        for other in ["", "*", "new", "news/1", "news/*", "orders", "order/*", "Orders/1"] {
            assert!(!granted.allow(other), "{other}");
        }
        for any in ["", "*", "news", "a/*"] {
            assert!(keys(&["*"]).allow(any), "{any}");
        }
    }

    #[test]
    fn a_key_that_no_grant_covers_is_lacking_once() {
        let asked = keys(&["orders/1", "news", "news", "*", "a/*"]);
        assert_eq!(asked.lacking(&keys(&["orders/*"])), keys(&["*", "a/*", "news"]));
        assert_eq!(asked.lacking(&keys(&["*"])), keys(&[]));
        assert_eq!(keys(&["a/b/*"]).lacking(&keys(&["a/*"])), keys(&[]));
        assert_eq!(keys(&["a/*"]).lacking(&keys(&["a/b/*"])), keys(&["a/*"]));
    }

    #[test]
    fn the_keys_of_the_module_itself_need_no_grant() {
        let mut asked = keys(&["chat", "chat/room", "chat/*", "chats", "chat-2/*", "*"]);
        asked.remove_own("chat");
        assert_eq!(asked, keys(&["chats", "chat-2/*", "*"]));
    }
}
