//! Sockets that routes of the host take over from HTTP: upgrades, and answers that they write
//! themselves.

use super::*;
use http::header::{CONNECTION, UPGRADE};
use tokio::sync::mpsc;

/// Says what was read before, then repeats what arrives, until the client has said all or the host
/// stops.
async fn echo(mut handover: Handover) {
    let mut read = handover.read.to_vec();
    loop {
        if handover.stream.write_all(&read).await.is_err() {
            return;
        }
        read.clear();
        tokio::select! {
            more = handover.stream.read_buf(&mut read) => if !more.is_ok_and(|count| count > 0) { return },
            () = handover.stopping.announced.cancelled() => {
                _ = handover.stream.write_all(b"goodbye").await;
                return;
            }
        }
    }
}

fn upgrade(handler: SocketHandler) -> Answer {
    let mut answer = Answer::new(Content::Socket(handler));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    answer
}

/// With `/upgrade` and `/take`, whose sockets repeat what they get, and `/keep`, whose sockets the
/// test gets.
async fn taking(builder: Builder) -> (Host, mpsc::UnboundedReceiver<Handover>) {
    let (tell, taken) = mpsc::unbounded_channel();
    let builder = builder
        .echo("GET x")
        .host_route("/upgrade", |_| upgrade(SocketHandler::new(echo)))
        .host_route("/take", |_| Answer::new(Content::Socket(SocketHandler::new(echo))))
        .host_route("/keep", move |request| {
            let tell = tell.clone();
            if request.version >= Version::HTTP_2 {
                let frames = futures_util::stream::iter([Bytes::from_static(b"frames")]);
                return Answer::new(Content::Frames(Box::pin(frames)));
            }
            Answer::new(Content::Socket(SocketHandler::new(async move |handover| tell.send(handover).unwrap())))
        });
    (builder.start().await, taken)
}

impl Client {
    async fn hears(&mut self, text: &str) {
        while self.buffer.len() < text.len() {
            assert!(self.more().await, "closed: {:?}", String::from_utf8_lossy(&self.buffer));
        }
        let heard: Vec<u8> = self.buffer.drain(..text.len()).collect();
        assert_eq!(String::from_utf8_lossy(&heard), text);
    }
}

const FIELDS: &str = "host: h\r\nconnection: upgrade\r\nupgrade: echo\r\n";

#[tokio::test]
async fn an_upgrade_gets_the_socket_and_what_was_read_with_the_request() {
    let (host, _) = taking(host()).await;
    // A client that asks for it, and one that does not.
    for fields in [FIELDS, "host: h\r\n"] {
        let mut client = host.connect().await;
        client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(client.receive().await.status(), 200);
        let early = "x".repeat(5_000);
        client.send(&format!("GET /upgrade HTTP/1.1\r\n{fields}\r\n{early}")).await;
        let got = client.receive().await;
        assert_eq!((got.status(), got.field("upgrade"), got.field("connection")), (101, Some("echo"), Some("upgrade")));
        assert_eq!(got.field("content-length"), None);
        client.hears(&early).await;
        client.send("GET / HTTP/1.1\r\n\r\n").await;
        client.hears("GET / HTTP/1.1\r\n\r\n").await;
        client.stream.shutdown().await.unwrap();
        client.is_closed().await;
    }
    host.tasks.close();
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("sockets are counted off");
}

#[tokio::test]
async fn a_route_takes_the_socket_behind_the_head_of_its_answer() {
    let (host, mut taken) = taking(host().config(|http| http.idle_timeout = Duration::from_millis(50))).await;
    let mut client = host.connect().await;
    // Behind an answer that is on its way.
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\nGET /keep HTTP/1.1\r\nhost: h\r\n\r\nnext").await;
    assert_eq!(client.receive().await.status(), 200);
    let mut handover = taken.recv().await.unwrap();
    let got = client.receive().await;
    assert_eq!((got.status(), got.field("transfer-encoding")), (200, Some("chunked")));
    assert_eq!((got.field("connection"), handover.read.as_ref()), (Some("close"), b"next".as_ref()));
    let read = std::mem::take(&mut handover.read).try_into_mut().unwrap();
    assert!(read.capacity() < 64, "hyper's buffer is not kept: {}", read.capacity());
    // HTTP knows nothing of it any more: neither its timeouts nor its account.
    assert!(tokio::time::timeout(Duration::from_millis(200), client.stream.read_u8()).await.is_err());
    handover.account.hold(64 * 1024).unwrap();
    assert!(host.buffered.taken() > 0);
    handover.stream.write_all(b"5\r\nevent\r\n").await.unwrap();
    client.hears("5\r\nevent\r\n").await;
    client.send("more").await;
    let mut read = Vec::new();
    handover.stream.read_buf(&mut read).await.unwrap();
    assert_eq!(read, b"more");
    assert_eq!(host.tasks.len(), 1);
    drop(handover);
    assert_eq!((host.tasks.len(), host.buffered.taken()), (0, 0));
    client.is_closed().await;
    // Over HTTP/1.0 the body ends with the connection, and is not in chunks.
    let mut client = host.connect().await;
    client.send("GET /take HTTP/1.0\r\n\r\nplain").await;
    assert_eq!(client.receive().await.field("transfer-encoding"), None);
    client.hears("plain").await;
}

#[tokio::test]
async fn a_socket_is_taken_when_all_of_the_head_has_left() {
    let (tell, mut taken) = mpsc::unbounded_channel();
    let value = HeaderValue::try_from("v".repeat(16 << 20)).unwrap();
    let builder = host().echo("GET x").host_route("/large", move |_| {
        let tell = tell.clone();
        let mut answer =
            Answer::new(Content::Socket(SocketHandler::new(async move |handover| tell.send(handover).unwrap())));
        answer.headers_mut().insert("x", value.clone());
        answer
    });
    let host = builder.start().await;
    let mut client = host.connect().await;
    client.send("GET /large HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(client.more().await);
    assert_eq!(host.get("/api/m/x").await.status(), 200);
    assert!(taken.try_recv().is_err(), "most of the head waits for the client");
    while taken.try_recv().is_err() {
        client.buffer.clear();
        assert!(client.more().await);
    }
}

#[tokio::test]
async fn no_socket_is_taken_that_http_still_needs() {
    let (host, _) = taking(host()).await;
    let mut client = host.connect().await;
    client.send("POST /take HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody").await;
    client.receive().await.is_problem(400, "bad-request");
    client.send("HEAD /take HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive_head().await.status(), 400);
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 200);
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (path, status) in [("/take", 500), ("/upgrade", 500), ("/keep", 200), ("/api/m/x", 200)] {
        let request = Request::get(format!("http://h{path}")).body(()).unwrap();
        let (answer, _) = send.clone().ready().await.unwrap().send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_stop_is_heard_on_sockets_that_were_taken_and_ends_those_that_stay() {
    let (host, _) =
        taking(host().host_route("/stay", |_| {
            upgrade(SocketHandler::new(async |_handover| std::future::pending::<()>().await))
        }))
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
        client.hears("goodbye").await;
        client.is_closed().await;
    }
    assert_eq!(host.tasks.len(), 1);
    host.stopping.last.cancel();
    stays.is_closed().await;
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("sockets are closed");
}
