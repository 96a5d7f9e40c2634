//! Reads the keys of clients' tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StartError;
use crate::config::secret::Secret;
use crate::config::{AuthConfig, Config, TokenAlgorithm};
use crate::document::source::shown;
use crate::document::{Fault, Faults, KeyPath};
use crate::triggers::websocket::{Auth, KeyText};

/// Where a key is, and its place in the settings.
struct KeySource {
    place: KeyPath,
    algorithm: TokenAlgorithm,
    secret: Secret,
    /// Whether the key signs tokens. Every key verifies them.
    signs: bool,
}

/// A key that was read.
struct Key {
    source: KeySource,
    text: String,
}

impl Key {
    fn text(&self) -> KeyText<'_> {
        KeyText { algorithm: self.source.algorithm, text: &self.text }
    }
}

/// Reads the keys of `websocket.auth`. `None` if the settings name no key.
pub(super) fn client_auth(config: &Config) -> Result<Option<Arc<Auth>>, StartError> {
    read_keys(config).map_err(|faults| {
        let (place, why) = match faults.list().first() {
            Some(fault) => (format!("{}: {}", fault.origin, fault.key), fault.message.clone()),
            None => (AuthConfig::section().to_string(), "cannot be read".to_owned()),
        };
        StartError::TokenKey { place, why }
    })
}

/// Checks that the host can read the keys of `websocket.auth`, and that they fit their algorithms.
pub fn check_client_keys(config: &Config) -> Faults {
    read_keys(config).err().unwrap_or_default()
}

fn read_keys(config: &Config) -> Result<Option<Arc<Auth>>, Faults> {
    let (mut keys, mut faults) = (Vec::new(), Faults::default());
    for source in sources(config) {
        match source.read() {
            Ok(Some(text)) => keys.push(Key { source, text }),
            Ok(None) => {}
            Err(why) => faults.push(fault(config, &source.place, why)),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let (signing, verifying): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(|key| key.source.signs);
    let signing = signing.first();
    if signing.is_none() && verifying.is_empty() {
        return Ok(None);
    }
    let texts: Vec<KeyText<'_>> = verifying.iter().map(Key::text).collect();
    let auth = Auth::new(signing.map(Key::text), &texts, config.websocket.auth.expiry).map_err(|(index, why)| {
        let key = index.map_or(signing, |index| verifying.get(index));
        let place = key.map_or_else(AuthConfig::section, |key| key.source.place.clone());
        faults.push(fault(config, &place, why));
        faults
    })?;
    Ok(Some(Arc::new(auth)))
}

/// The keys that the settings name: the one that signs, then the others.
fn sources(config: &Config) -> Vec<KeySource> {
    let none = BTreeMap::new();
    let variables = config.sources.as_ref().map_or(&none, |sources| &sources.variables);
    let secret = |file: &Option<String>, variable: &Option<String>| {
        Secret::new(file.as_deref(), variable.as_deref(), &config.root, variables)
    };
    let (auth, section) = (&config.websocket.auth, AuthConfig::section());
    let signing = KeySource {
        place: section.key(if auth.key_file.is_some() { "keyFile" } else { "keyVariable" }),
        algorithm: auth.algorithm,
        secret: secret(&auth.key_file, &auth.key_variable),
        signs: true,
    };
    let verifying = auth.verify_keys.iter().enumerate().map(|(index, key)| KeySource {
        place: section.key("verifyKeys").index(index).key(if key.file.is_some() { "file" } else { "variable" }),
        algorithm: key.algorithm,
        secret: secret(&key.file, &key.variable),
        signs: false,
    });
    std::iter::once(signing).chain(verifying).collect()
}

impl KeySource {
    fn read(&self) -> Result<Option<String>, String> {
        let text = if self.algorithm.has_secret() { self.secret.read() } else { self.secret.read_lines() };
        text.map_err(|why| match &self.secret {
            Secret::File(path) if !path.exists() => format!("{why}: {}", self.remedy(&shown(path))),
            _ => why,
        })
    }

    /// How to make the key, if its file does not exist.
    fn remedy(&self, file: &str) -> String {
        if self.algorithm.has_secret() {
            return match self.signs {
                true => format!("make a secret with `openssl rand -hex 32 > {file}`"),
                false => "store the secret there with which the tokens were signed, or remove this key".to_owned(),
            };
        }
        if !self.signs {
            return format!("write the public key there with `openssl pkey -in <private key> -pubout -out {file}`");
        }
        let kind = match self.algorithm {
            TokenAlgorithm::ES256 => "EC -pkeyopt ec_paramgen_curve:P-256",
            TokenAlgorithm::ES384 => "EC -pkeyopt ec_paramgen_curve:P-384",
            TokenAlgorithm::EdDSA => "ED25519",
            _ => "RSA -pkeyopt rsa_keygen_bits:2048",
        };
        format!("make a private key with `openssl genpkey -algorithm {kind} -out {file}`")
    }
}

fn fault(config: &Config, place: &KeyPath, why: String) -> Fault {
    Fault::new(&config.origin(place), place, why)
}
