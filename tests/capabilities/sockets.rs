//! TCP and UDP through `wasi:sockets`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::harness::{Started, TestHost};

fn host(endpoints: &[String]) -> TestHost {
    let asked = json!({ "sockets": endpoints });
    TestHost::with("outside")
        .manifest("outside", json!({ "capabilities": asked }))
        .grant("outside", asked)
        .limit("outside", "cpu", "5s")
        .workers(1)
}

async fn run(host: &Started, command: Value) -> Value {
    let answer = host.post("/api/outside/sockets", command.to_string()).await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.json()
}

async fn tcp(host: &Started, to: impl ToString) -> Value {
    run(host, json!({ "do": "tcp", "to": to.to_string(), "text": "hello" })).await
}

/// A server that sends back what it receives. Returns its address and the number of connections.
pub async fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, accepted) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = accepted.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut bytes = [0; 1_024];
                while let Ok(size @ 1..) = socket.read(&mut bytes).await {
                    drop(socket.write_all(&bytes[..size]).await);
                }
            });
        }
    });
    (address, accepted)
}

#[tokio::test]
async fn a_module_connects_to_the_endpoints_that_it_has() {
    let ((address, _), (other, accepted)) = (echo().await, echo().await);
    let host = host(&[format!("tcp://{address}")]).start().await;
    assert_eq!(tcp(&host, address).await, "hello");
    for _ in 0..3 {
        let denied = tcp(&host, other).await;
        assert!(denied["error"].as_str().unwrap().contains("Permission denied"), "{denied}");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 0);
    let line =
        format!("add \"tcp://{other}\" to capabilities.sockets in its module.json, then run `fanfare grant outside`");
    assert_eq!(host.log.lines(&["WARN", &line]).len(), 1);
    for at in ["127.0.0.1:0", "0.0.0.0:0"] {
        let refused = run(&host, json!({ "do": "listen", "at": at })).await;
        assert!(refused["error"].is_string(), "{refused}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_only_if_it_was_granted() {
    let (address, _) = echo().await;
    let host = host(&[format!("tcp://localhost:{}", address.port())]).start().await;
    assert_eq!(tcp(&host, format!("localhost:{}", address.port())).await, "hello");
    // An address of the name, at its port.
    assert_eq!(tcp(&host, address).await, "hello");
    let other = echo().await.0;
    assert!(tcp(&host, format!("localhost:{}", other.port())).await["error"].is_string());
    let found = run(&host, json!({ "do": "lookup", "name": "localhost" })).await;
    assert!(found.as_array().unwrap().contains(&json!("127.0.0.1")), "{found}");
    let refused = run(&host, json!({ "do": "lookup", "name": "metadata.internal" })).await;
    assert!(refused["error"].is_string(), "{refused}");
    assert!(host.log.contains(&["WARN", "\"tcp://metadata.internal:<port>\" to capabilities.sockets"]));
}

#[tokio::test]
async fn datagrams_reach_only_the_endpoints_of_the_module() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let host = host(&[format!("udp://{address}")]).limit("outside", "timeout", "1s").start().await;
    let echo = tokio::spawn(async move {
        let mut bytes = [0; 64];
        let (size, from) = server.recv_from(&mut bytes).await.unwrap();
        server.send_to(&bytes[..size], from).await.unwrap();
    });
    let sent = run(&host, json!({ "do": "udp", "to": address.to_string(), "text": "ping" })).await;
    assert_eq!(sent, "ping");
    echo.await.unwrap();
    assert!(tcp(&host, address).await["error"].is_string(), "the grant is for UDP");
    // The guest may learn nothing about a datagram that is dropped, and then waits for a reply.
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let command = json!({ "do": "udp", "to": other.local_addr().unwrap().to_string(), "text": "ping" });
    let denied = host.post("/api/outside/sockets", command.to_string()).await;
    assert!(denied.status == 504 || denied.json()["error"].is_string(), "{}", denied.text());
    let line = format!("\"udp://{}\" to capabilities.sockets", other.local_addr().unwrap());
    assert!(host.log.contains(&["WARN", &line]));
    assert!(other.try_recv_from(&mut [0; 8]).is_err(), "the datagram was sent");
}

#[tokio::test]
async fn a_datagram_of_another_endpoint_is_not_received() {
    let (server, other) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = server.local_addr().unwrap();
    let host = host(&[format!("udp://{address}")]).start().await;
    let reply = tokio::spawn(async move {
        let (_, from) = server.recv_from(&mut [0; 64]).await.unwrap();
        other.send_to(b"evil", from).await.unwrap();
        server.send_to(b"pong", from).await.unwrap();
    });
    let received = run(&host, json!({ "do": "udp", "to": address.to_string(), "text": "ping" })).await;
    assert_eq!(received, "pong");
    reply.await.unwrap();
}

#[tokio::test]
async fn a_module_without_a_grant_has_no_sockets() {
    let (address, accepted) = echo().await;
    let host = TestHost::with("outside").start().await;
    let denied = tcp(&host, address).await;
    assert!(denied["error"].as_str().unwrap().contains("Permission denied"), "{denied}");
    assert_eq!(accepted.load(Ordering::SeqCst), 0);
}
