//! Tokens: how modules give them, and what becomes of those that clients show.

use super::*;
use crate::harness::eventually;

/// Signed by nobody: `{"alg":"none","typ":"JWT"}`.
pub const NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJ1c2VybmFtZSI6ImFsIn0.";

/// Lets the module give the client a token with these claims. Returns the token.
pub async fn token(client: &mut WebSocket, claims: Value) -> String {
    let what = json!({ "do": "authenticate", "session": null, "claims": claims.to_string(), "expires_ms": null });
    client.send(&json!({ "event": "use", "data": what, "cid": 5 }).to_string()).await;
    let given = client.json().await;
    assert_eq!(given["event"], "#setAuthToken", "the token arrives before the answer: {given}");
    assert_eq!(client.json().await, json!({ "rid": 5, "data": null }));
    given["data"]["token"].as_str().unwrap().to_owned()
}

async fn claims(client: &mut WebSocket) -> Value {
    call(client, "facts", Value::Null).await["data"]["session"]["claims"].clone()
}

fn removal() -> Value {
    json!({ "event": "#removeAuthToken", "data": null })
}

#[tokio::test]
pub async fn a_module_gives_a_token_with_which_the_client_returns() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        let token = token(&mut client, json!({ "name": "bob" })).await;
        let own = claims(&mut client).await;
        let lifetime = own["exp"].as_u64().unwrap() - own["iat"].as_u64().unwrap();
        assert_eq!((&own["name"], lifetime), (&json!("bob"), 86_400));
        let mut again = silent(&host, version).await;
        let greeted = greet(&mut again, json!(token)).await;
        assert_eq!(greeted["data"]["isAuthenticated"], true, "{greeted}");
        assert!(greeted["data"].get("authError").is_none());
        assert_eq!(claims(&mut again).await, own);
        again.send(r##"{"event":"#removeAuthToken","cid":3}"##).await;
        assert_eq!(claims(&mut again).await, Value::Null);
        let shown = again.ask(json!({ "event": "#authenticate", "data": token, "cid": 4 })).await;
        assert_eq!(shown, json!({ "rid": 4, "data": { "isAuthenticated": true, "authError": null } }));
        assert_eq!(claims(&mut again).await, own);
    }
}

#[tokio::test]
async fn private_and_public_keys_sign_and_verify_tokens() {
    for (algorithm, private, public) in [
        ("RS256", "rsa.pem", "rsa.pub.pem"),
        ("ES384", "ec384.pem", "ec384.pub.pem"),
        ("EdDSA", "ed.pem", "ed.pub.pem"),
    ] {
        let signs = with(json!({ "auth": { "keyFile": key(private), "algorithm": algorithm } })).start().await;
        let token = token(&mut open(&signs, 1).await, json!({ "name": "bob" })).await;
        let verifies = json!({ "verifyKeys": [{ "file": key(public), "algorithm": algorithm }] });
        let verifies = with(json!({ "auth": verifies })).start().await;
        let mut client = silent(&verifies, 2).await;
        let greeted = greet(&mut client, json!(token)).await;
        assert_eq!(greeted["data"]["isAuthenticated"], true, "{algorithm}: {greeted}");
        assert_eq!(claims(&mut client).await["name"], "bob");
        // The events that follow wait until the token is verified.
        client.send(r##"{"event":"#removeAuthToken"}"##).await;
        client.send(&json!({ "event": "#authenticate", "data": token, "cid": 4 }).to_string()).await;
        client.send(r#"{"event":"facts","cid":5}"#).await;
        assert_eq!(client.json().await["rid"], 4);
        assert_eq!(client.json().await["data"]["session"]["claims"]["name"], "bob");
    }
}

#[tokio::test]
async fn a_module_takes_the_token_away() {
    let host = with(json!({})).start().await;
    let mut client = open(&host, 1).await;
    token(&mut client, json!({})).await;
    let what = json!({ "do": "deauthenticate", "session": null });
    client.send(&json!({ "event": "use", "data": what, "cid": 6 }).to_string()).await;
    assert_eq!(client.json().await, removal());
    assert_eq!(client.json().await["rid"], 6);
    assert_eq!(claims(&mut client).await, Value::Null);
}

#[tokio::test]
async fn a_bad_token_is_refused_and_removed_and_the_client_stays() {
    let host = with(json!({})).start().await;
    let expired = token(&mut open(&host, 1).await, json!({ "exp": 1_000 })).await;
    let early = token(&mut open(&host, 1).await, json!({ "nbf": 4_000_000_000u64 })).await;
    let foreign = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for version in [1, 2] {
        for (token, name, message, is_bad) in [
            (json!(expired), "AuthTokenExpiredError", "jwt expired", true),
            (json!(early), "AuthTokenNotBeforeError", "jwt not active", false),
            (json!(foreign), "AuthTokenInvalidError", "invalid signature", true),
            (json!(NONE), "AuthTokenInvalidError", "jwt signature is required", true),
            (json!("abc"), "AuthTokenInvalidError", "jwt malformed", true),
            (json!(5), "AuthTokenError", "Invalid token format - Token must be a string", true),
        ] {
            let mut client = silent(&host, version).await;
            let mut answer = greet(&mut client, token.clone()).await;
            if is_bad {
                assert_eq!(answer, removal(), "{token}");
                answer = client.json().await;
            }
            let error = &answer["data"]["authError"];
            assert_eq!((&error["name"], &error["message"]), (&json!(name), &json!(message)), "{answer}");
            assert_eq!(answer["data"]["isAuthenticated"], false);

            // Whatever the client was before.
            self::token(&mut client, json!({ "name": "bob" })).await;
            let mut answer = client.ask(json!({ "event": "#authenticate", "data": token, "cid": 4 })).await;
            if is_bad {
                assert_eq!(answer, removal());
                answer = client.json().await;
                assert_eq!(answer["error"], answer["data"]["authError"]);
            }
            assert_eq!((&answer["data"]["authError"]["name"], &answer["rid"]), (&json!(name), &json!(4)));
            assert_eq!(claims(&mut client).await, Value::Null);
        }
        let mut client = open(&host, version).await;
        client.send(r##"{"event":"#authenticate","data":"","cid":4}"##).await;
        assert_eq!(client.json().await, removal());
        assert_eq!(client.json().await["error"]["message"], "jwt must be provided");
    }
    let mut client = silent(&host, 1).await;
    greet(&mut client, json!(expired)).await;
    let answer = client.json().await;
    assert_eq!(answer["data"]["authError"]["expiry"], "1970-01-01T00:16:40.000Z");
}

#[tokio::test]
async fn a_token_that_expires_is_taken_away_before_the_next_event() {
    let host = with(json!({})).start().await;
    let mut client = open(&host, 2).await;
    let what = json!({ "do": "authenticate", "session": null, "claims": "{}", "expires_ms": 1_000 });
    client.send(&json!({ "event": "use", "data": what, "cid": 5 }).to_string()).await;
    assert_eq!(
        (client.json().await["event"].clone(), client.json().await["rid"].clone()),
        (json!("#setAuthToken"), json!(5))
    );
    // Whatever comes first: an event whose call sees the claims, or the end of the token.
    let mut last = call(&mut client, "facts", Value::Null).await;
    while last.get("event").is_none() {
        assert_ne!(last["data"]["session"]["claims"], Value::Null, "{last}");
        last = call(&mut client, "facts", Value::Null).await;
    }
    assert_eq!(last, removal());
    assert_eq!(client.json().await["data"]["session"]["claims"], Value::Null, "the event runs unauthenticated");
}

#[tokio::test]
async fn the_hook_authenticate_refuses_tokens_or_replaces_claims() {
    let hooks = json!({ "authenticate": { "path": "step" } });
    for (config, is_authenticated) in [("pass", true), ("replace", true), ("no", false)] {
        let manifest = json!({ "hooks": hooks, "config": { "authenticate": config } });
        let host = with(json!({})).manifest(GUEST, manifest).start().await;
        let mut giver = open(&host, 2).await;
        let token = token(&mut giver, json!({ "name": "bob" })).await;
        let mut client = silent(&host, 2).await;
        let greeted = greet(&mut client, json!(token)).await;
        assert_eq!(greeted["data"]["isAuthenticated"], is_authenticated, "{greeted}");
        let claims = claims(&mut client).await;
        match config {
            "pass" => assert_eq!(claims["name"], "bob"),
            "replace" => assert_eq!((&claims["by"], &claims["was"]["name"]), (&json!("authenticate"), &json!("bob"))),
            _ => {
                assert_eq!(claims, Value::Null);
                let error = &greeted["data"]["authError"];
                assert_eq!((&error["name"], &error["isBadToken"]), (&json!("refused"), &json!(false)));
            }
        }
    }
}

#[tokio::test]
async fn the_hook_authenticate_may_close_the_connection() {
    let manifest = json!({ "hooks": { "authenticate": { "path": "step" } }, "config": { "authenticate": "4400" } });
    let host = with(json!({})).manifest(GUEST, manifest).start().await;
    let mut giver = open(&host, 1).await;
    let token = token(&mut giver, json!({})).await;
    let mut client = silent(&host, 1).await;
    client.send(&json!({ "event": "#handshake", "data": { "authToken": token }, "cid": 1 }).to_string()).await;
    assert_eq!(client.closed().await, 4400);
    eventually("the session ends", || async { host.ask_over_http(json!({ "do": "count" })).await == json!([1, 0]) })
        .await;
}

#[tokio::test]
async fn keys_rotate_by_the_list_of_verify_keys() {
    let old = with(json!({ "auth": { "keyFile": key("other.txt") } })).start().await;
    let token = token(&mut open(&old, 2).await, json!({ "name": "bob" })).await;
    let strict = with(json!({})).start().await;
    let mut client = silent(&strict, 2).await;
    assert_eq!(greet(&mut client, json!(token)).await, removal());
    let list = json!([{ "file": key("other.txt") }]);
    let rotated = with(json!({ "auth": { "keyFile": key("secret.txt"), "verifyKeys": list } })).start().await;
    let mut client = silent(&rotated, 2).await;
    assert_eq!(greet(&mut client, json!(token)).await["data"]["isAuthenticated"], true);
    let verifies = with(json!({ "auth": { "verifyKeys": list } })).start().await;
    let mut client = silent(&verifies, 2).await;
    assert_eq!(greet(&mut client, json!(token)).await["data"]["isAuthenticated"], true);
    let what = json!({ "do": "authenticate", "session": null, "claims": "{}", "expires_ms": null });
    assert_eq!(sessions(&mut client, what.clone()).await["error"], "unavailable");
    assert_eq!(strict.metric("fanfare_websocket_refused_total", &["reason=\"token\""]).await, 1.0);
    // A host without keys verifies nothing, and leaves the client its token.
    let bare = with(json!({ "auth": {} })).start().await;
    let mut client = silent(&bare, 2).await;
    let greeted = greet(&mut client, json!(token)).await;
    assert_eq!((&greeted["rid"], &greeted["data"]["authError"]["name"]), (&json!(1), &json!("AuthTokenError")));
    assert_eq!(sessions(&mut client, what).await["error"], "unavailable");
}

#[tokio::test]
async fn a_plain_websocket_has_no_tokens() {
    let host = with(json!({})).start().await;
    let mut plain = WebSocket::open(host.http, &format!("/api/{GUEST}/use")).await;
    for what in [
        json!({ "do": "authenticate", "session": null, "claims": "{}", "expires_ms": null }),
        json!({ "do": "deauthenticate", "session": null }),
    ] {
        assert_eq!(plain.ask(what).await["error"], "invalid");
    }
}
