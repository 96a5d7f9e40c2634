//! The section `redis`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::formats::{FilePath, Label, RedisUrl, VariableName};
use super::redis_address::RedisAddress;
use super::secret::Secret;
use crate::document::units::{MIB, Size, Time};

/// The name of the connection that the settings do not name.
pub const DEFAULT: &str = "default";

/// The connections to Redis, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RedisConfig(pub BTreeMap<String, RedisConnection>);

/// A connection to a Redis server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RedisConnection {
    /// The server: `redis://<host>:<port>`, or `rediss://<host>:<port>` for TLS. Required. The port
    /// is 6379 by default.
    #[schemars(with = "RedisUrl")]
    pub url: String,
    /// The ACL user. Default null: the user `default` of Redis.
    #[schemars(with = "Option<Label>")]
    pub username: Option<String>,
    /// The file whose first line is the password, relative to the folder of this file. The host
    /// reads it each time it connects. Default null: no password.
    #[schemars(with = "Option<FilePath>")]
    pub password_file: Option<String>,
    /// The variable that has the password, instead of a file. Default null: no password.
    #[schemars(with = "Option<VariableName>")]
    pub password_variable: Option<String>,
    /// With TLS, the file with the certificates (PEM) of the authorities that the host trusts,
    /// relative to the folder of this file. Default null: those of the system.
    #[schemars(with = "Option<FilePath>")]
    pub ca: Option<String>,
    /// The number of the database, 0 to 65535. Channels are the same in all databases, streams and
    /// stores are not. Default 0.
    #[schemars(extend("minimum" = 0, "maximum" = 65_535))]
    pub database: u32,
    /// How long the server may take to answer, 10 ms to 10 m. The host then closes the connection
    /// and connects again. It asks a quiet server this often whether it is there. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 600_000))]
    pub timeout: Duration,
    /// How long the host waits before it connects again, 1 ms to 1 h. It doubles with each failed
    /// attempt. Default `100ms`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub reconnect: Duration,
    /// The longest wait before the host connects again, at least `reconnect`, at most 1 h. Default
    /// `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub reconnect_max: Duration,
    /// How long an entry of a stream may be with another consumer of the group that does not
    /// acknowledge it, 100 ms to 24 h. This host then claims the entry. Default `1m`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 100, "maximum" = 86_400_000))]
    pub claim_after: Duration,
    /// How often the host delivers an entry of a stream to a handler that fails, 1 to 1000. The
    /// entry then stays pending, and the host raises `redisMessageFailed`. Default 5.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000))]
    pub tries: u32,
    /// The messages of modules that wait until they are published.
    pub queue: PublishQueue,
}

impl Default for RedisConnection {
    fn default() -> RedisConnection {
        RedisConnection {
            url: String::new(),
            username: None,
            password_file: None,
            password_variable: None,
            ca: None,
            database: 0,
            timeout: Duration::from_secs(5),
            reconnect: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(10),
            claim_after: Duration::from_secs(60),
            tries: 5,
            queue: PublishQueue::default(),
        }
    }
}

/// The messages that wait until they are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PublishQueue {
    /// The most messages, 1 to 1000000. Default 1024.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub messages: u32,
    /// The most bytes of the messages and their topics, 1 KiB to 1 GiB. Default `4MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 30))]
    pub bytes: u64,
    /// How long a message waits for a server that is away, 1 ms to 1 h. Older ones are dropped and
    /// counted. While the server is away for longer, publishing fails. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub age: Duration,
}

impl Default for PublishQueue {
    fn default() -> PublishQueue {
        PublishQueue { messages: 1_024, bytes: 4 * MIB, age: Duration::from_secs(30) }
    }
}

impl RedisConnection {
    /// The host and port, and whether the connection has TLS. `None` if the address is invalid,
    /// which the settings exclude.
    pub fn address(&self) -> Option<RedisAddress> {
        RedisAddress::of(&self.url)
    }

    /// Where the password is.
    pub fn password(&self, root: &Path, variables: &BTreeMap<String, String>) -> Secret {
        Secret::new(self.password_file.as_deref(), self.password_variable.as_deref(), root, variables)
    }

    /// The file with the certificates of the authorities.
    pub fn ca_file(&self, root: &Path) -> Option<PathBuf> {
        self.ca.as_ref().map(|file| root.join(file))
    }
}

/// An object with a key of [`RedisConnection`] is the one connection, any other a map of them.
impl<'de> Deserialize<'de> for RedisConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RedisConfig, D::Error> {
        let object = Map::<String, Value>::deserialize(deserializer)?;
        let keys = serde_json::to_value(RedisConnection::default()).unwrap_or_default();
        let is_one = object.keys().any(|key| keys.get(key).is_some());
        let connections = match is_one {
            true => {
                serde_json::from_value(Value::Object(object)).map(|one| BTreeMap::from([(DEFAULT.to_owned(), one)]))
            }
            false => serde_json::from_value(Value::Object(object)),
        };
        connections.map(RedisConfig).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for RedisConfig {
    fn schema_name() -> Cow<'static, str> {
        "RedisConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let named = generator.subschema_for::<RedisConnection>();
        let mut schema = RedisConnection::json_schema(generator);
        schema.remove("additionalProperties");
        let text = "The connections to Redis: one, which is named `default`, or several by their names.";
        schema.insert("description".to_owned(), text.into());
        schema.insert("additionalProperties".to_owned(), named.to_value());
        schema.insert("x-names".to_owned(), json!("connection"));
        schema.insert("x-single".to_owned(), json!(true));
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_is_the_default_one() {
        let read = |text: &str| serde_json::from_str::<RedisConfig>(text).unwrap().0;
        let one = read(r#"{ "url": "redis://h", "database": 3 }"#);
        assert_eq!(one.keys().collect::<Vec<_>>(), [DEFAULT]);
        assert_eq!(one[DEFAULT].database, 3);
        let several = read(r#"{ "a": { "url": "redis://a" }, "b": { "url": "redis://b" } }"#);
        assert_eq!(several.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(read("{}").is_empty());
    }
}
