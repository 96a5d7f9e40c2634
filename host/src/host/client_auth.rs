//! Reads the keys of clients' tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StartError;
use crate::config::secret::Secret;
use crate::config::{AuthConfig, Config, TokenAlgorithm};
use crate::document::KeyPath;
use crate::triggers::websocket::{Auth, KeyText};

/// A key, and its place in the settings.
struct Key {
    place: KeyPath,
    algorithm: TokenAlgorithm,
    text: String,
}

impl Key {
    fn text(&self) -> KeyText<'_> {
        KeyText { algorithm: self.algorithm, text: &self.text }
    }
}

/// Reads the keys of `websocket.auth`. `None` if there are none.
pub(super) fn client_auth(config: &Config) -> Result<Option<Arc<Auth>>, StartError> {
    let auth = &config.websocket.auth;
    let section = AuthConfig::section();
    let (file, variable) = (auth.key_file.as_deref(), auth.key_variable.as_deref());
    let place = section.key(if file.is_some() { "keyFile" } else { "keyVariable" });
    let signing = read(config, place, auth.algorithm, file, variable)?;
    let mut verifying = Vec::new();
    for (index, key) in auth.verify_keys.iter().enumerate() {
        let (file, variable) = (key.file.as_deref(), key.variable.as_deref());
        let place = section.key("verifyKeys").index(index).key(if file.is_some() { "file" } else { "variable" });
        verifying.extend(read(config, place, key.algorithm, file, variable)?);
    }
    if signing.is_none() && verifying.is_empty() {
        return Ok(None);
    }
    let texts: Vec<KeyText<'_>> = verifying.iter().map(Key::text).collect();
    let auth = Auth::new(signing.as_ref().map(Key::text), &texts, auth.expiry).map_err(|(index, why)| {
        let key = index.map_or(signing.as_ref(), |index| verifying.get(index));
        unusable(config, key.map_or(&section, |key| &key.place), why)
    })?;
    Ok(Some(Arc::new(auth)))
}

fn read(
    config: &Config,
    place: KeyPath,
    algorithm: TokenAlgorithm,
    file: Option<&str>,
    variable: Option<&str>,
) -> Result<Option<Key>, StartError> {
    let none = BTreeMap::new();
    let variables = config.sources.as_ref().map_or(&none, |sources| &sources.variables);
    let secret = Secret::new(file, variable, &config.root, variables);
    let text = if algorithm.has_secret() { secret.read() } else { secret.read_lines() };
    match text {
        Ok(text) => Ok(text.map(|text| Key { place, algorithm, text })),
        Err(why) => Err(unusable(config, &place, why)),
    }
}

fn unusable(config: &Config, place: &KeyPath, why: String) -> StartError {
    StartError::TokenKey { place: format!("{}: {place}", config.origin(place)), why }
}
