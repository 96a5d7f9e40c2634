//! Clients that make the host buffer bytes: they do not read responses, send bodies that do not
//! end, or leave streams open.

use super::*;
use h2::client::{SendRequest, handshake};
use tokio::sync::Notify;

const KIB: usize = 1024;

/// An HTTP/2 client that reads no response, because its window is closed.
struct Stuck {
    send: SendRequest<Bytes>,
    pings: h2::PingPong,
    /// Ends when the connection ends.
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

    /// Sends a request. Unless `end` is set, its body never ends.
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

    /// Gets a path, and returns the status. Never reads the body.
    async fn get(&mut self, path: &str) -> Result<u16, h2::Error> {
        let (response, _) = self.request(Method::GET, path, true).await;
        let response = tokio::time::timeout(Duration::from_secs(15), response).await.expect("a response")?;
        let status = response.status().as_u16();
        // Dropping the body would reset the stream.
        std::mem::forget(response);
        Ok(status)
    }

    /// Sends PINGs, which the host acknowledges, until the host closes the connection.
    async fn ping_until_closed(mut self) {
        let pings = async {
            while self.pings.ping(h2::Ping::opaque()).await.is_ok() {}
            _ = (&mut self.task).await;
        };
        tokio::time::timeout(Duration::from_secs(15), pings).await.expect("the host closes the connection");
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

async fn wait_until_released(host: &Host) {
    for _ in 0..2_000 {
        if host.buffered.in_use() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} bytes are never released", host.buffered.in_use());
}

#[tokio::test]
async fn unread_responses_stay_within_the_budget() {
    let host = big(host()).config(|http| http.max_buffered = 1024 * 1024).start().await;
    let (mut first, mut second) = (Stuck::connect(&host).await, Stuck::connect(&host).await);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(first.get("/api/m/big").await.unwrap());
        statuses.push(second.get("/api/m/big").await.unwrap());
    }
    assert_eq!(statuses, [200, 200, 200, 503, 503, 503]);
    assert!((900 * 1024..=1024 * 1024).contains(&host.buffered.in_use()), "{}", host.buffered.in_use());
    assert_eq!(host.buffered.refused.get(), 3);
    let refused = host.get("/api/m/big").await;
    refused.assert_problem(503, "overloaded");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("1048576 bytes that http.maxBuffered allows"), "{refused:?}");
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(host.get("/api/m/small").await.status(), 200);
    drop((first, second));
    wait_until_released(&host).await;
    assert_eq!(host.get("/api/m/big").await.status(), 200);
    wait_until_released(&host).await;
}

#[tokio::test]
async fn bodies_that_are_being_read_stay_within_the_budget() {
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
        if host.buffered.in_use() > 900 * 1024 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut third = host.connect().await;
    third.send(&post(512 * KIB)).await;
    third.send(&body).await;
    let refused = third.receive().await;
    refused.assert_problem(503, "overloaded");
    for client in [&mut first, &mut second] {
        client.send("x").await;
        assert_eq!(client.receive().await.body, (512 * KIB).to_string());
    }
    wait_until_released(&host).await;
}

#[tokio::test]
async fn an_announced_length_alone_uses_little_memory() {
    let host = host().config(|http| http.max_buffered = 64 * 1024).echo("POST x").start().await;
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut client = host.connect().await;
        client.send("POST /api/m/x HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n").await;
        clients.push(client);
    }
    assert_eq!(host.send("POST /api/m/x HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\nx").await.status(), 200);
    assert_eq!(host.buffered.in_use(), 0);
}

#[tokio::test]
async fn http2_streams_beyond_the_budget_are_refused_before_they_begin() {
    let release = Arc::new(Notify::new());
    let released = release.clone();
    let host = host()
        .config(|http| http.max_buffered = 16 * 1024)
        .async_route("GET x", move |_, _| {
            let released = released.clone();
            async move {
                released.notified().await;
                ok("")
            }
        })
        .start()
        .await;
    let mut client = Stuck::connect(&host).await;
    let mut responses = Vec::new();
    // 24 KiB, 8 of which are free, are enough for 5 streams.
    for _ in 0..5 {
        responses.push(client.request(Method::GET, "/api/m/x", true).await.0);
    }
    let refused = client.get("/api/m/x").await.unwrap_err();
    assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(host.buffered.refused.get(), 1);
    for response in responses {
        release.notify_one();
        assert_eq!(response.await.unwrap().status(), 200);
    }
    wait_until_released(&host).await;
}

#[tokio::test]
async fn pings_do_not_keep_a_client_that_reads_no_response() {
    let quick = |builder: Builder| {
        builder.config(|http| {
            (http.header_timeout, http.idle_timeout) = (Duration::from_millis(40), Duration::from_millis(120));
        })
    };
    let host = quick(big(host())).start().await;
    let mut client = Stuck::connect(&host).await;
    assert_eq!(client.get("/api/m/big").await.unwrap(), 200);
    client.ping_until_closed().await;
    wait_until_released(&host).await;
}

#[tokio::test]
async fn pings_do_not_extend_the_timeout_of_a_body() {
    let host = host().config(|http| http.body_timeout = Duration::from_millis(50)).echo("POST x").start().await;
    let mut client = Stuck::connect(&host).await;
    let (response, mut body) = client.request(Method::POST, "/api/m/x", false).await;
    body.send_data(Bytes::from_static(b"so"), false).unwrap();
    let status = async {
        tokio::select! {
            response = response => response.unwrap().status(),
            () = client.ping_until_closed() => panic!("the connection ended"),
        }
    };
    assert_eq!(status.await, 408);
}

#[tokio::test]
async fn a_large_head_without_a_body_counts_until_the_client_has_read_it() {
    let value = "v".repeat(10 * KIB);
    let host = host().route("GET x", move |_, _| replied(204, &[("x", &value)], Payload::None)).start().await;
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (send, connection) = handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://h/api/m/x").body(()).unwrap();
    let (response, _) = send.ready().await.unwrap().send_request(request, true).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!((response.status(), response.headers().contains_key("content-length")), (StatusCode::NO_CONTENT, false));
    assert!(response.body_mut().data().await.is_none_or(|data| data.unwrap().is_empty()));
    wait_until_released(&host).await;
}
