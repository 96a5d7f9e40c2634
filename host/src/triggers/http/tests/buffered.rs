//! Clients that make the host hold bytes: answers they do not take, bodies that do not end, streams
//! they leave open.

use super::*;
use h2::client::{SendRequest, handshake};
use tokio::sync::Notify;

const KIB: usize = 1024;

/// A client whose window stays closed, unless it opens it.
struct Stuck {
    send: SendRequest<Bytes>,
    pings: h2::PingPong,
    /// Ends with the connection.
    task: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Stuck {
    async fn connect(host: &Host) -> Stuck {
        let stream = TcpStream::connect(host.address).await.unwrap();
        let (send, mut connection) =
            h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        Stuck { send, pings, task: tokio::spawn(connection) }
    }

    /// A request; without `end` its body never ends.
    async fn request(
        &mut self,
        method: Method,
        path: &str,
        end: bool,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let request = Request::builder().method(method).uri(format!("http://h{path}")).body(()).unwrap();
        self.send = self.send.clone().ready().await.unwrap();
        self.send.send_request(request, end).unwrap()
    }

    async fn ask(&mut self, path: &str) -> Result<u16, h2::Error> {
        let (answer, _) = self.request(Method::GET, path, true).await;
        let answer = tokio::time::timeout(Duration::from_secs(15), answer).await.expect("an answer")?;
        let status = answer.status().as_u16();
        // Dropping the body would reset the stream.
        std::mem::forget(answer);
        Ok(status)
    }

    /// Sends PINGs, each of which the host answers, until the connection ends.
    async fn ping_until_closed(mut self) {
        let pings = async {
            while self.pings.ping(h2::Ping::opaque()).await.is_ok() {}
            _ = (&mut self.task).await;
        };
        tokio::time::timeout(Duration::from_secs(15), pings).await.expect("the host closes");
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn big(builder: Builder) -> Builder {
    let text = "x".repeat(300 * KIB);
    builder.route("GET big", move |_, _| ok(&text)).echo("GET small")
}

async fn is_returned(host: &Host) {
    for _ in 0..2_000 {
        if host.buffered.taken() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} bytes are never returned", host.buffered.taken());
}

#[tokio::test]
async fn answers_that_nobody_takes_fit_into_the_budget() {
    let host = big(host()).config(|http| http.max_buffered = 1024 * 1024).start().await;
    let (mut first, mut second) = (Stuck::connect(&host).await, Stuck::connect(&host).await);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(first.ask("/api/m/big").await.unwrap());
        statuses.push(second.ask("/api/m/big").await.unwrap());
    }
    assert_eq!(statuses, [200, 200, 200, 503, 503, 503]);
    assert!((900 * 1024..=1024 * 1024).contains(&host.buffered.taken()), "{}", host.buffered.taken());
    assert_eq!(host.buffered.refused.get(), 3);
    let refused = host.get("/api/m/big").await;
    refused.is_problem(503, "overloaded");
    assert!(refused.json()["detail"].as_str().unwrap().contains("http.maxBuffered allows, 1048576"), "{refused:?}");
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(host.get("/api/m/small").await.status(), 200);
    drop((first, second));
    is_returned(&host).await;
    assert_eq!(host.get("/api/m/big").await.status(), 200);
    is_returned(&host).await;
}

#[tokio::test]
async fn bodies_that_are_being_read_fit_into_the_budget() {
    let host = host()
        .config(|http| http.max_buffered = 1024 * 1024)
        .route("POST x", |_, request| ok(&request.payload.len().to_string()))
        .start()
        .await;
    let post = |length: usize| format!("POST /api/m/x HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n");
    let body = "x".repeat(512 * KIB);
    let (mut first, mut second) = (host.connect().await, host.connect().await);
    for client in [&mut first, &mut second] {
        client.send(&post(512 * KIB)).await;
        client.send(&body[1..]).await;
    }
    for _ in 0..2_000 {
        if host.buffered.taken() > 900 * 1024 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut third = host.connect().await;
    third.send(&post(512 * KIB)).await;
    third.send(&body).await;
    let refused = third.receive().await;
    refused.is_problem(503, "overloaded");
    for client in [&mut first, &mut second] {
        client.send("x").await;
        assert_eq!(client.receive().await.body, (512 * KIB).to_string());
    }
    is_returned(&host).await;
}

#[tokio::test]
async fn a_length_alone_holds_little() {
    let host = host().config(|http| http.max_buffered = 64 * 1024).echo("POST x").start().await;
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut client = host.connect().await;
        client.send("POST /api/m/x HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n").await;
        clients.push(client);
    }
    assert_eq!(host.ask("POST /api/m/x HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nx").await.status(), 200);
    assert_eq!(host.buffered.taken(), 0);
}

#[tokio::test]
async fn streams_without_room_are_refused_before_they_begin() {
    let go = Arc::new(Notify::new());
    let waits = go.clone();
    let host = host()
        .config(|http| http.max_buffered = 16 * 1024)
        .answers("GET x", move |_, _| {
            let waits = waits.clone();
            async move {
                waits.notified().await;
                ok("")
            }
        })
        .start()
        .await;
    let mut client = Stuck::connect(&host).await;
    let mut answers = Vec::new();
    // 24 KiB are 5 streams.
    for _ in 0..5 {
        answers.push(client.request(Method::GET, "/api/m/x", true).await.0);
    }
    let refused = client.ask("/api/m/x").await.unwrap_err();
    assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(host.buffered.refused.get(), 1);
    for answer in answers {
        go.notify_one();
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    is_returned(&host).await;
}

#[tokio::test]
async fn pings_do_not_keep_an_answer_that_nobody_takes() {
    let quick = |builder: Builder| {
        builder.config(|http| {
            (http.header_timeout, http.idle_timeout) = (Duration::from_millis(40), Duration::from_millis(120));
        })
    };
    let host = quick(big(host())).start().await;
    let mut client = Stuck::connect(&host).await;
    assert_eq!(client.ask("/api/m/big").await.unwrap(), 200);
    client.ping_until_closed().await;
    is_returned(&host).await;
}

#[tokio::test]
async fn pings_do_not_keep_a_body_that_does_not_end() {
    let host = host().config(|http| http.body_timeout = Duration::from_millis(50)).echo("POST x").start().await;
    let mut client = Stuck::connect(&host).await;
    let (answer, mut body) = client.request(Method::POST, "/api/m/x", false).await;
    body.send_data(Bytes::from_static(b"so"), false).unwrap();
    let status = async {
        tokio::select! {
            answer = answer => answer.unwrap().status(),
            () = client.ping_until_closed() => panic!("the connection ended"),
        }
    };
    assert_eq!(status.await, 408);
}

#[tokio::test]
async fn a_large_head_without_a_body_is_held_until_it_is_taken() {
    let value = "v".repeat(10 * KIB);
    let host = host().route("GET x", move |_, _| replied(204, &[("x", &value)], Payload::None)).start().await;
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (send, connection) = handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://h/api/m/x").body(()).unwrap();
    let (answer, _) = send.ready().await.unwrap().send_request(request, true).unwrap();
    let mut answer = answer.await.unwrap();
    assert_eq!((answer.status(), answer.headers().contains_key("content-length")), (StatusCode::NO_CONTENT, false));
    assert!(answer.body_mut().data().await.is_none_or(|data| data.unwrap().is_empty()));
    is_returned(&host).await;
}
