//! The tokens of clients: JSON Web Tokens, with the rules and the errors of SocketCluster.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};

use crate::call::bounds;
use crate::config::TokenAlgorithm;
use crate::hub::Claims;

mod keys;
mod provider;
#[cfg(test)]
mod tests;
mod verifier;

pub use verifier::Verifier;

/// The keys of a host, and how long its tokens are valid.
pub struct Auth {
    signing: Option<(Algorithm, EncodingKey)>,
    /// They are tried in this order.
    verifying: Vec<(Algorithm, DecodingKey)>,
    expiry: Duration,
}

/// A key as an operator has stored it.
#[derive(Clone, Copy)]
pub struct KeyText<'a> {
    pub algorithm: TokenAlgorithm,
    pub text: &'a str,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenError {
    pub name: &'static str,
    pub message: String,
    /// A further field of the error, and a time in RFC 3339.
    pub time: Option<(&'static str, String)>,
    /// Whether the client must forget the token.
    pub is_bad: bool,
}

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 16 * 1_024;

/// The claims that are times, in seconds since 1970-01-01 UTC.
const TIMES: [&str; 3] = ["iat", "nbf", "exp"];

const INVALID: &str = "AuthTokenInvalidError";

/// The name of all errors of tokens without a name of their own.
pub const TOKEN_ERROR: &str = "AuthTokenError";

impl Auth {
    /// Reads the keys. The error says which one is unusable, by its place in `verifying`, or `None`
    /// for the one that signs.
    pub fn new(
        signing: Option<KeyText<'_>>,
        verifying: &[KeyText<'_>],
        expiry: Duration,
    ) -> Result<Auth, (Option<usize>, String)> {
        provider::install();
        let mut auth = Auth { signing: None, verifying: Vec::new(), expiry };
        if let Some(key) = signing {
            let algorithm = keys::algorithm(key.algorithm);
            let (signing, verifying) = keys::signing(algorithm, key.text).map_err(|why| (None, why))?;
            auth.signing = Some((algorithm, signing));
            auth.verifying.push((algorithm, verifying));
        }
        for (index, key) in verifying.iter().enumerate() {
            let algorithm = keys::algorithm(key.algorithm);
            let key = keys::verifying(algorithm, key.text).map_err(|why| (Some(index), why))?;
            auth.verifying.push((algorithm, key));
        }
        Ok(auth)
    }

    /// Whether verifying a token takes long, because a public key does it.
    pub fn is_slow(&self) -> bool {
        self.verifying.iter().any(|(algorithm, _)| algorithm.family() != AlgorithmFamily::Hmac)
    }

    /// Whether tokens can be signed.
    pub fn signs(&self) -> bool {
        self.signing.is_some()
    }

    /// Signs a token with these claims, a JSON object. Adds the time at which it was signed, and
    /// the one at which it expires: after `expires`, else as the claims say, else after the expiry
    /// of the settings.
    pub fn sign(&self, claims: &str, expires: Option<Duration>, now: u64) -> Result<(String, Claims), String> {
        let Some((algorithm, key)) = &self.signing else {
            return Err("websocket.auth has no key that signs: set keyFile or keyVariable".to_owned());
        };
        let mut claims: Map<String, Value> =
            serde_json::from_str(claims).map_err(|error| format!("the claims are not a JSON object: {error}"))?;
        if let Some(name) = TIMES.into_iter().find(|name| claims.get(*name).is_some_and(|time| !time.is_number())) {
            return Err(format!("the claim `{name}` is not a number: use seconds since 1970-01-01 UTC"));
        }
        let issued = now / 1_000;
        claims.entry("iat").or_insert_with(|| issued.into());
        let after = |duration: Duration| issued.saturating_add(duration.as_millis().div_ceil(1_000) as u64);
        match expires {
            Some(expires) => _ = claims.insert("exp".to_owned(), after(expires).into()),
            None => _ = claims.entry("exp").or_insert_with(|| after(self.expiry).into()),
        }
        let expires = milliseconds(claims.get("exp"));
        let token = jsonwebtoken::encode(&Header::new(*algorithm), &claims, key).map_err(|error| error.to_string())?;
        if token.len() > MAX_TOKEN {
            bounds::TOKEN.count();
            let size = token.len();
            return Err(format!(
                "the token would have {size} bytes, but at most {MAX_TOKEN} are allowed: use less claims"
            ));
        }
        Ok((token, Claims { text: Value::Object(claims).to_string(), expires }))
    }

    /// Verifies a token of a client: `None` for a value that is not a text.
    pub fn verify(&self, token: Option<&str>, now: u64) -> Result<Claims, TokenError> {
        let token =
            token.ok_or_else(|| TokenError::bad(TOKEN_ERROR, "Invalid token format - Token must be a string"))?;
        if token.is_empty() {
            return Err(TokenError::bad(INVALID, "jwt must be provided"));
        }
        if token.len() > MAX_TOKEN {
            bounds::TOKEN.count();
            return Err(TokenError::bad(INVALID, "jwt is too long"));
        }
        let claims = self.decode(token)?;
        let (expires, begins) = (claims.get("exp"), claims.get("nbf"));
        for (name, time) in [("nbf", begins), ("exp", expires)] {
            if time.is_some_and(|time| !time.is_number()) {
                return Err(TokenError::bad(INVALID, &format!("invalid {name} value")));
            }
        }
        let (begins, expires) = (milliseconds(begins), milliseconds(expires));
        if let Some(begins) = begins
            && begins > now
        {
            let time = Some(("date", date(begins)));
            return Err(TokenError {
                time,
                is_bad: false,
                ..TokenError::bad("AuthTokenNotBeforeError", "jwt not active")
            });
        }
        if let Some(expires) = expires
            && expires <= now
        {
            let time = Some(("expiry", date(expires)));
            return Err(TokenError { time, ..TokenError::bad("AuthTokenExpiredError", "jwt expired") });
        }
        Ok(Claims { text: Value::Object(claims).to_string(), expires })
    }

    /// Checks the signature of a token with each key of its algorithm.
    fn decode(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        let malformed = || TokenError::bad(INVALID, "jwt malformed");
        if token.split('.').count() != 3 {
            return Err(malformed());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| match has_no_algorithm(token) {
            true => TokenError::bad(INVALID, "jwt signature is required"),
            false => malformed(),
        })?;
        // A token may name extensions that its reader must understand. The host knows no extension.
        if header.crit.is_some() {
            return Err(malformed());
        }
        let mut failed = TokenError::bad(INVALID, "invalid algorithm");
        for (_, key) in self.verifying.iter().filter(|(algorithm, _)| *algorithm == header.alg) {
            match jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation(header.alg)) {
                Ok(token) => return Ok(token.claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {
                    failed = TokenError::bad(INVALID, "invalid signature");
                }
                Err(_) => return Err(malformed()),
            }
        }
        Err(failed)
    }
}

impl TokenError {
    fn bad(name: &'static str, message: &str) -> TokenError {
        TokenError { name, message: message.to_owned(), time: None, is_bad: true }
    }
}

/// The signature alone. The times are checked afterwards, because the errors of SocketCluster have
/// them.
fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    validation
}

/// Whether a token says that it is not signed. The library does not know such tokens.
fn has_no_algorithm(token: &str) -> bool {
    use base64::Engine;
    let header = token.split('.').next().unwrap_or_default();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
    header.get("alg").and_then(Value::as_str).is_some_and(|name| name.eq_ignore_ascii_case("none"))
}

/// A time of a token, which is in seconds.
fn milliseconds(seconds: Option<&Value>) -> Option<u64> {
    let seconds = seconds?.as_f64()?;
    // A negative time becomes 0, and one that is too large the largest.
    Some((seconds * 1_000.0) as u64)
}

/// A time as JavaScript writes it.
fn date(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::MAX))
}
