//! The released clients while others attack the host.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::driver::{Client, clients};
use super::*;
use crate::harness::websocket::{BINARY, PING, TEXT, masked};

/// The attacks of a run. `FANFARE_TEST_ATTACKS` sets another number.
const ATTACKS: u64 = 1_500;

/// The attackers that are there at the same time.
const AT_ONCE: usize = 48;

/// The largest message of a client.
const MAX_MESSAGE: usize = 16 << 10;

/// The most attackers that stay until the end.
const STAY: usize = 300;

/// One attack, as its number says. Returns the connection that it leaves open. The attacker ignores
/// all errors.
async fn attack(host: &Started, number: u64) -> Option<TcpStream> {
    let path = PATHS[(number / 8 % 2) as usize];
    let open = || WebSocket::try_open(host.http, path, &[]);
    let hello = masked(true, TEXT, br##"{"event":"#handshake","data":{"authToken":"x.y.z"},"cid":1}"##);
    let mut client = match number % 8 {
        // An upgrade that never ends, and one that is cut.
        0 | 1 => {
            let mut stream = TcpStream::connect(host.http).await.ok()?;
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upg");
            stream.write_all(head.as_bytes()).await.ok()?;
            return (number.is_multiple_of(8)).then_some(stream);
        }
        _ => open().await.ok()?,
    };
    let bytes = match number % 8 {
        // Frames that nobody may send, before and behind a handshake.
        2 => vec![(number % 256) as u8; 3_000],
        3 => [hello, vec![0xff; 3_000]].concat(),
        // Messages that are too large, at once and in parts.
        4 => [hello, masked(true, BINARY, &[b'x'; MAX_MESSAGE + 1])].concat(),
        5 => [hello, masked(false, TEXT, &[b' '; MAX_MESSAGE / 4]).repeat(5)].concat(),
        // Subscriptions without end, also to the channel of the others. Nobody reads them.
        6 => {
            let subscribe =
                |channel: String| json!({ "event": "#subscribe", "data": { "channel": channel }, "cid": 2 });
            let names = (0..100).map(|name| subscribe(format!("flood/{number}/{name}")));
            let batch = Value::from_iter(names.chain([subscribe("good".to_owned())])).to_string();
            [hello, masked(true, TEXT, batch.as_bytes())].concat()
        }
        // Handshakes and pings without end.
        _ => [hello.repeat(20), masked(true, PING, b"x").repeat(200)].concat(),
    };
    client.try_raw(&bytes).await.ok()?;
    (number % 8 == 6).then_some(client.socket)
}

/// Publishes until the attacks have ended. Returns the number of messages.
async fn publish(client: &mut Client, index: usize, ended: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !ended.load(Relaxed) {
        let answer = client.publish("good", json!([index, sent])).await;
        assert!(answer.get("error").is_none(), "{}: {answer}", client.name);
        sent += 1;
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn released_clients_get_each_message_once_and_in_order_while_others_attack_the_host() {
    let host = with(json!({ "maxMessage": MAX_MESSAGE })).start().await;
    let Some(mut clients) = clients(host.http).await else { return };
    for client in &mut clients {
        client.subscribe("good", Value::Null).await;
    }
    let wanted = std::env::var("FANFARE_TEST_ATTACKS").ok().and_then(|text| text.parse().ok()).unwrap_or(ATTACKS);
    let (next, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let attackers = async {
        let attacker = || async {
            let mut left = Vec::new();
            while let number = next.fetch_add(1, Relaxed)
                && number < wanted
            {
                left.extend(attack(&host, number).await);
                if left.len() > STAY / AT_ONCE {
                    left.remove(0);
                }
            }
            left
        };
        let left = futures_util::future::join_all((0..AT_ONCE).map(|_| attacker())).await;
        ended.store(true, Relaxed);
        left
    };
    let publishers = clients.iter_mut().enumerate().map(|(index, client)| publish(client, index, &ended));
    let (left, sent) = tokio::join!(attackers, futures_util::future::join_all(publishers));
    println!("{sent:?} messages during {wanted} attacks");
    assert!(sent.iter().all(|sent| *sent > 0));
    for client in &mut clients {
        let mut received = vec![0; sent.len()];
        while received != sent {
            let message = client.message("good").await;
            let index = message[0].as_u64().unwrap() as usize;
            assert_eq!(message[1], received[index], "{}: message of {index}", client.name);
            received[index] += 1;
        }
        assert_eq!(client.data("echo", json!("last")).await, "last", "{}", client.name);
        for kind in ["message", "close", "error", "connect", "kickOut"] {
            assert!(!client.has_skipped(kind), "{}: {kind}", client.name);
        }
    }
    drop(left);
}
