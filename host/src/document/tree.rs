//! A JSON tree in which every value has its source.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Number};

use super::fault::ValueOrigin;
use crate::call::text::is_dangerous;

/// A value with its source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Node {
    pub origin: ValueOrigin,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub name: String,
    /// The source of the key.
    pub origin: ValueOrigin,
    pub node: Node,
}

impl Node {
    pub fn new(origin: &ValueOrigin, value: Value) -> Node {
        Node { origin: origin.clone(), value }
    }

    /// An object without keys.
    pub fn object(origin: &ValueOrigin) -> Node {
        Node::new(origin, Value::Object(Vec::new()))
    }

    /// Converts plain JSON. Every value gets the same source.
    pub fn from_json(json: serde_json::Value, origin: &ValueOrigin) -> Node {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(value) => Value::Number(value),
            serde_json::Value::String(value) => Value::Text(value),
            serde_json::Value::Array(items) => {
                Value::List(items.into_iter().map(|item| Node::from_json(item, origin)).collect())
            }
            serde_json::Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(name, value)| Member { name, origin: origin.clone(), node: Node::from_json(value, origin) })
                    .collect(),
            ),
        };
        Node::new(origin, value)
    }

    /// Converts to plain JSON, without the sources.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Object(members) => {
                let members = members.iter().map(|member| (member.name.clone(), member.node.to_json()));
                members.collect::<Map<_, _>>().into()
            }
        }
    }

    /// Deserialises the value. `None` if it does not fit the type.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.to_json()).ok()
    }

    /// Returns the value of a key, if this is an object that has the key.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.members().iter().find(|member| member.name == name).map(|member| &member.node)
    }

    /// Like [`Node::get`], to change the value.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        let Value::Object(members) = &mut self.value else { return None };
        members.iter_mut().find(|member| member.name == name).map(|member| &mut member.node)
    }

    /// Returns the members of an object, or none for any other value.
    pub fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// Returns the items of an array, or none for any other value.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// Removes a key from an object, and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<Node> {
        let Value::Object(members) = &mut self.value else { return None };
        let index = members.iter().position(|member| member.name == name)?;
        Some(members.remove(index).node)
    }

    /// Returns the value at a path.
    pub fn at(&self, path: &Path) -> Option<&Node> {
        path.0.iter().try_fold(self, Node::step)
    }

    /// Returns the value at a path, or its nearest ancestor that exists.
    pub fn nearest(&self, path: &Path) -> &Node {
        let mut node = self;
        for step in &path.0 {
            match node.step(step) {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    fn step(&self, step: &Step) -> Option<&Node> {
        match step {
            Step::Key(name) => self.get(name),
            Step::Index(index) => self.items().get(*index),
        }
    }

    /// Returns every scalar and array with its path.
    pub fn leaves(&self) -> Vec<(Path, &Node)> {
        let mut leaves = Vec::new();
        self.collect_leaves(&Path::default(), &mut leaves);
        leaves
    }

    fn collect_leaves<'a>(&'a self, path: &Path, leaves: &mut Vec<(Path, &'a Node)>) {
        match &self.value {
            Value::Object(members) => {
                members.iter().for_each(|member| member.node.collect_leaves(&path.key(&member.name), leaves));
            }
            _ => leaves.push((path.clone(), self)),
        }
    }
}

/// The path of a value in a document, written `routes[0].path`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// Creates a path from keys: `Path::of(&["http", "listen"])`.
    pub fn of(keys: &[&str]) -> Path {
        Path(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    /// Returns this path with one more key.
    #[must_use]
    pub fn key(&self, name: &str) -> Path {
        self.with(Step::Key(name.to_owned()))
    }

    /// Appends a step. [`Path::leave`] removes it.
    pub fn enter(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Removes the last step.
    pub fn leave(&mut self) {
        self.0.pop();
    }

    /// Returns this path with one more index.
    #[must_use]
    pub fn index(&self, index: usize) -> Path {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Path {
        let mut path = self.clone();
        path.0.push(step);
        path
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(name) if is_plain(name) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(name)?;
                }
                Step::Key(name) => write!(f, "[{}]", quoted(name))?,
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$' | '*' | '/');
    !name.is_empty() && name.len() <= MAX_QUOTED && name.chars().all(plain)
}

/// The most characters of a value that a message quotes.
const MAX_QUOTED: usize = 64;

/// Formats a text as a JSON string for a message: cut if it is long, without characters that could
/// control a terminal.
pub fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_QUOTED).collect();
    if cut.len() < text.len() {
        cut.push_str("..");
    }
    printable(&serde_json::Value::String(cut).to_string())
}

/// Replaces each character that could control a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_dangerous(c) { '\u{fffd}' } else { c }).collect()
}

/// Writes the value as messages show it after "found".
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(&quoted(value)),
            Value::List(_) => f.write_str("an array"),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_quote_keys_with_special_characters() {
        let path = Path::of(&["routes"]).index(0).key("path");
        assert_eq!(path.to_string(), "routes[0].path");
        assert_eq!(Path::of(&["modules", "test-party"]).to_string(), "modules.test-party");
        assert_eq!(Path::of(&["a", "b.c\"", "d"]).to_string(), "a[\"b.c\\\"\"].d");
    }

    #[test]
    fn quoted_values_are_short_and_printable() {
        assert_eq!(quoted("a\u{1b}[2J\u{9b}\""), "\"a\\u001b[2J\u{fffd}\\\"\"");
        assert_eq!(quoted(&"a".repeat(64)).len(), 66);
        assert_eq!(quoted(&"a".repeat(65)).len(), 68);
    }

    #[test]
    fn the_nearest_ancestor_stands_in_for_a_missing_value() {
        let mut node = Node::from_json(serde_json::json!({"a": {"b": [1]}}), &ValueOrigin::Default);
        assert_eq!(node.nearest(&Path::of(&["a", "b"]).index(3)).to_string(), "an array");
        assert!(node.at(&Path::of(&["a", "c"])).is_none());
        assert_eq!(node.remove("a").map(|node| node.to_json()), Some(serde_json::json!({"b": [1]})));
    }
}
