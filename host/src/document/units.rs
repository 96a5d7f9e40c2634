//! Durations and sizes as users write them: `"5s"` or a number of milliseconds, `"64MiB"` or a
//! number of bytes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// The longest duration that a document may contain: 365 days.
pub const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

const TIME_RULE: &str = "a duration such as \"500ms\", \"5s\", \"2m\" or \"1h\", or a whole number of milliseconds";
const SIZE_RULE: &str = "a size such as \"2KiB\", \"64MiB\" or \"1GiB\", or a whole number of bytes";

/// A duration in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Count(pub u32);

/// Parses a number followed by a unit.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a value in the largest unit that divides it.
fn write(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fitting = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    match fitting.or(units.last()) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}"),
    }
}

macro_rules! unit {
    ($unit:ident, $format:literal, $pattern:literal, $units:ident, $rule:ident, $from:expr, $to:expr) => {
        impl $unit {
            /// Converts from the smallest unit: milliseconds or bytes.
            pub fn from_number(number: u64) -> Option<$unit> {
                let from: fn(u64) -> Option<$unit> = $from;
                from(number)
            }

            /// Converts to the smallest unit: milliseconds or bytes.
            pub fn number(self) -> u64 {
                let to: fn($unit) -> u64 = $to;
                to(self)
            }
        }

        impl FromStr for $unit {
            /// The rule that the text breaks.
            type Err = &'static str;

            fn from_str(text: &str) -> Result<$unit, &'static str> {
                parse(text, &$units).and_then($unit::from_number).ok_or($rule)
            }
        }

        impl fmt::Display for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(self.number(), &$units, f)
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$unit, D::Error> {
                struct Reader;
                impl Visitor<'_> for Reader {
                    type Value = $unit;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($rule)
                    }
                    fn visit_u64<E: Error>(self, value: u64) -> Result<$unit, E> {
                        $unit::from_number(value).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
                    }
                    fn visit_str<E: Error>(self, value: &str) -> Result<$unit, E> {
                        value.parse().map_err(|_| E::invalid_value(Unexpected::Str(value), &self))
                    }
                }
                deserializer.deserialize_any(Reader)
            }
        }

        impl JsonSchema for $unit {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($unit).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "integer"], "pattern": $pattern, "x-format": $format })
            }
        }
    };
}

unit!(
    Time,
    "duration",
    "^[0-9]+(ms|s|m|h)$",
    TIMES,
    TIME_RULE,
    |number| { Some(Duration::from_millis(number)).filter(|time| *time <= MAX_DURATION).map(Time) },
    |time| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX)
);

unit!(Size, "size", "^[0-9]+(B|KiB|MiB|GiB|TiB)$", SIZES, SIZE_RULE, |number| Some(Size(number)), |size| size.0);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

macro_rules! convert {
    ($($unit:ident and $plain:ty: $from:expr, $to:expr;)*) => {$(
        impl From<$unit> for $plain {
            fn from(value: $unit) -> $plain {
                let to: fn($unit) -> $plain = $to;
                to(value)
            }
        }
        impl From<$plain> for $unit {
            fn from(value: $plain) -> $unit {
                let from: fn($plain) -> $unit = $from;
                from(value)
            }
        }
    )*};
}

convert! {
    Time and Duration: Time, |time| time.0;
    Size and u64: Size, |size| size.0;
    Size and u32: |size| Size(size.into()), |size| u32::try_from(size.0).unwrap_or(u32::MAX);
    Count and u32: Count, |count| count.0;
}

macro_rules! with {
    ($(#[$doc:meta])* $name:ident: $unit:ident as $plain:ty) => {
        $(#[$doc])*
        pub mod $name {
            use super::*;

            pub fn serialize<S: Serializer>(value: &$plain, serializer: S) -> Result<S::Ok, S::Error> {
                $unit::from(*value).serialize(serializer)
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$plain, D::Error> {
                $unit::deserialize(deserializer).map(Into::into)
            }
        }
    };
}

with!(
    /// For `#[serde(with)]`: writes a [`Duration`] as [`Time`].
    duration: Time as Duration
);
with!(
    /// For `#[serde(with)]`: writes a number of bytes as [`Size`].
    size: Size as u64
);
with!(
    /// For `#[serde(with)]`: writes a number of bytes below 4 GiB as [`Size`].
    size32: Size as u32
);

/// For `#[serde(with)]`: writes a [`Duration`] as [`Time`], or null.
pub mod optional_duration {
    use super::*;

    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Time).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Time>::deserialize(deserializer)?.map(Duration::from))
    }
}

/// For `#[serde(with)]`: writes a number of bytes as [`Size`], or null.
pub mod optional_size {
    use super::*;

    pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Size).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<Size>::deserialize(deserializer)?.map(u64::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<u64> {
        text.parse::<Time>().ok().map(Time::number)
    }

    fn bytes(text: &str) -> Option<u64> {
        text.parse::<Size>().ok().map(Size::number)
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(
            [ms("500ms"), ms("5s"), ms("2m"), ms("1h")],
            [Some(500), Some(5_000), Some(120_000), Some(3_600_000)]
        );
        for wrong in ["", "5", "s", "5 s", "-5s", "+5s", "1.5s", "5S", "5d", "5s ", "99999999999999999999s"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_a_year_at_most() {
        assert_eq!(ms("8760h"), Some(MAX_DURATION.as_millis() as u64));
        assert_eq!(ms("8761h"), None);
        assert_eq!(Time::from_number(u64::MAX), None);
    }

    #[test]
    fn sizes_have_a_binary_unit() {
        assert_eq!(
            [bytes("7B"), bytes("2KiB"), bytes("64MiB"), bytes("1GiB")],
            [Some(7), Some(2048), Some(64 << 20), Some(1 << 30)]
        );
        for wrong in ["", "64", "64MB", "64mib", "1.5GiB", "16777216TiB", "-1B"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        for text in ["0ms", "1ms", "1500ms", "5s", "2m", "24h"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        for text in ["0B", "1B", "1025B", "64KiB", "3GiB", "2TiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("60s".parse::<Time>().unwrap().to_string(), "1m");
    }

    #[test]
    fn plain_numbers_are_milliseconds_or_bytes() {
        assert_eq!(serde_json::from_str::<Time>("1500").unwrap(), Time(Duration::from_millis(1500)));
        assert_eq!(serde_json::from_str::<Size>("1500").unwrap(), Size(1500));
        let error = serde_json::from_str::<Size>("\"64MB\"").unwrap_err().to_string();
        assert!(error.contains("\"64MB\"") && error.contains("64MiB"), "{error}");
        assert!(serde_json::from_str::<Time>("-1").is_err());
        assert!(serde_json::from_str::<Time>("1.5").is_err());
    }
}
