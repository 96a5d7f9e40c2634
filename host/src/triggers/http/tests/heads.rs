//! Heads that are no requests: hyper refuses them, and we say why.

use super::*;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, Semaphore};

use crate::triggers::http::activity::Activity;
use crate::triggers::http::observed::ObservedStream;

/// What hyper writes by itself.
const BARE: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

const GOOD: &str = "GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n";

const MALFORMED: &str = "GET /api/m/x HTTP/1.1\r\nhost h\r\n\r\n";

impl Client {
    /// The document, whole, as the last word.
    async fn is_refused(&mut self, status: u16, code: &str, says: &[&str]) {
        let got = self.receive().await;
        got.is_problem(status, code);
        assert_eq!((got.field("connection"), got.fields("content-length").len()), (Some("close"), 1), "{got:?}");
        assert!(got.field("date").is_some() && got.json()["trace"].is_string(), "{got:?}");
        let detail = got.json()["detail"].to_string();
        assert!(says.iter().all(|word| detail.contains(word)), "{detail}");
        self.is_closed().await;
    }
}

#[tokio::test]
async fn a_head_that_is_no_request_gets_a_document() {
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
        client.is_refused(400, "bad-request", &["HTTP/1.1"]).await;
    }
    let fields: String = (0..6).map(|number| format!("x-{number}: y\r\n")).collect();
    let mut client = host.connect().await;
    client.send(&format!("GET /api/m/x HTTP/1.1\r\n{fields}\r\n")).await;
    client.is_refused(431, "headers-too-large", &["5 header fields", "http.maxHeaders"]).await;
    let mut client = host.connect().await;
    client.send(&format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(70_000))).await;
    client.is_refused(414, "uri-too-long", &["65534 bytes"]).await;
}

#[tokio::test]
async fn a_client_that_goes_on_sending_sees_the_document() {
    let host = host().config(|http| http.max_header_bytes = 8_192).start().await;
    let mut client = host.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(100_000))).await;
    client.is_refused(431, "headers-too-large", &["8192 bytes", "http.maxHeaderBytes"]).await;
    // Its end is still taken from it: no reset.
    for _ in 0..20 {
        client.send(&"x".repeat(10_000)).await;
        assert_eq!(host.get("/").await.status(), 404);
    }
}

#[tokio::test]
async fn one_after_good_requests_gets_it_too() {
    let host = host().echo("GET x").start().await;
    let mut client = host.connect().await;
    for _ in 0..3 {
        client.send(GOOD).await;
        assert_eq!(client.receive().await.status(), 200);
    }
    client.send("HEAD /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive_head().await.status(), 200);
    // One whose answer is there before its body.
    client.send("POST /api/m/none HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 404);
    client.send("body").await;
    client.send(MALFORMED).await;
    client.is_refused(400, "bad-request", &[]).await;
}

#[tokio::test]
async fn one_behind_a_slow_request_waits_for_its_answer() {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (says, waits) = (started.clone(), go.clone());
    let host = host().answers("GET x", move |_, _| {
        let (says, waits) = (says.clone(), waits.clone());
        async move {
            says.notify_one();
            waits.acquire().await.unwrap().forget();
            ok("slow")
        }
    });
    let host = host.start().await;
    let mut client = host.connect().await;
    client.send(&format!("{GOOD}{MALFORMED}")).await;
    started.notified().await;
    assert!(client.stream.try_read(&mut [0; 1]).is_err(), "nothing is said yet");
    go.add_permits(1);
    assert_eq!(client.receive().await.body, "slow");
    client.is_refused(400, "bad-request", &[]).await;
}

#[tokio::test]
async fn one_behind_an_answer_larger_than_a_socket_comes_after_all_of_it() {
    let host = host().route("GET x", |_, _| ok(&"x".repeat(16 << 20))).start().await;
    let mut client = host.connect().await;
    client.send(&format!("{GOOD}{GOOD}{MALFORMED}")).await;
    for _ in 0..2 {
        let got = client.receive().await;
        assert!(got.body.len() == 16 << 20 && got.body.bytes().all(|byte| byte == b'x'));
    }
    client.is_refused(400, "bad-request", &[]).await;
}

#[tokio::test]
async fn an_answer_that_reads_like_a_refusal_is_left_alone() {
    // hyper writes a head so large before it takes the body.
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
    client.is_refused(400, "bad-request", &[]).await;
}

#[tokio::test]
async fn a_refused_client_that_stays_is_dropped() {
    let quick = host().config(|http| http.header_timeout = Duration::from_millis(40)).echo("GET x").start().await;
    let slow = host().echo("GET x").start().await;
    for (host, stop) in [(quick, false), (slow, true)] {
        let mut client = host.connect().await;
        client.send(&format!("{GOOD}{MALFORMED}")).await;
        assert_eq!(client.receive().await.status(), 200);
        client.is_refused(400, "bad-request", &[]).await;
        host.tasks.close();
        if stop {
            assert!(!host.tasks.is_empty(), "it waits for the client to close");
            host.shut_down();
        }
        tokio::time::timeout(Duration::from_secs(5), host.tasks.wait()).await.unwrap();
    }
}

/// A socket of ours, and the client's end of it.
async fn observed(activity: &Arc<Activity>) -> (ObservedStream, Client) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let settings = Arc::new(Settings::new(&HttpConfig::default(), "production", Arc::default()));
    (
        ObservedStream::new(net::Stream::Tcp(stream), activity.clone(), settings),
        Client { stream: client, buffer: Vec::new() },
    )
}

#[tokio::test]
async fn bytes_of_http2_are_never_taken_for_a_refusal() {
    for http2 in [false, true] {
        let activity = Arc::new(Activity::new(Arc::default()));
        let (mut ours, mut client) = observed(&activity).await;
        drop(activity.start(if http2 { Version::HTTP_2 } else { Version::HTTP_11 }));
        ours.flush().await.unwrap();
        ours.write_all(BARE.as_bytes()).await.unwrap();
        ours.flush().await.unwrap();
        let got = client.receive().await;
        assert_eq!(got.body.is_empty(), http2, "{got:?}");
    }
}

#[tokio::test]
async fn bytes_that_are_read_ahead_of_hyper_wake_it_and_are_read_again() {
    struct Bell(AtomicBool);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let activity = Arc::new(Activity::new(Arc::default()));
    let (mut ours, mut client) = observed(&activity).await;
    drop(activity.start(Version::HTTP_11));
    let _stream = activity.open_stream();
    let bell = Arc::new(Bell(AtomicBool::new(false)));
    let waker = Waker::from(bell.clone());
    client.send("0123456789").await;
    let rings = async {
        loop {
            tokio::task::yield_now().await;
            bell.0.store(false, Ordering::Relaxed);
            assert!(Pin::new(&mut ours).poll_flush(&mut Context::from_waker(&waker)).is_ready());
            if bell.0.load(Ordering::Relaxed) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), rings).await.expect("hyper is woken");
    let mut read = [0; 10];
    ours.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"0123456789");
}
