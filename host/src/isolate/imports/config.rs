//! `fanfare:module/config` and `wasi:config/store`, which read the same values.

use serde_json::Value;

use crate::bindings::fanfare::module::config::Host;
use crate::bindings::wasi::wasi::config::store;
use crate::isolate::state::{Guest, State};

/// Where both interfaces have the secrets.
const SECRETS: &str = "/secrets/";

impl Host for State {
    fn get(&mut self, caller: Option<u64>, pointer: String) -> Option<String> {
        let context = self.guest.context(caller);
        let subdomain = context.as_ref().and_then(|context| context.subdomain.as_deref());
        let found = self.guest.configured(subdomain, &pointer, |value| value.to_string());
        // JSON, like every other value.
        found.map(|found| found.unwrap_or_else(|secret| Value::from(secret).to_string()))
    }
}

impl store::Host for State {
    /// Strings are returned as they are and other values as JSON.
    fn get(&mut self, key: String) -> Result<Option<String>, store::Error> {
        let found = self.guest.configured(None, &format!("/{key}"), plain);
        Ok(found.map(|found| found.unwrap_or_else(str::to_owned)))
    }

    /// Without secrets, because guests print everything that they have.
    fn get_all(&mut self) -> Result<Vec<(String, String)>, store::Error> {
        let config = self.guest.generation.config(None).as_object();
        Ok(config.into_iter().flatten().map(|(key, value)| (key.clone(), plain(value))).collect())
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Guest {
    /// Finds a value: `Ok` in the configuration, `Err` among the secrets.
    fn configured<T>(&self, subdomain: Option<&str>, pointer: &str, value: fn(&Value) -> T) -> Option<Result<T, &str>> {
        let generation = &self.generation;
        let name = pointer.strip_prefix(SECRETS);
        if let Some(secret) = name.and_then(|name| generation.outside.secret(name)) {
            return Some(Err(secret));
        }
        let found = generation.config(subdomain).pointer(pointer).map(value).map(Ok);
        if let (None, Some(name)) = (&found, name) {
            generation.deny("secrets", name);
        }
        found
    }
}
