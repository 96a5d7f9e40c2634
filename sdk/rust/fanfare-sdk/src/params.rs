//! Deserialises path and query parameters to typed values.

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::failure::{Failure, Result};

pub(crate) fn path<T: DeserializeOwned>(params: &[(String, String)], argument: &str) -> Result<T> {
    let parameters = Parameters { source: Source::Path, all: params, name: argument };
    T::deserialize(parameters).map_err(|error| failure(&error))
}

pub(crate) fn query<T: DeserializeOwned>(query: &str, argument: &str) -> Result<T> {
    let pairs = query_pairs(query);
    let parameters = Parameters { source: Source::Query, all: &pairs, name: argument };
    T::deserialize(parameters).map_err(|error| failure(&error))
}

fn failure(error: &Error) -> Failure {
    Failure::bad_request("invalid-parameter", error.to_string())
}

/// Returns the names and values of a query, decoded.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    split.map(|(name, value)| (decode(name), decode(value))).collect()
}

/// Decodes text as HTML forms encode it: `+` and `%20` are a space. A malformed escape stays as it
/// is.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[derive(Clone, Copy, PartialEq)]
enum Source {
    Path,
    Query,
}

/// All parameters of a call. A plain type reads the parameter `name`.
#[derive(Clone, Copy)]
struct Parameters<'a> {
    source: Source,
    all: &'a [(String, String)],
    name: &'a str,
}

impl<'a> Parameters<'a> {
    fn values(self) -> Vec<&'a str> {
        self.all.iter().filter(|(name, _)| name == self.name).map(|(_, value)| value.as_str()).collect()
    }

    fn required(self) -> Result<Value<'a>, Error> {
        let (name, values) = (self.name, self.values());
        if !values.is_empty() {
            return Ok(Value { name, values });
        }
        Err(de::Error::custom(match self.source {
            Source::Path => format!("the path of the route has no segment `{{{name}}}`: rename the handler's argument"),
            Source::Query => format!("the query has no parameter `{name}`: add `?{name}=..`"),
        }))
    }

    /// Returns each name once with all its values, ordered by first occurrence.
    fn by_name(self) -> Vec<(&'a str, Value<'a>)> {
        let mut all: Vec<(&str, Value)> = Vec::new();
        for (name, _) in self.all {
            if !all.iter().any(|(other, _)| other == name) {
                all.push((name, Value { name, values: Parameters { name, ..self }.values() }));
            }
        }
        all
    }
}

macro_rules! to_value {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.required()?.$method(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Parameters<'_> {
    type Error = Error;

    to_value! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.values().is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let positional = self.source == Source::Path;
        let values = self.all.iter().filter(|(name, _)| positional || name == self.name);
        let values = values.map(|(name, value)| Value { name, values: vec![value] });
        visitor.visit_seq(SeqDeserializer::new(values))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &str, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(self.by_name().into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &str, _: &[&str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.required()?.deserialize_enum(name, variants, visitor)
    }
}

/// One parameter, with at least one value.
struct Value<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

impl Value<'_> {
    fn text(&self) -> &str {
        self.values.first().copied().unwrap_or_default()
    }

    fn parse<T: std::str::FromStr>(&self, expected: &str) -> Result<T, Error> {
        let text = self.text();
        text.parse().map_err(|_| de::Error::custom(format!("`{}` must be {expected}, not `{text}`", self.name)))
    }
}

impl IntoDeserializer<'_, Error> for Value<'_> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $expected:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.parse($expected)?)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Value<'_> {
    type Error = Error;

    parsed! {
        deserialize_bool visit_bool "`true` or `false`"
        deserialize_i8 visit_i8 "a whole number from -128 to 127"
        deserialize_i16 visit_i16 "a whole number from -32768 to 32767"
        deserialize_i32 visit_i32 "a whole number from -2147483648 to 2147483647"
        deserialize_i64 visit_i64 "a whole number of at most 64 bits"
        deserialize_i128 visit_i128 "a whole number of at most 128 bits"
        deserialize_u8 visit_u8 "a whole number from 0 to 255"
        deserialize_u16 visit_u16 "a whole number from 0 to 65535"
        deserialize_u32 visit_u32 "a whole number from 0 to 4294967295"
        deserialize_u64 visit_u64 "a whole number from 0, of at most 64 bits"
        deserialize_u128 visit_u128 "a whole number from 0, of at most 128 bits"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
        deserialize_char visit_char "one character"
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let name = self.name;
        let values = self.values.into_iter().map(|value| Value { name, values: vec![value] });
        visitor.visit_seq(SeqDeserializer::new(values))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.text().into_deserializer())
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_query_is_decoded_and_keeps_repeated_names() {
        let pairs = query_pairs("a=1&b=x+y%2F%zz&a=2&c&&d=%E2%82%AC%ff");
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x y/%zz"), ("a", "2"), ("c", ""), ("d", "€\u{fffd}")]);
    }

    #[test]
    fn a_plain_type_reads_the_parameter_with_the_name_of_the_argument() {
        assert_eq!(query::<u32>("n=3&m=4", "m").unwrap(), 4);
        assert_eq!(query::<Option<u32>>("n=3", "m").unwrap(), None);
        assert_eq!(query::<Vec<u32>>("m=1&n=3&m=2", "m").unwrap(), [1, 2]);
        assert_eq!(query::<Vec<u32>>("n=3", "m").unwrap(), Vec::<u32>::new());
        let missing = query::<u32>("n=3", "m").unwrap_err();
        assert_eq!((missing.status, missing.message.as_str()), (400, "the query has no parameter `m`: add `?m=..`"));
        let wrong = query::<u8>("m=256", "m").unwrap_err();
        assert_eq!(wrong.message, "`m` must be a whole number from 0 to 255, not `256`");
    }

    #[test]
    fn maps_and_tuples_read_all_parameters() {
        let params = [("a".to_owned(), "x".to_owned()), ("b".to_owned(), "7".to_owned())];
        assert_eq!(path::<(String, u8)>(&params, "both").unwrap(), ("x".to_owned(), 7));
        let map: BTreeMap<String, String> = path(&params, "all").unwrap();
        assert_eq!(map["b"], "7");
        assert_eq!(path::<serde_json::Value>(&params, "a").unwrap(), "x");
        let missing = path::<String>(&params, "c").unwrap_err();
        assert_eq!(missing.message, "the path of the route has no segment `{c}`: rename the handler's argument");
        let lists: BTreeMap<String, Vec<u8>> = query("a=1&b=2&a=3", "all").unwrap();
        assert_eq!(lists["a"], [1, 3]);
    }
}
