//! Sockets that routes of the host take over from hyper: upgrades, and responses whose body the
//! route writes itself.

use super::*;
use http::header::{CONNECTION, UPGRADE};
use tokio::sync::mpsc;

/// Sends back the bytes that were already read, then all that arrive, until the client closes its
/// sending side or the host stops.
async fn echo(mut socket: DetachedSocket) {
    let mut read = socket.read.to_vec();
    loop {
        if socket.stream.write_all(&read).await.is_err() {
            return;
        }
        read.clear();
        tokio::select! {
            more = socket.stream.read_buf(&mut read) => if !more.is_ok_and(|count| count > 0) { return },
            () = socket.stopping.announced.cancelled() => {
                _ = socket.stream.write_all(b"goodbye").await;
                return;
            }
        }
    }
}

fn upgrade(handler: SocketHandler) -> HttpResponse {
    let mut response = HttpResponse::new(Content::Socket(handler));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// A host with the routes `/upgrade` and `/take`, whose sockets echo, and `/keep`, which passes its
/// sockets to the test.
async fn detaching(builder: Builder) -> (Host, mpsc::UnboundedReceiver<DetachedSocket>) {
    let (send, sockets) = mpsc::unbounded_channel();
    let builder = builder
        .echo("GET x")
        .host_route("/upgrade", |_| upgrade(SocketHandler::new(echo)))
        .host_route("/take", |_| HttpResponse::new(Content::Socket(SocketHandler::new(echo))))
        .host_route("/keep", move |request| {
            let send = send.clone();
            if request.version >= Version::HTTP_2 {
                let frames = futures_util::stream::iter([Bytes::from_static(b"frames")]);
                return HttpResponse::new(Content::Frames(Box::pin(frames)));
            }
            HttpResponse::new(Content::Socket(SocketHandler::new(async move |socket| send.send(socket).unwrap())))
        });
    (builder.start().await, sockets)
}

impl Client {
    /// Asserts that the next bytes are this text.
    async fn assert_receives(&mut self, text: &str) {
        while self.buffer.len() < text.len() {
            assert!(self.more().await, "closed: {:?}", String::from_utf8_lossy(&self.buffer));
        }
        let bytes: Vec<u8> = self.buffer.drain(..text.len()).collect();
        assert_eq!(String::from_utf8_lossy(&bytes), text);
    }
}

const FIELDS: &str = "host: h\r\nconnection: upgrade\r\nupgrade: echo\r\n";

#[tokio::test]
async fn an_upgrade_gets_the_socket_and_the_bytes_after_the_request() {
    let (host, _) = detaching(host()).await;
    // A client that asks for an upgrade, and one that does not.
    for fields in [FIELDS, "host: h\r\n"] {
        let mut client = host.connect().await;
        client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(client.receive().await.status(), 200);
        let early = "x".repeat(5_000);
        client.send(&format!("GET /upgrade HTTP/1.1\r\n{fields}\r\n{early}")).await;
        let received = client.receive().await;
        assert_eq!(
            (received.status(), received.field("upgrade"), received.field("connection")),
            (101, Some("echo"), Some("upgrade"))
        );
        assert_eq!(received.field("content-length"), None);
        client.assert_receives(&early).await;
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        client.assert_receives("GET / HTTP/1.1\r\n\r\n").await;
        client.stream.shutdown().await.unwrap();
        client.assert_closed().await;
    }
    host.tasks.close();
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("no connection is counted any more");
}

#[tokio::test]
async fn a_route_takes_over_the_socket_after_the_head_of_its_response() {
    let (host, mut sockets) = detaching(host().config(|http| http.idle_timeout = Duration::from_millis(50))).await;
    let mut client = host.connect().await;
    // The request follows another one in the same packet.
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\nGET /keep HTTP/1.1\r\nhost: h\r\n\r\nnext").await;
    assert_eq!(client.receive().await.status(), 200);
    let mut socket = sockets.recv().await.unwrap();
    let received = client.receive().await;
    assert_eq!((received.status(), received.field("transfer-encoding")), (200, Some("chunked")));
    assert_eq!((received.field("connection"), socket.read.as_ref()), (Some("close"), b"next".as_ref()));
    let read = std::mem::take(&mut socket.read).try_into_mut().unwrap();
    assert!(read.capacity() < 64, "hyper's buffer is not kept: {}", read.capacity());
    // The timeouts of HTTP no longer apply, and the account is a new one.
    assert!(tokio::time::timeout(Duration::from_millis(200), client.stream.read_u8()).await.is_err());
    socket.account.add(64 * 1024).unwrap();
    assert!(host.buffered.in_use() > 0);
    socket.stream.write_all(b"5\r\nevent\r\n").await.unwrap();
    client.assert_receives("5\r\nevent\r\n").await;
    client.send("more").await;
    let mut read = Vec::new();
    socket.stream.read_buf(&mut read).await.unwrap();
    assert_eq!(read, b"more");
    assert_eq!(host.tasks.len(), 1);
    drop(socket);
    assert_eq!((host.tasks.len(), host.buffered.in_use()), (0, 0));
    client.assert_closed().await;
    // Over HTTP/1.0 the body ends with the connection, and is not in chunks.
    let mut client = host.connect().await;
    client.send("GET /take HTTP/1.0\r\n\r\nplain").await;
    assert_eq!(client.receive().await.field("transfer-encoding"), None);
    client.assert_receives("plain").await;
}

#[tokio::test]
async fn a_socket_is_detached_when_the_whole_head_was_sent() {
    let (send, mut sockets) = mpsc::unbounded_channel();
    let value = HeaderValue::try_from("v".repeat(16 << 20)).unwrap();
    let builder = host().echo("GET x").host_route("/large", move |_| {
        let send = send.clone();
        let mut response =
            HttpResponse::new(Content::Socket(SocketHandler::new(async move |socket| send.send(socket).unwrap())));
        response.headers_mut().insert("x", value.clone());
        response
    });
    let host = builder.start().await;
    let mut client = host.connect().await;
    client.send("GET /large HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(client.more().await);
    assert_eq!(host.get("/api/m/x").await.status(), 200);
    assert!(sockets.try_recv().is_err(), "most of the head waits for the client");
    while sockets.try_recv().is_err() {
        client.buffer.clear();
        assert!(client.more().await);
    }
}

#[tokio::test]
async fn a_socket_that_http_still_needs_is_not_detached() {
    let (host, _) = detaching(host()).await;
    let mut client = host.connect().await;
    client.send("POST /take HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody").await;
    client.receive().await.assert_problem(400, "bad-request");
    client.send("HEAD /take HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive_head().await.status(), 400);
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 200);
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (path, status) in [("/take", 500), ("/upgrade", 500), ("/keep", 200), ("/api/m/x", 200)] {
        let request = Request::get(format!("http://h{path}")).body(()).unwrap();
        let (response, _) = send.clone().ready().await.unwrap().send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_stop_notifies_socket_handlers_and_aborts_those_that_continue() {
    let (host, _) = detaching(
        host().host_route("/stay", |_| upgrade(SocketHandler::new(async |_socket| std::future::pending::<()>().await))),
    )
    .await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = host.connect().await;
        client.send(&format!("GET /upgrade HTTP/1.1\r\n{FIELDS}\r\n")).await;
        assert_eq!(client.receive().await.status(), 101);
        clients.push(client);
    }
    let mut stays = host.connect().await;
    stays.send(&format!("GET /stay HTTP/1.1\r\n{FIELDS}\r\n")).await;
    assert_eq!(stays.receive().await.status(), 101);
    host.tasks.close();
    host.stopping.announced.cancel();
    for mut client in clients {
        client.assert_receives("goodbye").await;
        client.assert_closed().await;
    }
    assert_eq!(host.tasks.len(), 1);
    host.stopping.closing.cancel();
    stays.assert_closed().await;
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("sockets are closed");
}
