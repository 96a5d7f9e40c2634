//! Reads JSON Schemas as the types that programming languages have.
//!
//! A [`Type`] has what JSON Schema says with `type`, `properties`, `required`,
//! `additionalProperties`, `items`, `enum`, `const`, and `$ref` into `$defs`. Keywords that only
//! narrow a type, such as `minimum`, are accepted and have no effect. Other keywords make it
//! [`Kind::Any`].

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::fault::ValueOrigin;

mod parse;

/// A JSON Schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    pub root: Type,
    /// The types of `$defs`, by name.
    pub defs: BTreeMap<String, Type>,
}

/// The type that a schema describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    pub kind: Kind,
    /// Whether `null` is a value too.
    pub nullable: bool,
    pub description: Option<String>,
    pub origin: ValueOrigin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Any value. The text is the reason, if the schema says more than a type can.
    Any(Option<&'static str>),
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    List(Box<Type>),
    Object(Object),
    /// One of these values.
    Choice(Vec<Json>),
    /// The type of this name in `$defs`.
    Named(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub fields: Vec<Field>,
    /// The type of the values under other names. `None` if there are no others.
    pub others: Option<Box<Type>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub required: bool,
    pub of: Type,
}

impl Schema {
    /// Follows the names of a type. `None` if they lead nowhere.
    pub fn resolved<'a>(&'a self, of: &'a Type) -> Option<&'a Type> {
        let mut of = of;
        for _ in 0..=self.defs.len() {
            match &of.kind {
                Kind::Named(name) => of = self.defs.get(name)?,
                _ => return Some(of),
            }
        }
        None
    }
}
