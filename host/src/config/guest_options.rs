//! The options that guests read with `master.options`.

use std::net::SocketAddr;

use serde_json::{Map, Value};

use super::settings::Config;
use crate::document::units::{Size, Time};

impl Config {
    /// Returns the operator's `options`, and the options of the host that SocketCluster has too,
    /// under its names: `environment`, `workers`, `brokers`, `host`, `port`, `instanceId` and the
    /// keys of the section `master`. Durations are in milliseconds and sizes in bytes. Those of the
    /// host take precedence. If `options` is no object, it has the key `options`.
    pub fn guest_options(&self, brokers: u32, http: SocketAddr) -> Map<String, Value> {
        let mut options = match &self.options {
            Value::Object(options) => options.clone(),
            other => Map::from_iter([("options".to_owned(), other.clone())]),
        };
        // A section always serialises.
        if let Ok(Value::Object(master)) = serde_json::to_value(&self.master) {
            options.extend(master.into_iter().map(|(key, value)| (key, plain(value))));
        }
        for (key, value) in [
            ("environment", self.environment.as_str().into()),
            ("workers", self.workers.into()),
            ("brokers", brokers.into()),
            ("host", http.ip().to_string().into()),
            ("port", http.port().into()),
            ("instanceId", self.node.id.as_str().into()),
        ] {
            options.insert(key.to_owned(), value);
        }
        options
    }
}

/// Converts the text of a duration or a size to its number.
fn plain(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let time = text.parse::<Time>().map(|time| time.number());
    match time.or_else(|_| text.parse::<Size>().map(|size| size.number())) {
        Ok(number) => number.into(),
        Err(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_options_of_the_host_take_precedence_and_have_plain_numbers() {
        let text = r#"{ "workers": 3, "options": { "a": { "b": [1] }, "workers": "mine" }, "master": { "ipcAckTimeout": "2s" } }"#;
        let config = Config::from_text(text, Path::new("/srv")).unwrap();
        let options: Value = config.guest_options(2, ([127, 0, 0, 1], 80).into()).into();
        assert_eq!(options["a"], json!({ "b": [1] }));
        let facts = ["workers", "brokers", "host", "port", "environment", "instanceId", "ipcAckTimeout"];
        let facts: Vec<&Value> = facts.iter().map(|name| &options[name]).collect();
        assert_eq!(json!(facts), json!([3, 2, "127.0.0.1", 80, "development", "node-1", 2000]));
        assert_eq!(options["propagateErrors"], true);

        let config = Config::from_text(r#"{ "options": [1] }"#, Path::new("/srv")).unwrap();
        assert_eq!(config.guest_options(0, ([127, 0, 0, 1], 80).into())["options"], json!([1]));
    }
}
