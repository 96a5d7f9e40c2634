//! A list that may be written as its only item.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::config::formats::EnvironmentName;

/// Reads a list, or one item as a list of one.
pub(super) fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

/// The schema of a list of names. `x-one` allows one name in place of a list of one.
pub(super) fn one_or_many_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let items = generator.subschema_for::<T>();
    json_schema!({ "type": ["string", "array"], "items": items, "x-one": true })
}

/// The schema of `env`.
pub(super) fn environments(generator: &mut SchemaGenerator) -> Schema {
    one_or_many_schema::<EnvironmentName>(generator)
}
