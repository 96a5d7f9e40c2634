//! How the node logs in to NATS: its secrets, its certificates, and what a refusal means.

use std::path::Path;

use async_nats::ConnectOptions;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::NatsSecrets;
use crate::config::secret::Secret;

/// Reads the secrets, and checks that the files of TLS can be read: the client of NATS reads them
/// for each connection, and does not say which is wrong. Blocks while it reads files. The error
/// names the setting.
pub(super) fn options(secrets: &NatsSecrets, tls: bool) -> Result<ConnectOptions, String> {
    let mut options = ConnectOptions::new().require_tls(tls);
    let named = |key: &'static str| move |error: String| format!("cluster.{key}: {error}");
    let password = secrets.password.read().map_err(named(key_of(&secrets.password, "password")))?;
    if let (Some(user), Some(password)) = (secrets.username.clone(), password) {
        options = options.user_and_password(user, password);
    }
    if let Some(token) = secrets.token.read().map_err(named(key_of(&secrets.token, "token")))? {
        options = options.token(token);
    }
    if let Some(seed) = secrets.nkey.read().map_err(named("nkeyFile"))? {
        nkeys::KeyPair::from_seed(&seed).map_err(|error| format!("cluster.nkeyFile: no seed of an NKey: {error}"))?;
        options = options.nkey(seed);
    }
    if let Some(credentials) = secrets.credentials.read_lines().map_err(named("credentialsFile"))? {
        options = options.credentials(&credentials).map_err(|error| format!("cluster.credentialsFile: {error}"))?;
    }
    if let Some(ca) = &secrets.ca {
        certificates(ca).map_err(named("ca"))?;
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &secrets.certificate {
        certificates(certificate).map_err(named("certificate"))?;
        let read = PrivateKeyDer::from_pem_file(key);
        read.map_err(|error| format!("cluster.key: {}: {error}", key.display()))?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// What a refusal means, with the settings to look at.
pub(super) fn explained(secrets: &NatsSecrets, reason: &str) -> String {
    let has = |word: &str| reason.to_ascii_lowercase().contains(word);
    let advice = if has("authorization violation") || has("authentication") || has("failed signing nonce") {
        match login(secrets) {
            Some(settings) => format!("check {settings}"),
            None => "the server wants a login: set cluster.username, tokenFile, nkeyFile or credentialsFile".to_owned(),
        }
    } else if has("certificaterequired") || has("received fatal alert") && secrets.certificate.is_none() {
        "the server wants a certificate of this node: set cluster.certificate and cluster.key".to_owned()
    } else if has("invalid peer certificate") {
        "check cluster.ca, which must have the authority of the server's certificate".to_owned()
    } else if has("received fatal alert") {
        "check cluster.certificate and cluster.key".to_owned()
    } else {
        return reason.to_owned();
    };
    format!("{reason}: {advice}")
}

/// Whether a server was not there, so that it has refused nothing.
pub(super) fn is_away(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["connection refused", "timed out", "unreachable", "dns error"].iter().any(|word| reason.contains(word))
}

/// The settings of the login.
fn login(secrets: &NatsSecrets) -> Option<String> {
    if secrets.username.is_some() {
        return Some(format!("cluster.username and cluster.{}", key_of(&secrets.password, "password")));
    }
    let others = [(&secrets.token, "token"), (&secrets.nkey, "nkey"), (&secrets.credentials, "credentials")];
    let (secret, name) = others.into_iter().find(|(secret, _)| !matches!(secret, Secret::None))?;
    Some(format!("cluster.{}", key_of(secret, name)))
}

/// The setting that names the place of a secret.
fn key_of(secret: &Secret, name: &str) -> &'static str {
    match (name, matches!(secret, Secret::Variable { .. })) {
        ("password", true) => "passwordVariable",
        ("password", false) => "passwordFile",
        ("token", true) => "tokenVariable",
        ("token", false) => "tokenFile",
        ("nkey", _) => "nkeyFile",
        _ => "credentialsFile",
    }
}

/// Checks that a file has a certificate.
fn certificates(file: &Path) -> Result<(), String> {
    let wrong = |error| format!("{}: {error}", file.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect();
    match found.map_err(wrong)?.is_empty() {
        true => Err(format!("{} has no certificate in PEM", file.display())),
        false => Ok(()),
    }
}
