//! Capabilities with a list of patterns: keys of live streams, channels, types of events, topics of
//! brokers outside, web servers, endpoints, variables, and secrets.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{ALL, Scope};
use crate::call::{event_type, stream_key, topic};
use crate::config::{endpoint, formats, origin};

/// Generates a type for each kind of pattern: what covers a name, what a module owns, and the
/// format of an entry.
macro_rules! patterns {
    ($($(#[$doc:meta])* $name:ident: $format:ty, covers $covers:expr, own $own:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Vec<String>);

        impl $name {
            /// Whether an entry covers the name or the pattern.
            pub fn allow(&self, wanted: &str) -> bool {
                self.0.iter().any(|entry| entry == ALL || $covers(entry, wanted))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                Vec::<$format>::json_schema(generator)
            }
        }

        impl Scope for $name {
            fn lacking(&self, granted: &$name) -> $name {
                let mut lacking: Vec<String> = self.0.iter().filter(|entry| !granted.allow(entry)).cloned().collect();
                lacking.sort();
                lacking.dedup();
                $name(lacking)
            }

            fn requests(&self) -> Vec<Option<String>> {
                self.0.iter().cloned().map(Some).collect()
            }

            fn remove_own(&mut self, module: &str) {
                self.0.retain(|entry| !$own(entry, module));
            }
        }
    )*};
}

patterns! {
    /// A list of keys of live streams. An entry is a key, `prefix/*` for all keys that begin with
    /// `prefix/`, or `*` for all keys and for `publish-all` and `close-all`.
    StreamKeys: formats::StreamKeys, covers stream_key::covers, own stream_key::is_own;
    /// A list of channels. An entry is a channel, `prefix/*` for all channels that begin with
    /// `prefix/`, or `*` for all channels.
    ChannelNames: formats::ChannelNames, covers stream_key::covers, own stream_key::is_own;
    /// A list of types of events. An entry is a type, `prefix/*` for all types that begin with
    /// `prefix/`, or `*` for all types.
    EventTypes: formats::EventTypes, covers event_type::covers, own event_type::is_own;
    /// A list of topics of brokers outside. An entry is `<connection>:<topic>`, such as
    /// `redis:news`. A `*` at its end stands for any text. `*` alone means all topics of all
    /// connections.
    Topics: formats::Topics, covers topic::covers, own |_: &str, _: &str| false;
    /// A list of origins of web servers.
    Origins: formats::HttpOrigin, covers origin::covers, own |_: &str, _: &str| false;
    /// A list of endpoints of sockets.
    Endpoints: formats::SocketEndpoint, covers endpoint::covers, own |_: &str, _: &str| false;
    /// A list of stores.
    StoreNames: formats::ConnectionName, covers |entry: &str, name: &str| entry == name, own |_: &str, _: &str| false;
    /// A list of variables.
    Variables: formats::VariableName, covers |entry: &str, name: &str| entry == name, own |_: &str, _: &str| false;
    /// A list of secrets.
    SecretNames: formats::SecretName, covers |entry: &str, name: &str| entry == name, own |_: &str, _: &str| false;
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

    #[test]
    fn the_types_below_the_name_of_the_module_need_no_grant() {
        let types = |list: &[&str]| EventTypes(list.iter().map(|entry| (*entry).to_owned()).collect());
        let mut asked = types(&["chat/said", "chat/*", "chat", "chats/*", "*"]);
        asked.remove_own("chat");
        assert_eq!(asked, types(&["chat", "chats/*", "*"]));
        assert!(types(&["order/*"]).allow("order/eu/*") && !types(&["order/*"]).allow("orders"));
    }

    #[test]
    fn no_topic_belongs_to_a_module() {
        let topics = || Topics(vec!["redis:chat".into(), "redis:chat/*".into()]);
        let mut asked = topics();
        asked.remove_own("chat");
        assert_eq!(asked, topics());
        assert_eq!(asked.lacking(&Topics(vec!["redis:ch*".into()])), Topics::default());
        assert_eq!(asked.lacking(&Topics(vec!["redis.two:*".into()])), asked);
    }
}
