//! What one instance of a module may take, and the operator's ceiling.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::units::{Count, GIB, KIB, MIB, Size, Time};

/// Writes the three faces of the limits from one table: values, a partial set as users write it, and the names.
macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident / $key:literal: $unit:ty as $plain:ty = $default:expr, ceiling $ceiling:expr, from $minimum:literal to $maximum:expr;)*) => {
        /// What one instance may take. Every value has a default, a ceiling and a minimum: see [`LimitsPatch`].
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(from = "LimitsPatch", into = "LimitsPatch")]
        pub struct Limits {
            $($(#[$doc])* pub $field: $plain,)*
        }

        /// Limits as they are asked for: what is absent stays as it is.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        pub struct LimitsPatch {
            $(
                $(#[$doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                #[schemars(extend("minimum" = $minimum as u64, "maximum" = $maximum as u64))]
                pub $field: Option<$unit>,
            )*
        }

        impl Default for Limits {
            fn default() -> Limits {
                Limits { $($field: $default,)* }
            }
        }

        impl Limits {
            /// The keys, in the order of the table.
            pub const KEYS: &'static [&'static str] = &[$($key),*];

            /// The ceiling that holds when the operator sets none.
            pub fn ceiling() -> Limits {
                Limits { $($field: $ceiling,)* }
            }

            /// These with what `patch` has in their place.
            #[must_use]
            pub fn with(&self, patch: &LimitsPatch) -> Limits {
                Limits { $($field: patch.$field.map_or(self.$field, Into::into),)* }
            }

            /// These with nothing above `ceiling`.
            #[must_use]
            pub fn capped(&self, ceiling: &Limits) -> Limits {
                Limits { $($field: self.$field.min(ceiling.$field),)* }
            }

            /// What is above `ceiling`.
            pub fn above(&self, ceiling: &Limits) -> Vec<Above> {
                let mut above = Vec::new();
                $(if self.$field > ceiling.$field {
                    above.push(Above {
                        key: $key,
                        asked: <$unit>::from(self.$field).to_string(),
                        ceiling: <$unit>::from(ceiling.$field).to_string(),
                    });
                })*
                above
            }
        }

        impl From<Limits> for LimitsPatch {
            fn from(limits: Limits) -> LimitsPatch {
                LimitsPatch { $($field: Some(limits.$field.into()),)* }
            }
        }
    };
}

/// A limit above its ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Above {
    /// Its key, such as `hostcallFuel`.
    pub key: &'static str,
    /// What is asked for, with its unit.
    pub asked: String,
    /// What is allowed, with its unit.
    pub ceiling: String,
}

/// A year: the longest time anywhere.
const YEAR: u64 = crate::document::units::LONGEST.as_millis() as u64;
const TIB: u64 = 1024 * GIB;

limits! {
    /// Memory: all linear memories of an instance together, at least 64 KiB. Default `64MiB`, ceiling `256MiB`.
    memory / "memory": Size as u64 = 64 * MIB, ceiling 256 * MIB, from 65_536 to TIB;
    /// The time of a call, from when it is made until its caller stops waiting, at least 1 ms. Default `5s`, ceiling `1m`.
    timeout / "timeout": Time as Duration = Duration::from_secs(5), ceiling Duration::from_secs(60), from 1 to YEAR;
    /// The time of a call on the processor, at least 1 ms. Default `500ms`, ceiling `5s`.
    cpu / "cpu": Time as Duration = Duration::from_millis(500), ceiling Duration::from_secs(5), from 1 to YEAR;
    /// Calls that run at once in an instance, at least 1; 1 makes the module serial. Others run beside them within `nested`.
    /// Default 64, ceiling 256.
    concurrency / "concurrency": Count as u32 = 64, ceiling 256, from 1 to u32::MAX;
    /// Calls beyond `concurrency`, at least 2: those that descend from a call of the same module, and broadcasts, which leave
    /// them one place. Default 16, ceiling 64.
    nested / "nested": Count as u32 = 16, ceiling 64, from 2 to u32::MAX;
    /// Calls that wait for an instance, at least 1. Default 1024, ceiling 16384.
    mailbox / "mailbox": Count as u32 = 1_024, ceiling 16_384, from 1 to u32::MAX;
    /// Places in the broadcast lane of an instance, at least 1. Default 1024, ceiling 16384.
    broadcasts / "broadcasts": Count as u32 = 1_024, ceiling 16_384, from 1 to u32::MAX;
    /// Bytes that the calls waiting in each lane hold: payload, parameters, query, names, headers and 1 KiB a call, at least 1. A lane that
    /// is empty takes any call. Default `64MiB`, ceiling `1GiB`.
    queued / "queued": Size as u64 = 64 * MIB, ceiling GIB, from 1 to TIB;
    /// The largest payload in or out, and as much for what goes beside it (headers, names, messages), at least 1 byte. Default
    /// `2MiB`, ceiling `16MiB`.
    payload / "payload": Size as u64 = 2 * MIB, ceiling 16 * MIB, from 1 to TIB;
    /// Bytes that one call of an import or export may move between host and guest, at least 1 KiB. Default `64MiB`, ceiling `512MiB`.
    hostcall_fuel / "hostcallFuel": Size as u64 = 64 * MIB, ceiling 512 * MIB, from 1_024 to TIB;
    /// Elements in the tables of an instance together, at least 1. Default 100000, ceiling 1000000.
    tables / "tables": Count as u32 = 100_000, ceiling 1_000_000, from 1 to u32::MAX;
    /// Handles to host resources that an instance may hold, at least 1. Those of WASI hold up to 16 KiB each: there are 64 of
    /// them, and beyond that no more than fit into `memory`. Default 10000, ceiling 100000.
    handles / "handles": Count as u32 = 10_000, ceiling 100_000, from 1 to u32::MAX;
    /// Log lines a second, at least 1; more are counted and dropped. Default 100, ceiling 10000.
    log_rate / "logRate": Count as u32 = 100, ceiling 10_000, from 1 to u32::MAX;
    /// Bytes of a log line, at least 1; the rest is cut off. Default `4KiB`, ceiling `64KiB`.
    log_line / "logLine": Size as u32 = 4 * KIB as u32, ceiling 64 * KIB as u32, from 1 to u32::MAX;
    /// The time of all startups of an instance together, at least 1 ms. Default `10s`, ceiling `1m`.
    startup / "startup": Time as Duration = Duration::from_secs(10), ceiling Duration::from_secs(60), from 1 to YEAR;
    /// How long after its deadline a call may go on before it counts as leaked, at least 1 ms. Default `1s`, ceiling `1m`.
    abandon_after / "abandonAfter": Time as Duration = Duration::from_secs(1), ceiling Duration::from_secs(60), from 1 to YEAR;
    /// Leaked calls after which the instance is replaced when one more leaks, at least 1. It is replaced earlier when leaked calls hold
    /// every place of `concurrency` or of `nested`. Default 16, ceiling 256.
    max_leaked / "maxLeaked": Count as u32 = 16, ceiling 256, from 1 to u32::MAX;
    /// Imports of an instance that wait at once, at least 1. Default 256, ceiling 4096.
    background / "background": Count as u32 = 256, ceiling 4_096, from 1 to u32::MAX;
}

/// The ceiling is the only place where whole limits are read: what is absent there is the default ceiling.
impl From<LimitsPatch> for Limits {
    fn from(patch: LimitsPatch) -> Limits {
        Limits::ceiling().with(&patch)
    }
}
