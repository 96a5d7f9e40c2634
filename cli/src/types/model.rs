//! What the stubs of all languages have in common: the functions of each module, and their types.

use std::collections::BTreeMap;

use serde_json::Value;

use super::names::{Unique, Words, param};
use fanfare::tooling::Manifest;
use fanfare::tooling::document::json_schema::{Kind, Object, Schema, Type};
use fanfare::tooling::manifest::{Middleware, PayloadSchema, Route};
use fanfare::{Fault, Faults, ValueOrigin};

/// The stubs of one module.
#[derive(Debug)]
pub struct Module {
    pub name: String,
    pub words: Words,
    pub functions: Vec<Function>,
    pub broadcasts: Vec<Broadcast>,
    pub types: Vec<Definition>,
}

/// A function that calls a route.
#[derive(Debug)]
pub struct Function {
    pub words: Words,
    /// What `rpc` gets, with the parameters of the path as parts of their own.
    pub route: Vec<Part>,
    /// The lines of its comment.
    pub docs: Vec<String>,
    /// `None` for a route that declares no schema.
    pub takes: Option<Shape>,
    pub gives: Option<Shape>,
    pub query: Option<Shape>,
}

/// A part of the name of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Param(Words),
}

/// A broadcast, with the payloads of its route.
#[derive(Debug)]
pub struct Broadcast {
    pub name: String,
    pub words: Words,
    pub docs: Vec<String>,
    pub takes: Option<Shape>,
    pub gives: Option<Shape>,
}

/// A type with a name.
#[derive(Debug)]
pub struct Definition {
    pub name: Words,
    pub docs: Vec<String>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    Fields(Vec<Field>),
    /// One of several texts.
    Texts(Vec<String>),
    Alias(Shape),
}

#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub required: bool,
    pub docs: Vec<String>,
    pub shape: Shape,
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Any,
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    List(Box<Shape>),
    /// An object with any names.
    Map(Box<Shape>),
    Nullable(Box<Shape>),
    /// One of several values that are not all texts.
    Literal(Vec<Value>),
    Named(Words),
}

impl Shape {
    /// The name of the type, if the value has a named type or is `null`.
    pub fn name(&self) -> Option<&Words> {
        match self {
            Shape::Named(name) => Some(name),
            Shape::Nullable(of) => of.name(),
            _ => None,
        }
    }
}

impl Function {
    /// The parameters of the path.
    pub fn params(&self) -> impl Iterator<Item = &Words> {
        self.route.iter().filter_map(|part| match part {
            Part::Param(name) => Some(name),
            Part::Text(_) => None,
        })
    }
}

/// The stubs of a module. Fails when two of its routes would have the same name.
pub fn module(manifest: &Manifest) -> Result<Module, Faults> {
    let (mut types, mut faults) = (Types::default(), Faults::default());
    let mut functions = Vec::new();
    // By a name in which all languages differ if they do.
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    // Only messages of clients reach the others.
    let callable =
        manifest.routes.iter().enumerate().filter(|(_, route)| !route.middlewares.contains(&Middleware::Session));
    for (index, route) in callable {
        let words = Words::of_route(route.method.as_str(), &route.text);
        let earlier = *named.entry(words.camel()).or_insert(index);
        if earlier != index {
            faults.push(same_name(manifest, earlier, index, &words));
            continue;
        }
        match types.function(manifest, route, words) {
            Ok(function) => functions.push(function),
            Err(wrong) => faults.extend(wrong),
        }
    }
    let mut broadcasts: Vec<Broadcast> = Vec::new();
    for (name, index) in &manifest.broadcasts {
        let words = Words::of(name);
        let (Some(route), same) = (manifest.routes.get(*index), broadcasts.iter().find(|one| one.words == words))
        else {
            continue;
        };
        if let Some(same) = same {
            let message = format!("has the same name in the stubs as the broadcast `{}`: rename one", same.name);
            faults.push(Fault::new(&place(manifest, &["broadcasts", name]), format!("broadcasts.{name}"), message));
            continue;
        }
        let of = functions.iter().find(|function| named.get(&function.words.camel()) == Some(index));
        broadcasts.push(Broadcast {
            name: name.clone(),
            words,
            docs: vec![format!(
                "The broadcast `{name}`, which runs `{} {}` in every worker.",
                route.method, route.text
            )],
            takes: of.and_then(|function| function.takes.clone()),
            gives: of.and_then(|function| function.gives.clone()),
        });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let (name, words) = (manifest.name.clone(), Words::of(&manifest.name));
    Ok(Module { name, words, functions, broadcasts, types: types.all })
}

fn place(manifest: &Manifest, keys: &[&str]) -> ValueOrigin {
    manifest.source.nearest(&fanfare::tooling::KeyPath::of(keys)).origin.clone()
}

/// The fault of two routes with one name.
fn same_name(manifest: &Manifest, earlier: usize, index: usize, words: &Words) -> Fault {
    let of = |index: usize| {
        let key = fanfare::tooling::KeyPath::of(&["routes"]).index(index).key("path");
        (manifest.source.nearest(&key).origin.clone(), key, manifest.route_text(index))
    };
    let ((first, _, one), (origin, key, other)) = (of(earlier), of(index));
    let name = words.snake();
    Fault::new(&origin, key, format!("`{other}` and `{one}` ({first}) would both be `{name}` in the stubs: rename one"))
}

/// The named types of a module.
#[derive(Debug, Default)]
struct Types {
    all: Vec<Definition>,
    names: Unique,
}

impl Types {
    fn function(&mut self, manifest: &Manifest, route: &Route, words: Words) -> Result<Function, Faults> {
        let called = format!("{}/{}", manifest.name, route.text);
        let mut docs = vec![format!("Calls `{} {called}`.", route.method)];
        if route.middlewares.contains(&Middleware::Test) {
            docs.push("The route exists only in the environments `development` and `test`.".to_owned());
        }
        let mut payload = |schema: &Option<PayloadSchema>, what: &str| {
            let Some(schema) = schema else { return Ok(None) };
            let schema = schema.read(&manifest.dir)?;
            let own = self::docs(&schema.root).into_iter().chain(note(&schema.root));
            docs.extend(own.map(|line| format!("{what}: {line}")));
            Ok::<_, Faults>(Some(self.payload(&schema, &words.and(&Words::of(what)))))
        };
        let (takes, gives) = (payload(&route.takes, "Takes")?, payload(&route.gives, "Gives")?);
        let query = payload(&route.query, "Query")?;
        // As authors write it, so that tests in memory can answer it.
        let name = if route.method == "POST" { called } else { format!("{} {called}", route.method) };
        Ok(Function { words, route: parts(&name), docs, takes, gives, query })
    }

    /// The type of a payload. `name` is the name that it gets if it needs one.
    fn payload(&mut self, schema: &Schema, name: &Words) -> Shape {
        let defs = schema.defs.keys().map(|def| (def.as_str(), self.unused(&name.and(&Words::of(def)))));
        let defs: BTreeMap<&str, Words> = defs.collect();
        for (def, of) in &schema.defs {
            let Some(name) = defs.get(def.as_str()) else { continue };
            let is_nullable = of.nullable;
            let body = match &of.kind {
                Kind::Object(object) if !is_nullable && has_fields(object) => self.fields(object, name, &defs),
                Kind::Choice(values) if !is_nullable && texts(values).is_some() => {
                    Body::Texts(texts(values).unwrap_or_default())
                }
                _ => Body::Alias(self.shape(of, name, &defs)),
            };
            self.all.push(Definition { name: name.clone(), docs: docs(of), body });
        }
        self.shape(&schema.root, name, &defs)
    }

    fn shape(&mut self, of: &Type, name: &Words, defs: &BTreeMap<&str, Words>) -> Shape {
        let shape = match &of.kind {
            Kind::Any(_) => return Shape::Any,
            Kind::Null => return Shape::Null,
            Kind::Boolean => Shape::Boolean,
            Kind::Integer => Shape::Integer,
            Kind::Number => Shape::Number,
            Kind::Text => Shape::Text,
            Kind::List(item) => Shape::List(Box::new(self.shape(item, &name.and(&Words::of("item")), defs))),
            Kind::Named(def) => defs.get(def.as_str()).cloned().map_or(Shape::Any, Shape::Named),
            Kind::Object(object) if has_fields(object) => {
                let name = self.unused(name);
                let body = self.fields(object, &name, defs);
                self.define(name, of, body)
            }
            Kind::Object(object) => {
                let others = object.others.as_deref();
                let value = others.map_or(Shape::Any, |of| self.shape(of, &name.and(&Words::of("value")), defs));
                Shape::Map(Box::new(value))
            }
            Kind::Choice(values) => match texts(values) {
                Some(texts) => {
                    let name = self.unused(name);
                    self.define(name, of, Body::Texts(texts))
                }
                None => Shape::Literal(values.clone()),
            },
        };
        if of.nullable { Shape::Nullable(Box::new(shape)) } else { shape }
    }

    fn define(&mut self, name: Words, of: &Type, body: Body) -> Shape {
        self.all.push(Definition { name: name.clone(), docs: docs(of), body });
        Shape::Named(name)
    }

    fn fields(&mut self, object: &Object, name: &Words, defs: &BTreeMap<&str, Words>) -> Body {
        let fields = object.fields.iter().map(|field| Field {
            name: field.name.clone(),
            required: field.required,
            docs: docs(&field.of).into_iter().chain(note(&field.of)).collect(),
            shape: self.shape(&field.of, &name.and(&Words::of(&field.name)), defs),
        });
        Body::Fields(fields.collect())
    }

    /// A name that no other type of the module has.
    fn unused(&mut self, name: &Words) -> Words {
        Words::of(&self.names.name(name.snake()))
    }
}

/// Whether an object has a type of its own. Any other one is a map.
fn has_fields(object: &Object) -> bool {
    !object.fields.is_empty() || object.others.is_none()
}

/// The values, if all are texts.
fn texts(values: &[Value]) -> Option<Vec<String>> {
    values.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

/// The lines of the description.
fn docs(of: &Type) -> Vec<String> {
    let lines = of.description.iter().flat_map(|text| text.lines());
    lines.map(|line| line.replace(char::is_control, " ").trim_end().to_owned()).collect()
}

/// Says that the stubs know less than the schema.
fn note(of: &Type) -> Option<String> {
    match of.kind {
        Kind::Any(Some(why)) => Some(format!("any value, because no type expresses {why}.")),
        _ => None,
    }
}

/// Splits the name of a route at its parameters.
fn parts(route: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    for (index, segment) in route.split('/').enumerate() {
        if index > 0 {
            text.push('/');
        }
        match param(segment) {
            Some(name) => {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Param(Words::of(name)));
            }
            None => text.push_str(segment),
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}
