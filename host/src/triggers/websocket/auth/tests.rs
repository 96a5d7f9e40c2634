use serde_json::json;

use super::*;

/// 2023-11-14T22:13:20Z.
const NOW: u64 = 1_700_000_000_000;

const SECRET: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";
const OTHER: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";

const DAY: Duration = Duration::from_secs(86_400);

fn key(algorithm: TokenAlgorithm, text: &str) -> KeyText<'_> {
    KeyText { algorithm, text }
}

fn hs256(text: &str) -> Auth {
    Auth::new(Some(key(TokenAlgorithm::HS256, text)), &[], DAY).unwrap_or_else(|(_, why)| panic!("{why}"))
}

fn signed(auth: &Auth, claims: Value) -> Value {
    // The library signs what `sign` would change.
    let (algorithm, key) = auth.signing.as_ref().unwrap();
    jsonwebtoken::encode(&Header::new(*algorithm), &claims, key).unwrap().into()
}

fn verified(auth: &Auth, token: &Value) -> Result<Claims, TokenError> {
    auth.verify(token.as_str(), NOW)
}

fn refused(auth: &Auth, token: &Value) -> (&'static str, String, bool) {
    let TokenError { name, message, is_bad, .. } = verified(auth, token).unwrap_err();
    (name, message, is_bad)
}

fn invalid(message: &str) -> (&'static str, String, bool) {
    (INVALID, message.to_owned(), true)
}

#[test]
fn every_algorithm_verifies_its_own_tokens_and_no_others() {
    use TokenAlgorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, RS256, RS384, RS512};
    let (rsa, ec, ed) = (include_str!("tests/rsa.pem"), include_str!("tests/ec.pem"), include_str!("tests/ed.pem"));
    let public =
        [include_str!("tests/rsa.pub.pem"), include_str!("tests/ec.pub.pem"), include_str!("tests/ed.pub.pem")];
    let [rsa_public, ec_public, ed_public] = public;
    let (ec384, ec384_public) = (include_str!("tests/ec384.pem"), include_str!("tests/ec384.pub.pem"));
    let all = [
        (HS256, SECRET, SECRET),
        (HS384, SECRET, SECRET),
        (HS512, SECRET, SECRET),
        (RS256, rsa, rsa_public),
        (RS384, rsa, rsa_public),
        (RS512, rsa, rsa_public),
        (ES256, ec, ec_public),
        (ES384, ec384, ec384_public),
        (EdDSA, ed, ed_public),
    ];
    let tokens = all.map(|(algorithm, private, _)| {
        let auth = Auth::new(Some(key(algorithm, private)), &[], DAY).unwrap_or_else(|(_, why)| panic!("{why}"));
        let (token, claims) = auth.sign(r#"{"name":"bob"}"#, None, NOW).unwrap();
        assert_eq!(claims.text, r#"{"name":"bob","iat":1700000000,"exp":1700086400}"#);
        assert_eq!(auth.verify(Some(&token), NOW), Ok(claims));
        Value::from(token)
    });
    for (index, (algorithm, _, public)) in all.into_iter().enumerate() {
        let auth = Auth::new(None, &[key(algorithm, public)], DAY).unwrap_or_else(|(_, why)| panic!("{why}"));
        assert!(!auth.signs() && auth.sign("{}", None, NOW).is_err());
        for (other, token) in tokens.iter().enumerate() {
            match verified(&auth, token) {
                Ok(claims) => assert_eq!((other, claims.expires), (index, Some(NOW + 86_400_000))),
                Err(error) => assert_eq!((other == index, error.message.as_str()), (false, "invalid algorithm")),
            }
        }
    }
}

#[test]
fn the_times_of_a_token_come_from_the_caller_the_claims_or_the_settings() {
    let auth = hs256(SECRET);
    let expires = |claims: &str, expires| auth.sign(claims, expires, NOW).unwrap().1;
    assert_eq!(expires("{}", Some(Duration::from_millis(1_001))).expires, Some(NOW + 2_000));
    assert_eq!(expires(r#"{"exp":1700000001}"#, None).expires, Some(NOW + 1_000));
    assert_eq!(expires(r#"{"exp":1,"iat":7}"#, Some(DAY)).text, r#"{"exp":1700086400,"iat":7}"#);
    assert!(auth.sign("[]", None, NOW).is_err() && auth.sign("", None, NOW).is_err());
    // A token with such a time would be refused when the client shows it.
    for (claims, name) in [(r#"{"exp":"1d"}"#, "exp"), (r#"{"nbf":null}"#, "nbf"), (r#"{"iat":[]}"#, "iat")] {
        for expires in [None, Some(DAY)] {
            let why = format!("the claim `{name}` is not a number: use seconds since 1970-01-01 UTC");
            assert_eq!(auth.sign(claims, expires, NOW), Err(why));
        }
    }
}

#[test]
fn tokens_of_keys_in_the_list_are_valid_until_the_key_is_removed() {
    let token = signed(&hs256(OTHER), json!({}));
    assert_eq!(refused(&hs256(SECRET), &token), invalid("invalid signature"));
    let rotated = Auth::new(Some(key(TokenAlgorithm::HS256, SECRET)), &[key(TokenAlgorithm::HS256, OTHER)], DAY);
    let rotated = rotated.unwrap_or_else(|(_, why)| panic!("{why}"));
    assert!(verified(&rotated, &token).is_ok() && verified(&rotated, &signed(&hs256(SECRET), json!({}))).is_ok());
}

#[test]
fn expired_and_early_tokens_have_errors_of_their_own() {
    let auth = hs256(SECRET);
    let error = verified(&auth, &signed(&auth, json!({ "exp": 1_000 }))).unwrap_err();
    assert_eq!((error.name, error.is_bad), ("AuthTokenExpiredError", true));
    assert_eq!(error.time, Some(("expiry", "1970-01-01T00:16:40.000Z".to_owned())));
    let error = verified(&auth, &signed(&auth, json!({ "nbf": 1_700_000_001 }))).unwrap_err();
    assert_eq!((error.name, error.is_bad), ("AuthTokenNotBeforeError", false));
    assert_eq!(error.time, Some(("date", "2023-11-14T22:13:21.000Z".to_owned())));
    // There is no leeway, and the last second has ended.
    for (claims, is_valid) in [
        (json!({ "exp": 1_700_000_000 }), false),
        (json!({ "exp": 1_700_000_000.5 }), true),
        (json!({ "exp": 1_700_000_001 }), true),
        (json!({ "exp": -5 }), false),
        (json!({ "exp": 1e30 }), true),
        (json!({ "nbf": 1_700_000_000 }), true),
        (json!({ "aud": "x", "iss": "y", "sub": "z" }), true),
        (json!({}), true),
    ] {
        assert_eq!(verified(&auth, &signed(&auth, claims.clone())).is_ok(), is_valid, "{claims}");
    }
    for claims in [json!({ "exp": "x" }), json!({ "exp": null })] {
        assert_eq!(refused(&auth, &signed(&auth, claims)), invalid("invalid exp value"));
    }
    assert_eq!(refused(&auth, &signed(&auth, json!({ "nbf": [] }))), invalid("invalid nbf value"));
}

#[test]
fn a_token_that_is_not_signed_as_required_is_refused() {
    let auth = hs256(SECRET);
    let none = |header: &str| Value::from(format!("{header}.eyJ1c2VybmFtZSI6ImFsIn0."));
    for header in ["eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", "eyJhbGciOiJOb25lIn0"] {
        assert_eq!(refused(&auth, &none(header)), invalid("jwt signature is required"), "{header}");
    }
    let good = signed(&auth, json!({ "a": 1 }));
    let mut changed = good.as_str().unwrap().to_owned().into_bytes();
    let middle = good.as_str().unwrap().rfind('.').unwrap() + 3;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let changed = Value::from(String::from_utf8(changed).unwrap());
    assert_eq!(refused(&auth, &changed), invalid("invalid signature"));
    for token in ["abc", "a.b.c", "..", ".", &format!("{}.x", good.as_str().unwrap())] {
        assert_eq!(refused(&auth, &token.into()), invalid("jwt malformed"), "{token}");
    }
    for claims in [json!([1]), json!("x"), json!(null)] {
        assert_eq!(refused(&auth, &signed(&auth, claims)), invalid("jwt malformed"));
    }
    assert_eq!(refused(&auth, &"".into()), invalid("jwt must be provided"));
    let format = "Invalid token format - Token must be a string";
    for token in [json!(5), json!({}), json!([]), json!(true), Value::Null] {
        assert_eq!(refused(&auth, &token), ("AuthTokenError", format.to_owned(), true));
    }
    // Extensions that the reader must understand.
    let critical = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
    let critical = jsonwebtoken::encode(&critical, &json!({}), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert_eq!(refused(&auth, &critical.into()), invalid("jwt malformed"));
    // A public key is no secret.
    let public = include_str!("tests/rsa.pub.pem");
    let secret = EncodingKey::from_secret(public.as_bytes());
    let confused = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &json!({}), &secret).unwrap().into();
    let rsa = Auth::new(None, &[key(TokenAlgorithm::RS256, public)], DAY).unwrap_or_else(|(_, why)| panic!("{why}"));
    assert_eq!(refused(&rsa, &confused), invalid("invalid algorithm"));
}

#[test]
fn an_unusable_key_is_named() {
    let error = |signing, verifying: &[KeyText<'_>]| match Auth::new(signing, verifying, DAY) {
        Ok(_) => panic!("accepted"),
        Err((index, why)) => (index, why),
    };
    let hs = |text| key(TokenAlgorithm::HS256, text);
    let (index, why) = error(Some(hs("short")), &[]);
    assert_eq!((index, why.starts_with("has a secret of 5 bytes")), (None, true), "{why}");
    let (index, why) = error(None, &[hs(SECRET), hs("")]);
    assert_eq!((index, why.starts_with("has a secret of 0 bytes")), (Some(1), true), "{why}");
    // Without `algorithm`, a public key would be a secret that everybody knows.
    for pem in [include_str!("tests/rsa.pub.pem"), "-----BEGIN PUBLIC KEY-----", include_str!("tests/ed.pem")] {
        let message = "has a key in PEM, which is no secret: set `algorithm` to that of the key";
        assert_eq!(error(Some(hs(pem)), &[]), (None, message.to_owned()));
        assert_eq!(error(None, &[hs(pem)]), (Some(0), message.to_owned()));
    }
    for (algorithm, text, message) in [
        (TokenAlgorithm::RS256, SECRET, "has no private key in PEM"),
        (TokenAlgorithm::RS256, include_str!("tests/rsa.pub.pem"), "has no private key in PEM"),
        (TokenAlgorithm::RS256, include_str!("tests/ec.pem"), "does not fit the algorithm RS256"),
        (
            TokenAlgorithm::ES384,
            include_str!("tests/ec.pem"),
            "does not fit the algorithm ES384 (WrongAlgorithm): set `algorithm` to that",
        ),
        (TokenAlgorithm::EdDSA, include_str!("tests/rsa.pem"), "does not fit the algorithm EdDSA"),
    ] {
        let (index, why) = error(Some(key(algorithm, text)), &[]);
        assert!(index.is_none() && why.contains(message), "{algorithm:?}: {why}");
    }
    for (algorithm, text, message) in [
        (TokenAlgorithm::RS256, include_str!("tests/rsa.pem"), "has no public key in PEM"),
        (TokenAlgorithm::RS256, include_str!("tests/ec.pub.pem"), "does not fit the algorithm RS256"),
        (TokenAlgorithm::ES384, include_str!("tests/ec.pub.pem"), "does not fit the algorithm ES384"),
        (TokenAlgorithm::ES256, include_str!("tests/ed.pub.pem"), "does not fit the algorithm ES256: set `algorithm`"),
    ] {
        let (index, why) = error(None, &[key(algorithm, text)]);
        assert!(index == Some(0) && why.contains(message), "{algorithm:?}: {why}");
    }
}

#[test]
fn only_public_keys_are_slow() {
    use TokenAlgorithm::{ES256, HS256, HS512};
    let public = include_str!("tests/ec.pub.pem");
    for (keys, is_slow) in
        [(vec![key(HS256, SECRET), key(HS512, SECRET)], false), (vec![key(HS256, SECRET), key(ES256, public)], true)]
    {
        assert_eq!(Auth::new(None, &keys, DAY).unwrap_or_else(|(_, why)| panic!("{why}")).is_slow(), is_slow);
    }
}
