//! Names of routes, modules and properties, as each language writes them.

use std::fmt::Write as _;

/// A name as its words, in lower case, so that every language writes it in its own style.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Words(Vec<String>);

impl Words {
    /// Splits a text into words: at characters that no identifier has, and where a capital letter
    /// follows a small one.
    pub fn of(text: &str) -> Words {
        let mut words = vec![String::new()];
        let mut is_after_small = false;
        for c in text.chars() {
            let is_break = !c.is_alphanumeric() || (c.is_uppercase() && is_after_small);
            if is_break && words.last().is_some_and(|word| !word.is_empty()) {
                words.push(String::new());
            }
            let Some(word) = words.last_mut() else { break };
            match c {
                _ if c.is_ascii_alphanumeric() => word.push(c.to_ascii_lowercase()),
                _ if c.is_alphanumeric() => _ = write!(word, "u{:x}", u32::from(c)),
                _ => {}
            }
            is_after_small = c.is_lowercase() || c.is_numeric();
        }
        words.retain(|word| !word.is_empty());
        Words(words)
    }

    /// The name of the route of a method and a path: `inner/rates` is `inner rates`, and
    /// `GET {key}` is `get by key`.
    pub fn of_route(method: &str, path: &str) -> Words {
        let segments = path.split('/').map(|segment| match param(segment) {
            Some(name) => Words::of("by").and(&Words::of(name)),
            None => Words::of(segment),
        });
        // A call without a method means POST.
        let is_silent = method == "POST" && !path.is_empty();
        let method = Words::of(if is_silent { "" } else { method });
        segments.fold(method, |name, segment| name.and(&segment))
    }

    pub fn and(&self, more: &Words) -> Words {
        Words(self.0.iter().chain(&more.0).cloned().collect())
    }

    pub fn snake(&self) -> String {
        identifier(self.0.join("_"))
    }

    pub fn pascal(&self) -> String {
        identifier(self.0.iter().map(|word| capital(word)).collect())
    }

    pub fn camel(&self) -> String {
        let mut words = self.0.iter();
        let first = words.next().cloned().unwrap_or_default();
        identifier(words.fold(first, |name, word| name + &capital(word)))
    }
}

/// The name of the parameter that a segment of a path is.
pub fn param(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// No identifier is empty or begins with a digit.
fn identifier(name: String) -> String {
    match name.chars().next() {
        Some(first) if !first.is_ascii_digit() => name,
        _ => format!("_{name}"),
    }
}

/// Appends `_` to a name that the language reserves.
pub fn unreserved(name: String, reserved: &[&str]) -> String {
    if reserved.contains(&name.as_str()) { name + "_" } else { name }
}

/// Makes the names of one scope differ: the second `name` is `name2`.
#[derive(Debug, Default)]
pub struct Unique(std::collections::BTreeSet<String>);

impl Unique {
    pub fn name(&mut self, name: String) -> String {
        let mut candidate = name.clone();
        for number in 2.. {
            if self.0.insert(candidate.clone()) {
                break;
            }
            candidate = format!("{name}{number}");
        }
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_writes_the_words_in_its_style() {
        for (text, snake, pascal, camel) in [
            ("rates", "rates", "Rates", "rates"),
            ("test-party", "test_party", "TestParty", "testParty"),
            ("inner/priceChanged", "inner_price_changed", "InnerPriceChanged", "innerPriceChanged"),
            ("v1.2", "v1_2", "V12", "v12"),
            ("2nd", "_2nd", "_2nd", "_2nd"),
            ("maß", "maudf", "Maudf", "maudf"),
            ("...", "_", "_", "_"),
        ] {
            let words = Words::of(text);
            let (is_snake, is_pascal, is_camel) = (words.snake(), words.pascal(), words.camel());
            assert_eq!((is_snake.as_str(), is_pascal.as_str(), is_camel.as_str()), (snake, pascal, camel), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_route_has_its_method_unless_it_is_post() {
        for (method, path, name) in [
            ("POST", "inner/rates", "inner_rates"),
            ("GET", "inner/rates", "get_inner_rates"),
            ("PUT", "{name}", "put_by_name"),
            ("GET", "", "get"),
            ("POST", "", "post"),
            ("POST", "a/{roomId}/b", "a_by_room_id_b"),
        ] {
            assert_eq!(Words::of_route(method, path).snake(), name);
        }
    }

    #[test]
    fn names_of_one_scope_differ() {
        let mut names = Unique::default();
        let named = ["a", "b", "a", "a"].map(|name| names.name(name.to_owned()));
        assert_eq!(named, ["a", "b", "a2", "a3"]);
        assert_eq!(unreserved("class".to_owned(), &["class"]), "class_");
    }
}
