//! Where the module runs, and its log.

use crate::backend;
use crate::current::caller;
use crate::types::{Identity, Isolate, Level};

/// The node, the place on it, and the module.
pub fn whoami() -> Identity {
    backend::whoami()
}

/// The place that this instance lives in, such as `worker-0`.
pub fn isolate() -> Isolate {
    backend::isolate()
}

/// One line in the host's log. [`info!`](crate::info!) and its like are shorter.
pub fn log(level: Level, message: &str, fields: &[(String, String)]) {
    backend::log(caller(), level, message, fields);
}

/// What the macros below have in common.
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

/// Logs a line for whoever looks very closely. Written like [`info!`](crate::info!).
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::__log!(Trace, $($line)+) };
}

/// Logs a line for whoever looks for a fault. Written like [`info!`](crate::info!).
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::__log!(Debug, $($line)+) };
}

/// Logs a line: a format and its arguments, then, after a semicolon, fields.
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

/// Logs a line about something that should be looked at. Written like [`info!`](crate::info!).
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::__log!(Warn, $($line)+) };
}

/// Logs a line about something that went wrong. Written like [`info!`](crate::info!).
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::__log!(Error, $($line)+) };
}
