//! Faults in the settings of listeners and keys.

use fanfare::Host;

use super::*;

/// The error of a host that does not start with these settings of `websocket`.
fn fault(more: Value) -> String {
    let (free, websocket) = (json!({ "listen": "127.0.0.1:0" }), settings(more));
    let text = json!({ "http": free, "admin": free, "websocket": websocket }).to_string();
    match Host::builder().text(text, "/project").compiler("/compiler").bind() {
        Ok(_) => panic!("the host accepts {websocket}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_unusable_key_is_named_with_its_place() {
    for (auth, what) in [
        (json!({ "keyFile": "/missing" }), "websocket.auth.keyFile: /missing cannot be read"),
        (
            json!({ "keyVariable": "FANFARE_TEST_MISSING" }),
            "websocket.auth.keyVariable: the variable FANFARE_TEST_MISSING is not set",
        ),
        (
            json!({ "keyFile": key("secret.txt"), "algorithm": "RS256" }),
            "websocket.auth.keyFile: has no private key in PEM",
        ),
        (
            json!({ "verifyKeys": [{ "file": key("secret.txt"), "algorithm": "EdDSA" }] }),
            "websocket.auth.verifyKeys[0].file: has no public key",
        ),
        // Everybody knows a public key, so it must never be taken for a secret.
        (
            json!({ "verifyKeys": [{ "file": key("ec.pub.pem") }] }),
            "websocket.auth.verifyKeys[0].file: has a key in PEM, which is no secret: set `algorithm`",
        ),
        (json!({ "verifyKeys": [{}] }), "websocket.auth.verifyKeys[0]: needs `file` or `variable`"),
        (
            json!({ "keyFile": "a", "keyVariable": "B" }),
            "websocket.auth.keyVariable: must not be set together with keyFile",
        ),
        (json!({ "algorithm": "none" }), "websocket.auth.algorithm: must be"),
    ] {
        let fault = fault(json!({ "auth": auth }));
        assert!(fault.contains(what), "{fault}");
        assert!(fault.contains("fanfare.json:"), "{fault}");
        assert!(!fault.contains("kkkk"), "{fault}");
    }
}

#[test]
fn the_fault_of_a_missing_key_file_says_how_to_make_the_key() {
    for (algorithm, signing, verifying) in [
        ("HS512", "openssl rand -hex 32 > /missing", "store the secret there"),
        ("RS384", "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out /missing", "openssl pkey"),
        ("ES256", "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /missing", "openssl pkey"),
        ("ES384", "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out /missing", "openssl pkey"),
        ("EdDSA", "openssl genpkey -algorithm ED25519 -out /missing", "-pubout -out /missing"),
    ] {
        let auth = json!({ "keyFile": "/missing", "algorithm": algorithm });
        let signs = fault(json!({ "auth": auth }));
        assert!(signs.contains("cannot be read") && signs.contains(signing), "{signs}");
        let verifies = fault(json!({ "auth": { "verifyKeys": [{ "file": "/missing", "algorithm": algorithm }] } }));
        assert!(verifies.contains("cannot be read") && verifies.contains(verifying), "{verifies}");
    }
    let exists = fault(json!({ "auth": { "keyFile": "/" } }));
    assert!(exists.contains("is not a file but a folder") && !exists.contains("openssl"), "{exists}");
}

#[test]
fn a_listener_has_a_path_of_its_own() {
    let listener = |path: &str| json!({ "path": path, "module": GUEST });
    for (listeners, what) in [
        (
            json!([listener("/a"), listener("/a")]),
            "websocket.listeners[1].path: is the path of websocket.listeners[0].path too",
        ),
        (json!([listener("/stream")]), "websocket.listeners[0].path: is sse.path too"),
        (json!([listener("/api/x")]), "websocket.listeners[0].path: must be a path such as"),
        (json!([listener("/")]), "websocket.listeners[0].path: must be a path such as"),
        (json!([{ "path": "/a" }]), "websocket.listeners[0].module: is required"),
        (
            json!([{ "path": "/a", "module": GUEST, "protocol": 3 }]),
            "websocket.listeners[0].protocol: must be at most 2",
        ),
    ] {
        let fault = fault(json!({ "listeners": listeners }));
        assert!(fault.contains(what), "{fault}");
    }
}
