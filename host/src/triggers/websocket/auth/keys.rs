//! Reads the keys of tokens: secrets, and private and public keys as PEM.

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::provider::public_part;
use crate::config::TokenAlgorithm;

/// The fewest bytes of a secret.
const MIN_SECRET: usize = 16;

/// How a key in PEM begins.
const PEM: &str = "-----BEGIN";

/// The identifiers of the algorithms of public keys, as they are at the beginning of the
/// `AlgorithmIdentifier` (RFC 5280, 4.1.1.2).
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const P256: &[u8] =
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// The tags of DER.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

pub(super) fn algorithm(algorithm: TokenAlgorithm) -> Algorithm {
    match algorithm {
        TokenAlgorithm::HS256 => Algorithm::HS256,
        TokenAlgorithm::HS384 => Algorithm::HS384,
        TokenAlgorithm::HS512 => Algorithm::HS512,
        TokenAlgorithm::RS256 => Algorithm::RS256,
        TokenAlgorithm::RS384 => Algorithm::RS384,
        TokenAlgorithm::RS512 => Algorithm::RS512,
        TokenAlgorithm::ES256 => Algorithm::ES256,
        TokenAlgorithm::ES384 => Algorithm::ES384,
        TokenAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}

/// Reads a key that signs. Returns it with the key that verifies what it has signed.
pub(super) fn signing(algorithm: Algorithm, text: &str) -> Result<(EncodingKey, DecodingKey), String> {
    let family = algorithm.family();
    if family == AlgorithmFamily::Hmac {
        let secret = secret(text)?;
        return Ok((EncodingKey::from_secret(secret), DecodingKey::from_secret(secret)));
    }
    let private = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        "has no private key in PEM with the line `-----BEGIN PRIVATE KEY-----`: convert it with `openssl pkcs8 -topk8 \
         -nocrypt`"
            .to_owned()
    })?;
    let der = private.secret_pkcs8_der();
    let public = public_part(algorithm, der).map_err(|error| {
        let error = error.to_string();
        let why = error.trim_start_matches("Custom provider error: ");
        format!(
            "has a private key that does not fit the algorithm {algorithm:?} ({why}): set `algorithm` to that of the \
             key, or make another key"
        )
    })?;
    let signing = match family {
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_der(der),
        AlgorithmFamily::Ec => EncodingKey::from_ec_der(der),
        _ => EncodingKey::from_ed_der(der),
    };
    Ok((signing, verifying_key(family, &public)))
}

/// Reads a key that verifies.
pub(super) fn verifying(algorithm: Algorithm, text: &str) -> Result<DecodingKey, String> {
    let (family, id) = match algorithm {
        Algorithm::ES256 => (AlgorithmFamily::Ec, P256),
        Algorithm::ES384 => (AlgorithmFamily::Ec, P384),
        Algorithm::EdDSA => (AlgorithmFamily::Ed, ED25519),
        _ if algorithm.family() == AlgorithmFamily::Hmac => return secret(text).map(DecodingKey::from_secret),
        _ => (AlgorithmFamily::Rsa, RSA),
    };
    let info = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
        .map_err(|_| "has no public key in PEM with the line `-----BEGIN PUBLIC KEY-----`".to_owned())?;
    let key = public_key(info.as_ref(), id).ok_or_else(|| {
        format!("has a public key that does not fit the algorithm {algorithm:?}: set `algorithm` to that of the key")
    })?;
    Ok(verifying_key(family, key))
}

fn verifying_key(family: AlgorithmFamily, public: &[u8]) -> DecodingKey {
    match family {
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_der(public),
        AlgorithmFamily::Ec => DecodingKey::from_ec_der(public),
        _ => DecodingKey::from_ed_der(public),
    }
}

fn secret(text: &str) -> Result<&[u8], String> {
    match text.len() {
        // Everybody knows this line, so that everybody could sign tokens with it.
        _ if text.trim_start().starts_with(PEM) => {
            Err("has a key in PEM, which is no secret: set `algorithm` to that of the key".to_owned())
        }
        size if size < MIN_SECRET => {
            Err(format!("has a secret of {size} bytes: use at least {MIN_SECRET}, such as `openssl rand -hex 32`"))
        }
        _ => Ok(text.as_bytes()),
    }
}

/// Returns the key inside a `SubjectPublicKeyInfo` (RFC 5280, 4.1), if it is one of this algorithm.
fn public_key<'a>(info: &'a [u8], id: &[u8]) -> Option<&'a [u8]> {
    let (fields, rest) = element(info, SEQUENCE)?;
    let (algorithm, key) = element(fields, SEQUENCE)?;
    let (bits, end) = element(key, BIT_STRING)?;
    // The first byte of a bit string is the number of unused bits.
    (algorithm.starts_with(id) && rest.is_empty() && end.is_empty()).then(|| bits.strip_prefix(&[0]))?
}

/// Splits an element of DER with this tag into its content and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (*first == tag).then(|| rest.split_at_checked(length))?
}
