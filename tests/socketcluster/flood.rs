//! Handshakes without end, most of them bad.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::*;
use crate::harness::eventually;

/// The handshakes of a run. `FANFARE_TEST_HANDSHAKES` sets another number.
const HANDSHAKES: u64 = 3_000;

/// The clients that connect at the same time.
const AT_ONCE: usize = 48;

/// A signature of ES256 and one of HS256 that fit no key.
const ES256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.e30.\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const HS256: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One client that shakes hands as its number says. Returns whether its token was refused.
async fn shake(host: &Started, number: u64, good: &str) -> bool {
    let version = 1 + (number % 2) as usize;
    let mut client = silent(host, version).await;
    let (token, message) = match number / 2 % 6 {
        0 => (ES256, "invalid signature"),
        1 => (HS256, "invalid algorithm"),
        2 => (tokens::NONE, "jwt signature is required"),
        3 => {
            client.send(["[", r#"{"event":"echo","cid":1}"#][version - 1]).await;
            assert_eq!(client.closed().await, 4009);
            return false;
        }
        4 => {
            // It leaves while its token waits.
            client.send(&json!({ "event": "#handshake", "data": { "authToken": ES256 }, "cid": 1 }).to_string()).await;
            return false;
        }
        _ => {
            let greeted = greet(&mut client, json!(good)).await;
            assert_eq!(greeted["data"]["isAuthenticated"], true, "{greeted}");
            return false;
        }
    };
    assert_eq!(greet(&mut client, json!(token)).await["event"], "#removeAuthToken");
    let greeted = client.json().await;
    assert_eq!((&greeted["data"]["authError"]["message"], &greeted["rid"]), (&json!(message), &json!(1)));
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_without_end_get_their_answers_and_disturb_no_other_client() {
    let host = with(json!({
        // The clients here answer no pings.
        "pingInterval": "1h",
        "pingTimeout": "2h",
        "auth": { "keyFile": key("ec.pem"), "algorithm": "ES256" },
    }));
    let host = Arc::new(host.start().await);
    let good: Arc<str> = tokens::token(&mut open(&host, 1).await, json!({})).await.into();
    let wanted = std::env::var("FANFARE_TEST_HANDSHAKES").ok().and_then(|text| text.parse().ok());
    let wanted = wanted.unwrap_or(HANDSHAKES);
    let (next, refused, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    let floods = async {
        let flood = || async {
            while let number = next.fetch_add(1, Relaxed)
                && number < wanted
            {
                refused.fetch_add(u64::from(shake(&host, number, &good).await), Relaxed);
            }
        };
        futures_util::future::join_all((0..AT_ONCE).map(|_| flood())).await;
        println!("{wanted} handshakes in {:?}", begun.elapsed());
        done.store(true, Relaxed);
    };
    // Another client is answered all the time.
    let beside = async {
        let (mut client, mut answers) = (open(&host, 2).await, 0);
        while !done.load(Relaxed) {
            let answer = call(&mut client, "echo", json!(answers)).await;
            assert_eq!(answer, json!({ "rid": 7, "data": answers }));
            answers += 1;
        }
        println!("{answers} answers of another client");
        client
    };
    let ((), client) = tokio::join!(floods, beside);
    let count = json!({ "do": "count" });
    eventually("the others have left", || async { host.ask_over_http(count.clone()).await == json!([1, 0]) }).await;
    // Those that have left were refused, too, or their tokens were not verified.
    let counted = host.metric("fanfare_websocket_refused_total", &["reason=\"token\""]).await as u64;
    let refused = refused.load(Relaxed);
    assert!((refused..=refused + wanted / 6 + 2).contains(&counted), "{refused} {counted}");
    drop(client);
}
