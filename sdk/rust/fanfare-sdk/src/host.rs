//! Where the module runs, and the host's log.

use crate::backend;
use crate::current::caller;
use crate::types::{Identity, Isolate, Level};

/// Returns the node, the isolate and the module of this instance.
pub fn whoami() -> Identity {
    backend::whoami()
}

/// Returns the isolate that this instance lives in, such as `worker-0`.
pub fn isolate() -> Isolate {
    backend::isolate()
}

/// Writes one line to the host's log. The macros, such as [`info!`](crate::info!), are shorter.
pub fn log(level: Level, message: &str, fields: &[(String, String)]) {
    backend::log(caller(), level, message, fields);
}

/// The common part of the macros below.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($format:expr),+ $(,)? $(; $($key:expr => $value:expr),* $(,)?)?) => {
        $crate::host::log(
            $crate::types::Level::$level,
            &::std::format!($($format),+),
            &[$($((::std::string::ToString::to_string(&$key), ::std::string::ToString::to_string(&$value))),*)?],
        )
    };
}

/// Logs a line at level `trace`, for the finest detail. Same syntax as [`info!`](crate::info!).
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::__log!(Trace, $($line)+) };
}

/// Logs a line at level `debug`, for finding faults. Same syntax as [`info!`](crate::info!).
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::__log!(Debug, $($line)+) };
}

/// Logs a line at level `info`: a format and its arguments, then fields after a semicolon.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[handler]
/// fn buy(item: Text) {
///     info!("sold {}", *item; "shop" => "main", "left" => 3);
/// }
/// fanfare_sdk::module!(buy);
/// # fn main() {
/// let host = TestHost::new(Module);
/// host.call("buy", "a hat").unwrap();
/// assert_eq!(host.logs()[0].message, "sold a hat");
/// # }
/// ```
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::__log!(Info, $($line)+) };
}

/// Logs a line at level `warn`, for problems that need attention. Same syntax as
/// [`info!`](crate::info!).
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::__log!(Warn, $($line)+) };
}

/// Logs a line at level `error`, for work that failed. Same syntax as [`info!`](crate::info!).
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::__log!(Error, $($line)+) };
}
