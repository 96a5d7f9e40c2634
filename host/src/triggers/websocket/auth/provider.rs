//! The cryptography of tokens: lets `jsonwebtoken` use ring, which the host has for TLS already.
//!
//! ring verifies RS256 eight times as fast as the feature `rust_crypto` of `jsonwebtoken`, and adds
//! 4 crates instead of 41, one of which has an advisory without a fixed version (`rsa`). The
//! provider belongs to the process: a program that embeds the host and uses `jsonwebtoken` itself
//! may install another one first.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RsaEncoding, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{error::KeyRejected, hmac};
use signature::{Error as SignatureError, Signer, Verifier};

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// Makes ring the provider of this process, unless the program that embeds the host has chosen one.
pub(super) fn install() {
    _ = PROVIDER.install_default();
}

fn rejected(error: KeyRejected) -> jsonwebtoken::errors::Error {
    new_error(ErrorKind::Provider(error.to_string()))
}

fn check_family(family: AlgorithmFamily, algorithm: Algorithm) -> Result<()> {
    if family == algorithm.family() { Ok(()) } else { Err(new_error(ErrorKind::InvalidKeyFormat)) }
}

enum Key {
    Hmac(hmac::Key),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

struct RingSigner {
    algorithm: Algorithm,
    key: Key,
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    check_family(key.family(), *algorithm)?;
    let key = signing_key(*algorithm, key.as_bytes())?;
    Ok(Box::new(RingSigner { algorithm: *algorithm, key }))
}

fn signing_key(algorithm: Algorithm, bytes: &[u8]) -> Result<Key> {
    let rsa = |encoding: &'static dyn RsaEncoding| {
        RsaKeyPair::from_pkcs8(bytes).map(|pair| Key::Rsa(pair, encoding)).map_err(rejected)
    };
    let ec = |curve: &'static EcdsaSigningAlgorithm| {
        EcdsaKeyPair::from_pkcs8(curve, bytes, &SystemRandom::new()).map(Key::Ec).map_err(rejected)
    };
    match algorithm {
        Algorithm::HS256 => Ok(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes))),
        Algorithm::HS384 => Ok(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA384, bytes))),
        Algorithm::HS512 => Ok(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA512, bytes))),
        Algorithm::RS256 => rsa(&RSA_PKCS1_SHA256),
        Algorithm::RS384 => rsa(&RSA_PKCS1_SHA384),
        Algorithm::RS512 => rsa(&RSA_PKCS1_SHA512),
        Algorithm::ES256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map(Key::Ed).map_err(rejected),
        _ => Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    }
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        let failed = |_| SignatureError::new();
        let random = SystemRandom::new();
        match &self.key {
            Key::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Key::Rsa(pair, encoding) => {
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &random, message, &mut signed).map_err(failed)?;
                Ok(signed)
            }
            Key::Ec(pair) => pair.sign(&random, message).map(|signed| signed.as_ref().to_vec()).map_err(failed),
            Key::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

enum PublicKey {
    Hmac(hmac::Key),
    Public(UnparsedPublicKey<Vec<u8>>),
}

struct RingVerifier {
    algorithm: Algorithm,
    key: PublicKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    check_family(key.family(), *algorithm)?;
    let bytes = key.try_get_as_bytes()?;
    let public =
        |with: &'static dyn VerificationAlgorithm| PublicKey::Public(UnparsedPublicKey::new(with, bytes.to_vec()));
    let key = match algorithm {
        Algorithm::HS256 => PublicKey::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
        Algorithm::HS384 => PublicKey::Hmac(hmac::Key::new(hmac::HMAC_SHA384, bytes)),
        Algorithm::HS512 => PublicKey::Hmac(hmac::Key::new(hmac::HMAC_SHA512, bytes)),
        Algorithm::RS256 => public(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => public(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => public(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::ES256 => public(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => public(&ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => public(&ED25519),
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        match &self.key {
            PublicKey::Hmac(key) => hmac::verify(key, message, signed),
            PublicKey::Public(key) => key.verify(message, signed),
        }
        .map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// The public part of a private key, in the form in which [`verifier`] expects it.
pub(super) fn public_part(algorithm: Algorithm, private: &[u8]) -> Result<Vec<u8>> {
    use ring::signature::KeyPair;
    Ok(match signing_key(algorithm, private)? {
        Key::Hmac(_) => private.to_vec(),
        Key::Rsa(pair, _) => pair.public_key().as_ref().to_vec(),
        Key::Ec(pair) => pair.public_key().as_ref().to_vec(),
        Key::Ed(pair) => pair.public_key().as_ref().to_vec(),
    })
}
