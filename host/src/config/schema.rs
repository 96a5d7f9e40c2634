//! Generates the JSON Schemas of `fanfare.json` and of other files from the types.
//!
//! The schemas contain keywords of Fanfare (`x-..`) for [`check`]. [`document`] removes them for
//! editors.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::formats;
use super::settings::Settings;
use crate::document::shape::{self, Nulls};
use crate::document::{Faults, KeyPath, Node};

/// The value of `$schema` in the generated schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of `fanfare.json`, with Fanfare's keywords.
pub fn config() -> &'static Json {
    static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let mut root = plain::<Settings>(&mut generator, "fanfare.json");
        let section = generator.subschema_for::<Settings>();
        let environments = json!({
            "description": "Settings for one environment (`--env`), by its name. They override the settings outside.",
            "type": "object",
            "x-names": "environment",
            "additionalProperties": section,
        });
        if let Some(properties) = root.get_mut("properties").and_then(Json::as_object_mut) {
            let schema = json!({ "description": "The path or URL of this schema, for editors.", "type": "string" });
            properties.insert("$schema".to_owned(), schema);
            properties.insert("environments".to_owned(), environments);
        }
        root.insert("$defs".to_owned(), generator.take_definitions(true).into());
        root.into()
    });
    &SCHEMA
}

/// Returns every violation of a generated schema by `node`, which stands at `path`.
pub fn check(node: &Node, path: &KeyPath, schema: &Json, nulls: Nulls) -> Faults {
    shape::check(node, path, schema, formats::check, nulls)
}

/// The schema of another file, with Fanfare's keywords.
pub fn of<T: JsonSchema>(title: &str) -> Json {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut root = plain::<T>(&mut generator, title);
    root.insert("$defs".to_owned(), generator.take_definitions(true).into());
    root.into()
}

fn plain<T: JsonSchema>(generator: &mut SchemaGenerator, title: &str) -> Map<String, Json> {
    let mut root = Map::new();
    root.insert("$schema".to_owned(), DIALECT.into());
    root.insert("title".to_owned(), title.into());
    root.extend(T::json_schema(generator).to_value().as_object().cloned().unwrap_or_default());
    root
}

/// The schema of `fanfare.json` for editors. It allows `null` everywhere, because a `null` removes
/// the value of a lower layer.
pub fn config_document() -> String {
    let mut schema = config().clone();
    allow_null(&mut schema);
    document(schema)
}

/// Formats a schema for editors: removes Fanfare's keywords.
pub fn document(mut schema: Json) -> String {
    strip(&mut schema);
    format!("{schema:#}\n")
}

fn strip(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            // In standard keywords: an item, or a list of items.
            if members.shift_remove("x-one").is_some()
                && let Some(items) = members.shift_remove("items")
            {
                members.shift_remove("type");
                members.insert("anyOf".to_owned(), json!([items, { "type": "array", "items": items }]));
            }
            members.retain(|name, _| !name.starts_with("x-"));
            if let Some(Json::String(description)) = members.get_mut("description") {
                *description = unwrapped(description);
            }
            members.values_mut().for_each(strip);
        }
        Json::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Joins the lines of each paragraph, because editors show the line breaks of a doc comment.
fn unwrapped(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

/// Allows `null` for every key of every object.
fn allow_null(schema: &mut Json) {
    let Some(members) = schema.as_object_mut() else { return };
    for (name, value) in members.iter_mut() {
        match name.as_str() {
            "properties" => {
                for property in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
                    allow_null(property);
                    nullable(property);
                }
            }
            "$defs" => value.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(allow_null),
            "additionalProperties" if value.is_object() => {
                allow_null(value);
                nullable(value);
            }
            _ => {}
        }
    }
}

fn nullable(schema: &mut Json) {
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(target) = members.shift_remove("$ref") {
        members.insert("anyOf".to_owned(), json!([{ "$ref": target }, { "type": "null" }]));
    }
    match members.get_mut("type") {
        Some(Json::Array(kinds)) if !kinds.contains(&json!("null")) => kinds.push(json!("null")),
        Some(kind @ Json::String(_)) => *kind = json!([kind.take(), "null"]),
        _ => {}
    }
}
