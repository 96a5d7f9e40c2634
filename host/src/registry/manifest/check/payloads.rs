//! Checks the payloads that a manifest declares.

use std::sync::Arc;

use super::Check;
use crate::call::RouteName;
use crate::config::formats;
use crate::document::json_schema::Schema;
use crate::document::tree::{Node, Path as KeyPath, Value};
use crate::registry::manifest::path;
use crate::registry::manifest::payloads::{Callee, PayloadSchema};

impl Check<'_> {
    /// Returns the schema under a key of the entry at `path`.
    pub(super) fn payload(&mut self, entry: &Node, path: &KeyPath, key: &str) -> Option<PayloadSchema> {
        let node = entry.get(key)?;
        let path = path.key(key);
        match &node.value {
            Value::Object(_) => match Schema::parse(node, &path) {
                Ok(schema) => Some(PayloadSchema::Inline(Arc::new(schema))),
                Err(faults) => {
                    self.faults.extend(faults);
                    None
                }
            },
            Value::Text(text) if formats::check("schema-file", text).is_ok() => match path::inside(self.dir, text) {
                Ok(file) => Some(PayloadSchema::File { file, key: path, origin: node.origin.clone() }),
                Err(rule) => {
                    self.fault(&node.origin, &path, rule.to_string());
                    None
                }
            },
            // The schema of the manifest reports other values.
            _ => None,
        }
    }

    /// Returns the routes that the module calls.
    pub(super) fn calls(&mut self) -> Vec<Callee> {
        let mut calls = Vec::new();
        for member in self.members("calls") {
            let path = KeyPath::of(&["calls", &member.name]);
            let (takes, gives) =
                (self.payload(&member.node, &path, "takes"), self.payload(&member.node, &path, "gives"));
            match RouteName::parse(&member.name) {
                Ok(route) => calls.push(Callee { route, takes, gives, origin: member.origin.clone() }),
                Err(error) => self.fault(&member.origin, &path, error.to_string()),
            }
        }
        calls
    }
}
