//! The module's configuration, in three layers: `config` of the manifest, then the operator's
//! values, then the operator's values for the tenant. A later layer overrides an earlier one.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//!
//! #[handler]
//! fn greet() -> Result<String> {
//!     let word: String = config::get("/greeting")?.unwrap_or("hello".to_owned());
//!     let times = config::get("/times")?.unwrap_or(1);
//!     Ok(word.repeat(times))
//! }
//! fanfare_sdk::module!(greet);
//! # fn main() {
//! let host = TestHost::builder(Module).config(json!({"greeting": "hi", "times": 2})).start();
//! assert_eq!(host.call("greet", ()).unwrap().text(), "hihi");
//! # }
//! ```

use std::fmt;

use serde::de::DeserializeOwned;

use crate::backend;
use crate::current::caller;

/// Returns the value at a JSON Pointer such as `/limits/0/name`, or `None` when there is no such
/// value.
pub fn get<T: DeserializeOwned>(pointer: &str) -> Result<Option<T>, ConfigError> {
    let Some(text) = backend::config(caller(), pointer) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| ConfigError { pointer: pointer.to_owned(), error })
}

/// Returns the whole configuration.
pub fn all<T: DeserializeOwned>() -> Result<T, ConfigError> {
    let text = backend::config(caller(), "");
    let text = text.as_deref().unwrap_or("{}");
    serde_json::from_str(text).map_err(|error| ConfigError { pointer: String::new(), error })
}

/// A configured value does not have the type that the module expects.
#[derive(Debug)]
pub struct ConfigError {
    pointer: String,
    error: serde_json::Error,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => write!(f, "the config of the module has the wrong type: {}", self.error)?,
            pointer => write!(f, "the config value at `{pointer}` has the wrong type: {}", self.error)?,
        }
        f.write_str(". Correct `config` in module.json or fanfare.json")
    }
}

impl std::error::Error for ConfigError {}
