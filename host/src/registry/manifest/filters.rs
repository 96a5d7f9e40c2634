//! The filters of a module: own routes that run before and after the route of a client's message.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::formats::RouteRef;

/// The most filters in each list.
pub const MOST: usize = 16;

/// The filters of a checked manifest, as indices in `routes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    pub before: Vec<usize>,
    pub after: Vec<usize>,
}

/// The filters of the messages that clients send to the module.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(rename = "Filters")]
pub struct RawFilters {
    /// The routes that run before the route of a message, in this order, at most 16. Each is
    /// written as `[METHOD ]path` and has the middleware `inner`. A filter that passes can replace
    /// the payload and add facts for the next step. A reply is the answer to the client, and a
    /// failure refuses the message. Default none.
    #[schemars(with = "Vec<RouteRef>", extend("maxItems" = MOST))]
    pub before: Vec<String>,
    /// The routes that run after the route of a message has replied, in this order, at most 16. A
    /// filter that passes with a payload replaces that of the reply. A failure replaces the reply.
    /// Default none.
    #[schemars(with = "Vec<RouteRef>", extend("maxItems" = MOST))]
    pub after: Vec<String>,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Filters;
    use crate::registry::manifest::{Manifest, ManifestError};

    fn load(filters: &str) -> Result<Manifest, ManifestError> {
        let routes = r#"[{ "path": "check", "handler": "a", "middlewares": "inner" },
            { "path": "open", "handler": "b" },
            { "path": "test", "handler": "c", "middlewares": ["inner", "test"] },
            { "path": "log", "handler": "d", "method": "get", "middlewares": "inner" }]"#;
        let text = format!(r#"{{ "component": "a.wasm", "routes": {routes}, "filters": {filters} }}"#);
        Manifest::from_text(Path::new("/modules/chat"), &text)
    }

    fn faults(filters: &str) -> Vec<String> {
        let faults = load(filters).unwrap_err().faults;
        faults.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    #[test]
    fn filters_are_inner_routes_in_their_order() {
        let manifest = load(r#"{ "before": ["check", "GET log", "check"], "after": ["log"] }"#).unwrap();
        assert_eq!(manifest.filters, Filters { before: vec![0, 3, 0], after: vec![3] });
        assert_eq!(load("{}").unwrap().filters, Filters::default());
    }

    #[test]
    fn a_filter_with_a_fault_is_rejected_with_its_place() {
        assert_eq!(
            faults(r#"{ "before": ["check", "open"], "after": ["test"] }"#),
            [
                "filters.before[1]: must be a route with the middleware `inner`: otherwise clients could call the filter",
                "filters.after[0]: must be a route without the middleware `test`: a filter runs in every environment",
            ]
        );
        assert_eq!(
            faults(r#"{ "before": ["chek"] }"#),
            ["filters.before[0]: must be the path of a route of this module; did you mean \"check\"?"]
        );
        assert_eq!(faults(r#"{ "befor": [] }"#), ["filters.befor: unknown key; did you mean \"before\"?"]);
        assert_eq!(faults(r#"{ "before": "check" }"#).len(), 1);
        let many = |count: usize| format!(r#"{{ "before": [{}] }}"#, vec![r#""check""#; count].join(","));
        assert!(load(&many(16)).is_ok());
        assert_eq!(faults(&many(17)).len(), 1);
    }
}
