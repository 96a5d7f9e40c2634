//! Checks a document against the schema of its type: keys, types, bounds and formats. Finds all
//! faults at once. A document without faults can be read into the type.
//!
//! `schemars` generates the schemas, so that each file has one description. Besides the standard
//! keywords they use these:
//!
//! | keyword | meaning |
//! |---|---|
//! | `x-format` | the format of a string, checked by a function of the caller ([`Formats`]) |
//! | `x-names` | the format of the keys of an object |
//! | `x-free` | an object that may contain any values |
//! | `x-any` | any value |
//! | `x-one` | a list that may be written as its only item |
//! | `x-single` | a map that may be written as its only entry: it is one if it has a key of `properties` |
//! | `x-unsupported` | names that are planned and not supported yet |

use serde_json::{Map, Value as Json};

use super::fault::{Fault, Faults, ValueOrigin};
use super::tree::{Member, Node, Path, Step, Value, quoted};
use super::units::{Size, Time};

/// The meaning of `null` in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// It removes the value of a lower layer, so it is allowed everywhere.
    Remove,
    /// It is a value like any other.
    Plain,
}

/// Checks a text against a format. Returns the number that a duration or a size represents. The
/// error is the rule that the text breaks, worded to follow "must be". Any text is valid in a
/// format that the function does not know.
pub type Formats = fn(format: &str, text: &str) -> Result<Option<u64>, String>;

/// The message about a name in `x-unsupported`.
pub const UNSUPPORTED: &str = "not supported by this version yet";

/// Returns every violation of `schema` by `node`, which stands at `path`.
pub fn check(node: &Node, path: &Path, schema: &Json, formats: Formats, nulls: Nulls) -> Faults {
    let (faults, warnings) = (Faults::default(), Vec::new());
    let mut shape = Shape { root: schema, formats, nulls, path: path.clone(), faults, warnings };
    shape.visit(node, schema);
    shape.faults
}

/// Returns a warning for each duration below a second without a unit, because most people who write
/// `5` mean five seconds. `node` has no faults.
pub fn warnings(node: &Node, schema: &Json, nulls: Nulls) -> Vec<Fault> {
    let formats: Formats = |_, _| Ok(None);
    let (path, faults, warnings) = (Path::default(), Faults::default(), Vec::new());
    let mut shape = Shape { root: schema, formats, nulls, path, faults, warnings };
    shape.visit(node, schema);
    shape.warnings
}

/// The longest duration that needs a unit, in milliseconds.
const NEEDS_UNIT: u64 = 999;

struct Shape<'a> {
    root: &'a Json,
    formats: Formats,
    nulls: Nulls,
    path: Path,
    faults: Faults,
    warnings: Vec<Fault>,
}

impl<'a> Shape<'a> {
    fn fault(&mut self, origin: &ValueOrigin, message: String) {
        let fault = Fault::new(origin, &self.path, message);
        self.faults.push(fault);
    }

    fn visit(&mut self, node: &Node, schema: &'a Json) {
        let rules = Rules::of(schema, self.root);
        if rules.get("x-any").is_some() {
            return;
        }
        let free = rules.get("x-free").is_some();
        match &node.value {
            Value::Text(_) if let Some(item) = rules.get("x-one").and_then(|_| rules.get("items")) => {
                self.visit(node, item);
            }
            Value::Null if self.nulls == Nulls::Remove || rules.takes("null") => {}
            Value::Text(text) if rules.takes("string") => self.text(node, text, &rules),
            Value::Bool(_) if rules.takes("boolean") => {}
            Value::Number(number) if rules.takes("integer") => match number.as_u64() {
                Some(value) => {
                    self.unit(node, value, &rules);
                    self.bounds(node, value, &rules);
                }
                None if number.as_i64().is_some() && rules.number("minimum").is_some() => self.bounds(node, 0, &rules),
                None => self.kind(node, &rules),
            },
            Value::List(items) if rules.takes("array") => {
                if self.too_many(node, items.len(), rules.number("maxItems")) {
                    return;
                }
                let Some(schema) = rules.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    self.path.enter(Step::Index(index));
                    // A null in an array has nothing to remove.
                    let nulls = std::mem::replace(&mut self.nulls, Nulls::Plain);
                    self.visit(item, schema);
                    self.nulls = nulls;
                    self.path.leave();
                }
            }
            Value::Object(_) if free => {}
            Value::Object(members) if rules.takes("object") => {
                if !self.too_many(node, members.len(), rules.number("maxProperties")) {
                    self.members(node, members, &rules);
                }
            }
            _ => self.kind(node, &rules),
        }
    }

    fn too_many(&mut self, node: &Node, count: usize, most: Option<u64>) -> bool {
        let Some(most) = most.filter(|most| count as u64 > *most) else { return false };
        self.fault(&node.origin, format!("must have at most {most} entries, found {count}"));
        true
    }

    fn kind(&mut self, node: &Node, rules: &Rules<'a>) {
        self.fault(&node.origin, format!("must be {}, found {node}", rules.expected(self.formats)));
    }

    fn text(&mut self, node: &Node, text: &str, rules: &Rules<'a>) {
        let names = rules.names();
        if !names.is_empty() && !names.contains(&text) {
            if rules.unsupported(text) {
                return self.fault(&node.origin, format!("{}: {}", quoted(text), UNSUPPORTED));
            }
            return self.fault(
                &node.origin,
                format!("must be one of {}, found {node}{}", list(&names), did_you_mean(text, &names)),
            );
        }
        let Some(format) = rules.format() else { return };
        match (self.formats)(format, text) {
            Ok(Some(number)) => self.bounds(node, number, rules),
            Ok(None) => {}
            Err(rule) => self.fault(&node.origin, format!("must be {rule}, found {node}")),
        }
    }

    fn unit(&mut self, node: &Node, number: u64, rules: &Rules<'a>) {
        if rules.format() == Some("duration") && (1..=NEEDS_UNIT).contains(&number) {
            let message =
                format!("{number} means {number} ms: write \"{number}ms\", or \"{number}s\" for {number} seconds");
            self.warnings.push(Fault::new(&node.origin, &self.path, message));
        }
    }

    fn bounds(&mut self, node: &Node, number: u64, rules: &Rules<'a>) {
        let below = node_is_negative(node) || rules.number("minimum").is_some_and(|least| number < least);
        if below {
            let least = rules.number("minimum").unwrap_or(0);
            self.fault(&node.origin, format!("must be at least {}, found {node}", rules.write(least)));
        }
        if let Some(most) = rules.number("maximum").filter(|most| number > *most) {
            self.fault(&node.origin, format!("must be at most {}, found {node}", rules.write(most)));
        }
    }

    fn members(&mut self, node: &Node, members: &[Member], rules: &Rules<'a>) {
        let known = rules.get("properties").and_then(Json::as_object);
        let others = rules.get("additionalProperties").filter(|schema| schema.is_object());
        let is_known = |member: &Member| known.is_some_and(|known| known.contains_key(&member.name));
        let others = others.filter(|_| rules.get("x-single").is_none() || !members.iter().any(is_known));
        for member in members {
            self.path.enter(Step::Key(member.name.clone()));
            match (known.and_then(|known| known.get(&member.name)), others) {
                (Some(schema), _) => self.visit(&member.node, schema),
                (None, Some(schema)) => {
                    let form = rules.get("x-names").and_then(Json::as_str);
                    if let Some(Err(rule)) = form.map(|form| (self.formats)(form, &member.name)) {
                        self.fault(&member.origin, format!("must be {rule}, found {}", quoted(&member.name)));
                    }
                    self.visit(&member.node, schema);
                }
                (None, None) => self.unknown(member, known, rules),
            }
            self.path.leave();
        }
        let required = rules.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        for name in required.filter(|name| node.get(name).is_none()) {
            let fault = Fault::new(&node.origin, self.path.key(name), "is required".to_owned());
            self.faults.push(fault);
        }
    }

    fn unknown(&mut self, member: &Member, known: Option<&Map<String, Json>>, rules: &Rules<'a>) {
        if self.faults.is_full() {
            // The list is full, so the message will not be shown.
            return self.fault(&member.origin, "unknown key".to_owned());
        }
        if rules.unsupported(&member.name) {
            return self.fault(&member.origin, UNSUPPORTED.to_owned());
        }
        let known: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let way_out = match did_you_mean(&member.name, &known) {
            hint if !hint.is_empty() => hint,
            _ if known.is_empty() => "; no keys are allowed here".to_owned(),
            _ => format!("; valid keys: {}", list(&known)),
        };
        self.fault(&member.origin, format!("unknown key{way_out}"));
    }
}

fn node_is_negative(node: &Node) -> bool {
    matches!(&node.value, Value::Number(number) if number.as_i64().is_some_and(|number| number < 0))
}

/// The keywords that apply to a value: those of its schema, of the target of `$ref`, and of the
/// branch of `anyOf` that is not `null`.
struct Rules<'a>(Vec<&'a Map<String, Json>>);

impl<'a> Rules<'a> {
    fn of(schema: &'a Json, root: &'a Json) -> Rules<'a> {
        let mut views = Vec::new();
        let mut next = schema.as_object();
        while let Some(view) = next {
            views.push(view);
            let target =
                view.get("$ref").and_then(Json::as_str).and_then(|target| root.pointer(target.strip_prefix('#')?));
            let branches = view.get("anyOf").and_then(Json::as_array).into_iter().flatten();
            let branch = branches.clone().find(|branch| branch.get("type").is_none_or(|kind| kind != "null"));
            next = target.or(branch).and_then(Json::as_object).filter(|_| views.len() < 8);
        }
        Rules(views)
    }

    fn get(&self, keyword: &str) -> Option<&'a Json> {
        self.0.iter().find_map(|view| view.get(keyword))
    }

    fn number(&self, keyword: &str) -> Option<u64> {
        self.get(keyword).and_then(Json::as_u64)
    }

    fn format(&self) -> Option<&'a str> {
        self.get("x-format").and_then(Json::as_str)
    }

    fn kinds(&self) -> Vec<&'a str> {
        let kinds = self.get("type").into_iter().flat_map(|kinds| match kinds {
            Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).collect(),
            kind => kind.as_str().into_iter().collect::<Vec<_>>(),
        });
        let mut kinds: Vec<&str> = kinds.collect();
        if self.0.iter().any(|view| view.contains_key("anyOf")) {
            kinds.push("null");
        }
        if kinds.is_empty() && !self.names().is_empty() {
            kinds.push("string");
        }
        kinds
    }

    fn takes(&self, kind: &str) -> bool {
        self.kinds().contains(&kind)
    }

    /// The allowed strings, if the schema lists them.
    fn names(&self) -> Vec<&'a str> {
        let listed = self.get("enum").and_then(Json::as_array).into_iter().flatten();
        let branches = self.get("oneOf").and_then(Json::as_array).into_iter().flatten();
        listed.chain(branches.filter_map(|branch| branch.get("const"))).filter_map(Json::as_str).collect()
    }

    fn unsupported(&self, name: &str) -> bool {
        self.get("x-unsupported").and_then(Json::as_array).is_some_and(|names| names.iter().any(|entry| entry == name))
    }

    /// Formats a bound in the unit of the value.
    fn write(&self, number: u64) -> String {
        match self.format() {
            Some("duration") => Time::from_number(number).map_or(number.to_string(), |time| time.to_string()),
            Some("size") => Size(number).to_string(),
            _ => number.to_string(),
        }
    }

    fn expected(&self, formats: Formats) -> String {
        match (self.names(), self.format()) {
            (names, _) if !names.is_empty() => return format!("one of {}", list(&names)),
            (_, Some(format)) => {
                if let Err(rule) = formats(format, "\0") {
                    return rule;
                }
            }
            _ => {}
        }
        let kinds = self.kinds();
        let words = kinds.iter().filter(|kind| **kind != "null").map(|kind| match *kind {
            "integer" => "a whole number",
            "boolean" => "true or false",
            "array" => "an array",
            "object" => "an object",
            _ => "a string",
        });
        words.collect::<Vec<_>>().join(" or ")
    }
}

/// Formats a list as `"a", "b" and "c"`.
pub fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Returns `; did you mean "x"?` with the known name that is most similar, or nothing if none is
/// similar.
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    nearest(name, known).map_or(String::new(), |near| format!("; did you mean {}?", quoted(near)))
}

/// Returns the known name that is most similar, if one is similar enough.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let name = plain(name);
    let far = (name.chars().count() / 3).clamp(1, 3);
    let short = known.iter().filter(|known| known.len() <= 128);
    let distances = short.map(|known| (strsim::damerau_levenshtein(&name, &plain(known)), *known));
    distances.filter(|(distance, _)| *distance <= far).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_similar_name_is_suggested() {
        let known = ["listen", "domain", "maxBody", "cors"];
        assert_eq!(nearest("listne", &known), Some("listen"));
        assert_eq!(nearest("max_body", &known), Some("maxBody"));
        assert_eq!(nearest("MAX-BODY", &known), Some("maxBody"));
        assert_eq!(nearest("cor", &known), Some("cors"));
        assert_eq!(nearest("zzz", &known), None);
        assert_eq!(nearest(&"listen".repeat(100), &known), None);
    }

    #[test]
    fn lists_read_as_a_sentence() {
        assert_eq!(list(&["a"]), "\"a\"");
        assert_eq!(list(&["a", "b", "c"]), "\"a\", \"b\" and \"c\"");
    }
}
