//! Malformed request heads: hyper rejects them, and the host sends a problem document.

use super::*;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, Semaphore};

use crate::triggers::http::connection_state::ConnectionState;
use crate::triggers::http::observed_stream::ObservedStream;

/// An error response as hyper writes it by itself.
const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

const GOOD: &str = "GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n";

const MALFORMED: &str = "GET /api/m/x HTTP/1.1\r\nhost h\r\n\r\n";

impl Client {
    /// Asserts that the host sends a complete problem document whose detail has these words, and
    /// then closes the connection.
    async fn assert_rejected(&mut self, status: u16, code: &str, words: &[&str]) {
        let received = self.receive().await;
        received.assert_problem(status, code);
        assert_eq!(
            (received.field("connection"), received.fields("content-length").len()),
            (Some("close"), 1),
            "{received:?}"
        );
        assert!(received.field("date").is_some() && received.json()["trace"].is_string(), "{received:?}");
        let detail = received.json()["detail"].to_string();
        assert!(words.iter().all(|word| detail.contains(word)), "{detail}");
        self.assert_closed().await;
    }
}

#[tokio::test]
async fn a_malformed_head_gets_a_problem_document() {
    let start = || host().config(|http| (http.max_headers, http.max_header_bytes) = (5, 1 << 20)).echo("GET x").start();
    let host = start().await;
    for head in [
        MALFORMED,
        "nonsense\r\n\r\n",
        "GET /api/m/x HTTP/9.9\r\nhost: h\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\nhost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 18446744073709551616\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: x\r\n\r\n",
    ] {
        let mut client = host.connect().await;
        client.send(head).await;
        client.assert_rejected(400, "bad-request", &["HTTP/1.1"]).await;
    }
    let fields: String = (0..6).map(|number| format!("x-{number}: y\r\n")).collect();
    let mut client = host.connect().await;
    client.send(&format!("GET /api/m/x HTTP/1.1\r\n{fields}\r\n")).await;
    client.assert_rejected(431, "headers-too-large", &["5 header fields", "http.maxHeaders"]).await;
    let mut client = host.connect().await;
    client.send(&format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(70_000))).await;
    client.assert_rejected(414, "uri-too-long", &["65534 bytes"]).await;
}

#[tokio::test]
async fn a_rejected_client_that_keeps_sending_sees_the_document() {
    let host = host().config(|http| http.max_header_bytes = 8_192).start().await;
    let mut client = host.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(100_000))).await;
    client.assert_rejected(431, "headers-too-large", &["8192 bytes", "http.maxHeaderBytes"]).await;
    // The host still reads what the client sends, so that nothing resets the connection.
    for _ in 0..20 {
        client.send(&"x".repeat(10_000)).await;
        assert_eq!(host.get("/").await.status(), 404);
    }
}

#[tokio::test]
async fn a_malformed_head_after_good_requests_gets_a_document() {
    let host = host().echo("GET x").start().await;
    let mut client = host.connect().await;
    for _ in 0..3 {
        client.send(GOOD).await;
        assert_eq!(client.receive().await.status(), 200);
    }
    client.send("HEAD /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive_head().await.status(), 200);
    // A request whose response is sent before its body arrives.
    client.send("POST /api/m/none HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 404);
    client.send("body").await;
    client.send(MALFORMED).await;
    client.assert_rejected(400, "bad-request", &[]).await;
}

#[tokio::test]
async fn the_document_is_sent_after_the_response_of_a_previous_slow_request() {
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (starts, released) = (started.clone(), release.clone());
    let host = host().async_route("GET x", move |_, _| {
        let (starts, released) = (starts.clone(), released.clone());
        async move {
            starts.notify_one();
            released.acquire().await.unwrap().forget();
            ok("slow")
        }
    });
    let host = host.start().await;
    let mut client = host.connect().await;
    client.send(&format!("{GOOD}{MALFORMED}")).await;
    started.notified().await;
    assert!(client.stream.try_read(&mut [0; 1]).is_err(), "the host has sent nothing yet");
    release.add_permits(1);
    assert_eq!(client.receive().await.body, "slow");
    client.assert_rejected(400, "bad-request", &[]).await;
}

#[tokio::test]
async fn the_document_is_sent_after_all_of_a_large_previous_response() {
    let host = host().route("GET x", |_, _| ok(&"x".repeat(16 << 20))).start().await;
    let mut client = host.connect().await;
    client.send(&format!("{GOOD}{GOOD}{MALFORMED}")).await;
    for _ in 0..2 {
        let received = client.receive().await;
        assert!(received.body.len() == 16 << 20 && received.body.bytes().all(|byte| byte == b'x'));
    }
    client.assert_rejected(400, "bad-request", &[]).await;
}

#[tokio::test]
async fn a_body_that_looks_like_an_error_response_of_hyper_is_not_replaced() {
    // hyper writes a head of this size before it takes the body.
    let large = "x".repeat(20_000);
    let host = host()
        .config(|http| http.max_header_bytes = 8_192)
        .route("GET x", |_, _| ok(BARE))
        .route("GET large", move |_, _| replied(0, &[("x", &large)], Payload::Text(BARE.to_owned())))
        .start()
        .await;
    let mut client = host.connect().await;
    client.send(&format!("{GOOD}{GOOD}GET /api/m/large HTTP/1.1\r\nhost: h\r\n\r\n{GOOD}{MALFORMED}")).await;
    for _ in 0..4 {
        assert_eq!(client.receive().await.body, BARE);
    }
    client.assert_rejected(400, "bad-request", &[]).await;
}

#[tokio::test]
async fn a_rejected_client_that_stays_connected_is_dropped() {
    let quick = host().config(|http| http.header_timeout = Duration::from_millis(40)).echo("GET x").start().await;
    let slow = host().echo("GET x").start().await;
    for (host, stop) in [(quick, false), (slow, true)] {
        let mut client = host.connect().await;
        client.send(&format!("{GOOD}{MALFORMED}")).await;
        assert_eq!(client.receive().await.status(), 200);
        client.assert_rejected(400, "bad-request", &[]).await;
        host.tasks.close();
        if stop {
            assert!(!host.tasks.is_empty(), "the host waits for the client to close");
            host.shut_down();
        }
        tokio::time::timeout(Duration::from_secs(5), host.tasks.wait()).await.unwrap();
    }
}

/// Returns an observed stream of the host, and its client.
async fn observed(state: &Arc<ConnectionState>) -> (ObservedStream, Client) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let settings = Arc::new(Settings::new(&HttpConfig::default(), Arc::default()));
    (
        ObservedStream::new(net::Stream::Tcp(stream), state.clone(), settings),
        Client { stream: client, buffer: Vec::new() },
    )
}

#[tokio::test]
async fn bytes_of_http2_are_never_taken_for_an_error_response_of_hyper() {
    for http2 in [false, true] {
        let state = Arc::new(ConnectionState::new(Arc::default()));
        let (mut stream, mut client) = observed(&state).await;
        drop(state.start_request(if http2 { Version::HTTP_2 } else { Version::HTTP_11 }));
        stream.flush().await.unwrap();
        stream.write_all(BARE.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let received = client.receive().await;
        assert_eq!(received.body.is_empty(), http2, "{received:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_read_before_hyper_asks_wake_it_and_reach_it() {
    struct WakeFlag(AtomicBool);
    impl Wake for WakeFlag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let state = Arc::new(ConnectionState::new(Arc::default()));
    let (mut stream, mut client) = observed(&state).await;
    drop(state.start_request(Version::HTTP_11));
    let _streaming = state.open_stream();
    let flag = Arc::new(WakeFlag(AtomicBool::new(false)));
    let waker = Waker::from(flag.clone());
    client.send("0123456789").await;
    let woken = async {
        loop {
            tokio::task::yield_now().await;
            flag.0.store(false, Ordering::Relaxed);
            assert!(Pin::new(&mut stream).poll_flush(&mut Context::from_waker(&waker)).is_ready());
            if flag.0.load(Ordering::Relaxed) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), woken).await.expect("hyper is woken");
    let mut read = [0; 10];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"0123456789");
}
