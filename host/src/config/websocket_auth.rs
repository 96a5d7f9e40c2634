//! The section `websocket.auth`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{FilePath, VariableName, excludes};
use crate::document::KeyPath;
use crate::document::units::Time;

/// The tokens of clients, which are JSON Web Tokens. The keys are in files or variables, never in
/// the settings. Without a key, the host signs no tokens and accepts none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The algorithm of the key in `keyFile` or `keyVariable`. Default `HS256`.
    pub algorithm: TokenAlgorithm,
    /// The file with the key that signs tokens, relative to the folder of this file. For HS256,
    /// HS384 and HS512 its first line is the secret, of at least 16 bytes. For the other algorithms
    /// it is a private key as PEM (PKCS#8). Tokens that it has signed are valid. Default null: the
    /// host signs no tokens.
    #[schemars(with = "Option<FilePath>")]
    pub key_file: Option<String>,
    /// The variable that has this key, instead of a file. Default null.
    #[schemars(with = "Option<VariableName>")]
    pub key_variable: Option<String>,
    /// Further keys whose tokens are valid, such as the previous one while clients still have its
    /// tokens. At most 16. Default none.
    #[schemars(extend("maxItems" = 16))]
    pub verify_keys: Vec<VerifyKey>,
    /// How long a token is valid, unless the module says otherwise, 1 s to 4320 h. Default `24h`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1_000, "maximum" = 15_552_000_000u64))]
    pub expiry: Duration,
}

/// A key whose tokens are valid. Either `file` or `variable` is required.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VerifyKey {
    /// The file with the key, relative to the folder of this file: a secret as in `keyFile`, or a
    /// public key as PEM (`BEGIN PUBLIC KEY`). Default null.
    #[schemars(with = "Option<FilePath>")]
    pub file: Option<String>,
    /// The variable that has the key, instead of a file. Default null.
    #[schemars(with = "Option<VariableName>")]
    pub variable: Option<String>,
    /// The algorithm of the key. Default `HS256`.
    pub algorithm: TokenAlgorithm,
}

impl AuthConfig {
    /// The section in the settings.
    pub fn section() -> KeyPath {
        KeyPath::of(&["websocket", "auth"])
    }

    /// Checks that each key is in one place.
    pub(super) fn faults(&self) -> Vec<(KeyPath, String)> {
        let mut faults = Vec::new();
        if self.key_file.is_some() && self.key_variable.is_some() {
            faults.push((AuthConfig::section().key("keyVariable"), excludes("keyFile")));
        }
        for (index, key) in self.verify_keys.iter().enumerate() {
            let place = AuthConfig::section().key("verifyKeys").index(index);
            match (&key.file, &key.variable) {
                (Some(_), Some(_)) => faults.push((place.key("variable"), excludes("file"))),
                (None, None) => faults.push((place, "needs `file` or `variable`, which has the key".to_owned())),
                _ => {}
            }
        }
        faults
    }
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TokenAlgorithm {
    #[default]
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    EdDSA,
}

impl TokenAlgorithm {
    /// Whether one secret both signs and verifies.
    pub fn has_secret(self) -> bool {
        matches!(self, TokenAlgorithm::HS256 | TokenAlgorithm::HS384 | TokenAlgorithm::HS512)
    }
}

impl Default for AuthConfig {
    fn default() -> AuthConfig {
        AuthConfig {
            algorithm: TokenAlgorithm::default(),
            key_file: None,
            key_variable: None,
            verify_keys: Vec::new(),
            expiry: Duration::from_secs(24 * 60 * 60),
        }
    }
}
