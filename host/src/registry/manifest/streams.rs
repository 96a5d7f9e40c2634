//! The live streams that a module declares: patterns of keys, and the routes that admit readers.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::formats::RouteRef;

/// A pattern of keys in a checked manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stream {
    /// The index in `routes` of the route that admits readers. `None` admits every reader.
    pub route: Option<usize>,
}

/// A pattern of stream keys: who admits its readers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Stream")]
#[expect(dead_code, reason = "the schema needs every field; the checks read the tree")]
pub struct RawStream {
    /// The route that admits a reader before the stream opens, as `[METHOD ]path`. Without a method
    /// it is the `post` route with that path, or else the only route with that path. The stream
    /// opens if the route passes or replies with a status below 300. Default none: every reader is
    /// admitted.
    #[serde(default)]
    #[schemars(with = "RouteRef")]
    pub path: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::registry::manifest::{Manifest, ManifestError};

    fn load(streams: &str) -> Result<Manifest, ManifestError> {
        let routes = r#"[{ "path": "admit", "handler": "a" }, { "path": "all", "handler": "b", "method": "get" },
            { "path": "test", "handler": "c", "middlewares": "test" }]"#;
        let text = format!(r#"{{ "component": "a.wasm", "routes": {routes}, "streams": {streams} }}"#);
        Manifest::from_text(Path::new("/modules/chat"), &text)
    }

    fn faults(streams: &str) -> Vec<String> {
        let faults = load(streams).unwrap_err().faults;
        faults.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    #[test]
    fn a_module_owns_its_name_what_is_below_and_what_it_declares() {
        let manifest = load(r#"{ "news": {}, "orders/*": {} }"#).unwrap();
        for own in ["chat", "chat/1", "news", "orders/1"] {
            assert!(manifest.owns_key(own), "{own}");
        }
        for other in ["", "chats", "news/1", "orders"] {
            assert!(!manifest.owns_key(other), "{other}");
        }
    }

    #[test]
    fn a_stream_with_a_fault_is_rejected_with_its_place() {
        assert_eq!(
            faults(r#"{ "news": { "path": "admitt" } }"#),
            ["streams.news.path: must be the path of a route of this module; did you mean \"admit\"?"]
        );
        assert_eq!(
            faults(r#"{ "news": { "path": "test" } }"#),
            ["streams.news.path: must be a route without the middleware `test`: a stream opens in every environment"]
        );
        assert_eq!(
            faults(r#"{ "news": { "paht": "admit" } }"#),
            ["streams.news.paht: unknown key; did you mean \"path\"?"]
        );
        assert_eq!(faults(r#"{ "news": { "path": 1 } }"#), ["streams.news.path: must be a string, found 1"]);
        assert_eq!(faults("[]"), ["streams: must be an object, found an array"]);
    }
}
