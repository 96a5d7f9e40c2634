//! The limits of one instance of a module, and the operator's ceiling for them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::units::{Count, GIB, KIB, MIB, Size, Time};

/// Generates from one table the values ([`Limits`]), the partial set that users write
/// ([`LimitsPatch`]), and the list of keys.
macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident / $key:literal: $unit:ty as $plain:ty = $default:expr, ceiling $ceiling:expr, from $minimum:literal to $maximum:expr;)*) => {
        /// The limits of one instance. Each has a minimum, a default and a ceiling.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(from = "LimitsPatch", into = "LimitsPatch")]
        pub struct Limits {
            $($(#[$doc])* pub $field: $plain,)*
        }

        /// Limits to change. A limit that is absent keeps its value.
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

            /// The ceiling when the operator sets none.
            pub fn ceiling() -> Limits {
                Limits { $($field: $ceiling,)* }
            }

            /// Returns these limits with the values of `patch` in place of their own.
            #[must_use]
            pub fn with(&self, patch: &LimitsPatch) -> Limits {
                Limits { $($field: patch.$field.map_or(self.$field, Into::into),)* }
            }

            /// Returns these limits, each lowered to `ceiling` where it exceeds it.
            #[must_use]
            pub fn capped(&self, ceiling: &Limits) -> Limits {
                Limits { $($field: self.$field.min(ceiling.$field),)* }
            }

            /// Returns the limits that exceed `ceiling`.
            pub fn exceeding(&self, ceiling: &Limits) -> Vec<ExceededLimit> {
                let mut exceeded = Vec::new();
                $(if self.$field > ceiling.$field {
                    exceeded.push(ExceededLimit {
                        key: $key,
                        requested: <$unit>::from(self.$field).to_string(),
                        ceiling: <$unit>::from(ceiling.$field).to_string(),
                    });
                })*
                exceeded
            }
        }

        impl From<Limits> for LimitsPatch {
            fn from(limits: Limits) -> LimitsPatch {
                LimitsPatch { $($field: Some(limits.$field.into()),)* }
            }
        }
    };
}

/// A limit that exceeds its ceiling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceededLimit {
    /// The key, such as `hostcallFuel`.
    pub key: &'static str,
    /// The requested value, with its unit.
    pub requested: String,
    /// The highest value allowed, with its unit.
    pub ceiling: String,
}

/// The longest duration that a setting can have, in milliseconds: one year.
const YEAR: u64 = crate::document::units::MAX_DURATION.as_millis() as u64;
const TIB: u64 = 1024 * GIB;

limits! {
    /// The size of all linear memories of an instance together, at least 64 KiB. The host replaces
    /// an instance whose memory grows beyond 7/8 of it, and hands its state over. Default `64MiB`,
    /// ceiling `256MiB`.
    memory / "memory": Size as u64 = 64 * MIB, ceiling 256 * MIB, from 65_536 to TIB;
    /// How long the caller waits for a call, counted from when it makes the call, at least 1 ms.
    /// Default `5s`, ceiling `1m`.
    timeout / "timeout": Time as Duration = Duration::from_secs(5), ceiling Duration::from_secs(60), from 1 to YEAR;
    /// Processor time of one call, at least 1 ms. Default `500ms`, ceiling `5s`.
    cpu / "cpu": Time as Duration = Duration::from_millis(500), ceiling Duration::from_secs(5), from 1 to YEAR;
    /// Calls that an instance runs at once, at least 1. With 1 the module is serial. Calls that
    /// count against `nested` are extra. Default 64, ceiling 256.
    concurrency / "concurrency": Count as u32 = 64, ceiling 256, from 1 to u32::MAX;
    /// Calls that an instance runs in addition to `concurrency`, at least 2: calls that descend
    /// from a call of the same module, and broadcasts. Broadcasts leave one place free for the
    /// others. Default 16, ceiling 64.
    nested / "nested": Count as u32 = 16, ceiling 64, from 2 to u32::MAX;
    /// Calls that may wait for an instance, and host events that may wait for the module's hooks,
    /// at least 1 each. Default 1024, ceiling 16384.
    mailbox / "mailbox": Count as u32 = 1_024, ceiling 16_384, from 1 to u32::MAX;
    /// Broadcasts that may wait for an instance, at least 1. Default 1024, ceiling 16384.
    broadcasts / "broadcasts": Count as u32 = 1_024, ceiling 16_384, from 1 to u32::MAX;
    /// Memory for the calls that wait in one lane of an instance, at least 1 byte. A call counts
    /// with its payload, parameters, query, names and headers, and 1 KiB more. An empty lane
    /// accepts a call of any size. Default `64MiB`, ceiling `1GiB`.
    queued / "queued": Size as u64 = 64 * MIB, ceiling GIB, from 1 to TIB;
    /// The largest payload of a call or a reply, at least 1 byte. Its headers, names and messages
    /// together may have the same size again. Default `2MiB`, ceiling `16MiB`.
    payload / "payload": Size as u64 = 2 * MIB, ceiling 16 * MIB, from 1 to TIB;
    /// Data that one call of an import or export may copy between host and guest, at least 1 KiB.
    /// Default `64MiB`, ceiling `512MiB`.
    hostcall_fuel / "hostcallFuel": Size as u64 = 64 * MIB, ceiling 512 * MIB, from 1_024 to TIB;
    /// Bytes of all files in the folders that the module may write to (the capability `dirs`), over
    /// all its instances, at least 4 KiB. Default `64MiB`, ceiling `1GiB`.
    disk / "disk": Size as u64 = 64 * MIB, ceiling GIB, from 4_096 to TIB;
    /// Files, folders and links in those folders, over all instances, at least 1. Default 1000,
    /// ceiling 100000.
    files / "files": Count as u32 = 1_000, ceiling 100_000, from 1 to u32::MAX;
    /// Files and folders that an instance has open, at least 1. Each uses a file descriptor of the
    /// host. Default 64, ceiling 1024.
    open_files / "openFiles": Count as u32 = 64, ceiling 1_024, from 1 to u32::MAX;
    /// Elements in all tables of an instance together, at least 1. Default 100000, ceiling 1000000.
    tables / "tables": Count as u32 = 100_000, ceiling 1_000_000, from 1 to u32::MAX;
    /// Handles to host resources that an instance may hold, at least 1. WASI resources have a
    /// further bound, because each may use 16 KiB of the host's memory: 64, or as many as fit into
    /// `memory` if that is more. Default 10000, ceiling 100000.
    handles / "handles": Count as u32 = 10_000, ceiling 100_000, from 1 to u32::MAX;
    /// Log lines per second, at least 1. The host counts and drops further lines. Default 100,
    /// ceiling 10000.
    log_rate / "logRate": Count as u32 = 100, ceiling 10_000, from 1 to u32::MAX;
    /// The longest log line, at least 1 byte. The host cuts off the rest. Default `4KiB`, ceiling
    /// `64KiB`.
    log_line / "logLine": Size as u32 = 4 * KIB as u32, ceiling 64 * KIB as u32, from 1 to u32::MAX;
    /// How long all startups of an instance may take together, at least 1 ms. Default `10s`,
    /// ceiling `1m`.
    startup / "startup": Time as Duration = Duration::from_secs(10), ceiling Duration::from_secs(60), from 1 to YEAR;
    /// How long a call may continue after its deadline before it counts as leaked, at least 1 ms.
    /// Default `1s`, ceiling `1m`.
    abandon_after / "abandonAfter": Time as Duration = Duration::from_secs(1), ceiling Duration::from_secs(60), from 1 to YEAR;
    /// Leaked calls that an instance may have, at least 1. The host replaces the instance when one
    /// more leaks, or earlier when leaked calls occupy all of `concurrency` or all of `nested`.
    /// Default 16, ceiling 256.
    max_leaked / "maxLeaked": Count as u32 = 16, ceiling 256, from 1 to u32::MAX;
    /// Imports of an instance that may wait at the same time, at least 1. Default 256, ceiling
    /// 4096.
    background / "background": Count as u32 = 256, ceiling 4_096, from 1 to u32::MAX;
    /// Subscriptions that a guest may make at run time in one isolate, at least 1. Default 64,
    /// ceiling 1024.
    subscriptions / "subscriptions": Count as u32 = 64, ceiling 1_024, from 1 to u32::MAX;
    /// The sum of `queue.bytes` of all subscriptions that `module.json` declares, at least 1 byte.
    /// With `"deliver": "all"`, each worker has a queue of its own, and the sum is that of one
    /// worker. Default `64MiB`, ceiling `256MiB`.
    subscription_queues / "subscriptionQueues": Size as u64 = 64 * MIB, ceiling 256 * MIB, from 1 to TIB;
}

/// Absent limits become the default ceiling, because `limits.max` is the only setting that is read
/// as a whole set of limits.
impl From<LimitsPatch> for Limits {
    fn from(patch: LimitsPatch) -> Limits {
        Limits::ceiling().with(&patch)
    }
}
