//! Streaming responses of routes of the host.

use super::*;
use futures_util::stream;
use h2::client::SendRequest;
use tokio::sync::{mpsc, oneshot};

/// The sending side of a stream that a client has opened.
struct OpenedStream {
    send: mpsc::UnboundedSender<Bytes>,
    /// Resolves when the host has dropped the stream.
    dropped: oneshot::Receiver<()>,
}

impl OpenedStream {
    fn send(&self, text: &'static str) {
        self.send.send(Bytes::from_static(text.as_bytes())).unwrap();
    }

    async fn assert_dropped(&mut self) {
        _ = tokio::time::timeout(Duration::from_secs(15), &mut self.dropped).await.expect("the host drops the stream");
    }
}

/// A host with the routes `/stream`, whose frames the test sends, `/polite`, whose stream says
/// goodbye at a stop, and `/endless`.
async fn streaming(builder: Builder) -> (Host, mpsc::UnboundedReceiver<OpenedStream>) {
    let (open, opened) = mpsc::unbounded_channel();
    let builder = builder.echo("GET x").host_route("/stream", move |_| {
        let ((send, mut frames), (guard, dropped)) = (mpsc::unbounded_channel(), oneshot::channel::<()>());
        open.send(OpenedStream { send, dropped }).unwrap();
        let frames = stream::poll_fn(move |cx| {
            _ = &guard;
            frames.poll_recv(cx)
        });
        HttpResponse::new(Content::Frames(Box::pin(frames)))
    });
    let builder = builder.host_route("/polite", |request| {
        let hello = stream::iter([Bytes::from_static(b"hello")]);
        let goodbye = stream::once(async move {
            request.stopping.cancelled().await;
            Bytes::from_static(b"goodbye")
        });
        HttpResponse::new(Content::Frames(Box::pin(stream::StreamExt::chain(hello, goodbye))))
    });
    let builder = builder.host_route("/endless", |_| {
        HttpResponse::new(Content::Frames(Box::pin(stream::repeat(Bytes::from_static(b"more")))))
    });
    (builder.start().await, opened)
}

fn quick(builder: Builder) -> Builder {
    builder.config(|http| {
        (http.header_timeout, http.idle_timeout) = (Duration::from_millis(40), Duration::from_millis(120));
    })
}

const GET: &str = "GET /stream HTTP/1.1\r\nhost: h\r\n\r\n";

impl Client {
    /// Reads up to the end of this text, and returns all that it read.
    async fn read_until(&mut self, text: &str) -> String {
        loop {
            let found = self.buffer.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let read = self.buffer.drain(..at + text.len()).collect();
                return String::from_utf8(read).unwrap();
            }
            assert!(self.more().await, "closed before {text:?}: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// Asserts that nothing arrives for a time.
    async fn assert_quiet(&mut self, time: Duration) {
        assert!(tokio::time::timeout(time, self.stream.read_buf(&mut self.buffer)).await.is_err());
    }
}

/// Returns an HTTP/2 client, and the task of its connection.
async fn h2_client(host: &Host, window: u32) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(host.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (send, connection) = builder.initial_window_size(window).handshake::<_, Bytes>(stream).await.unwrap();
    (send, tokio::spawn(connection))
}

async fn h2_get(client: &SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    let request = Request::get(format!("http://h{path}")).body(()).unwrap();
    let (response, _) = client.clone().ready().await.unwrap().send_request(request, true).unwrap();
    let response = tokio::time::timeout(Duration::from_secs(15), response).await.expect("a response").unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// Returns the next data, or `None` at the end, which hyper marks with an empty frame.
async fn data(body: &mut h2::RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = tokio::time::timeout(Duration::from_secs(15), body.data()).await.expect("data");
    if let Some(Ok(data)) = &data {
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    data.filter(|data| !data.as_ref().is_ok_and(|data| data.is_empty() && body.is_end_stream()))
}

async fn wait_until_released(host: &Host) {
    let released = async {
        while host.buffered.in_use() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), released).await.expect("all bytes are released");
}

#[tokio::test]
async fn frames_arrive_one_by_one_and_the_connection_stays_usable() {
    let (host, mut opened) = streaming(host()).await;
    let mut client = host.connect().await;
    for _ in 0..2 {
        client.send(GET).await;
        let stream = opened.recv().await.unwrap();
        assert!(client.read_until("\r\n\r\n").await.contains("transfer-encoding: chunked"));
        for text in ["first", "other"] {
            stream.send(text);
            assert_eq!(client.read_until("\r\n").await, "5\r\n");
            assert_eq!(client.read_until("\r\n").await, format!("{text}\r\n"));
        }
        stream.send("");
        drop(stream);
        assert_eq!(client.read_until("0\r\n\r\n").await, "0\r\n\r\n");
    }
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 200);
    client.send("HEAD /stream HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive_head().await.status(), 200);
    let (client, _task) = h2_client(&host, 65_535).await;
    opened.recv().await.unwrap().assert_dropped().await;
    let mut body = h2_get(&client, "/stream").await;
    let stream = opened.recv().await.unwrap();
    for text in ["first", "other"] {
        stream.send(text);
        assert_eq!(data(&mut body).await.unwrap().unwrap(), text);
    }
    drop(stream);
    assert!(data(&mut body).await.is_none());
}

#[tokio::test]
async fn a_quiet_stream_outlives_the_idle_timeout() {
    let (host, mut opened) = streaming(quick(host())).await;
    let mut client = host.connect().await;
    client.send(GET).await;
    let first = opened.recv().await.unwrap();
    client.read_until("\r\n\r\n").await;
    let (other, _task) = h2_client(&host, 65_535).await;
    let mut body = h2_get(&other, "/stream").await;
    let second = opened.recv().await.unwrap();
    client.assert_quiet(Duration::from_millis(400)).await;
    first.send("late");
    client.read_until("late").await;
    second.send("late");
    assert_eq!(data(&mut body).await.unwrap().unwrap(), "late");
    // Without its stream the connection is idle.
    drop(first);
    client.read_until("0\r\n\r\n").await;
    client.assert_closed().await;
}

#[tokio::test]
async fn a_stream_whose_client_reads_nothing_is_dropped() {
    let (host, mut opened) = streaming(quick(host())).await;
    let mut client = host.connect().await;
    client.send(GET).await;
    let mut stream = opened.recv().await.unwrap();
    for _ in 0..256 {
        stream.send.send(Bytes::from(vec![b'x'; 64 * 1024])).unwrap();
    }
    stream.assert_dropped().await;
    let (other, task) = h2_client(&host, 0).await;
    let _body = h2_get(&other, "/stream").await;
    let mut stream = opened.recv().await.unwrap();
    // A client that has nothing to read yet is not slow.
    assert!(tokio::time::timeout(Duration::from_millis(400), &mut stream.dropped).await.is_err());
    stream.send("x");
    stream.assert_dropped().await;
    _ = task.await.unwrap();
    drop(client);
    wait_until_released(&host).await;
}

#[tokio::test]
async fn a_client_that_disconnects_is_noticed_while_its_stream_is_quiet() {
    let (host, mut opened) = streaming(host()).await;
    for resets in [false, true] {
        let mut client = host.connect().await;
        client.send(GET).await;
        let mut stream = opened.recv().await.unwrap();
        client.read_until("\r\n\r\n").await;
        if resets {
            client.stream.set_zero_linger().unwrap();
            drop(client);
            stream.assert_dropped().await;
        } else {
            client.stream.shutdown().await.unwrap();
            stream.assert_dropped().await;
        }
    }
    // The client first resets one of two streams, then closes the connection.
    let (client, task) = h2_client(&host, 65_535).await;
    let first = h2_get(&client, "/stream").await;
    let mut of_first = opened.recv().await.unwrap();
    let mut second = h2_get(&client, "/stream").await;
    let mut of_second = opened.recv().await.unwrap();
    drop(first);
    of_first.assert_dropped().await;
    of_second.send("still here");
    assert_eq!(data(&mut second).await.unwrap().unwrap(), "still here");
    task.abort();
    of_second.assert_dropped().await;
    host.tasks.close();
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("connections end");
}

#[tokio::test]
async fn requests_that_arrive_during_a_stream_are_answered_after_it() {
    let (host, mut opened) = streaming(host()).await;
    let mut client = host.connect().await;
    client.send(GET).await;
    let stream = opened.recv().await.unwrap();
    client.read_until("\r\n\r\n").await;
    // In pieces, and more bytes than the host reads ahead.
    for piece in ["GET /api/m/x?", "1 HTTP/1.1\r\n", "host: h\r\n\r\nGET /api/m/x?2 HTTP/1.1\r\nhost: h\r\n\r\n"] {
        client.send(piece).await;
        stream.send("frame");
        client.read_until("frame\r\n").await;
    }
    drop(stream);
    client.read_until("0\r\n\r\n").await;
    assert!(client.receive().await.body.starts_with("GET /api/m/x query=1"));
    assert!(client.receive().await.body.starts_with("GET /api/m/x query=2"));
}

#[tokio::test]
async fn a_request_body_is_still_read_while_the_response_streams() {
    let (host, mut opened) = streaming(host()).await;
    let mut client = host.connect().await;
    client.send("POST /stream HTTP/1.1\r\nhost: h\r\ncontent-length: 60\r\n\r\n").await;
    let stream = opened.recv().await.unwrap();
    client.read_until("\r\n\r\n").await;
    for _ in 0..6 {
        client.send("0123456789").await;
        stream.send("frame");
        client.read_until("frame\r\n").await;
    }
    drop(stream);
    client.read_until("0\r\n\r\n").await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 200);
}

#[tokio::test]
async fn frames_stay_within_the_budget() {
    let (host, mut opened) = streaming(host().config(|http| http.max_buffered = 400 * 1024)).await;
    let frame = || Bytes::from(vec![b'x'; 300 * 1024]);
    let (other, _task) = h2_client(&host, 0).await;
    let mut stuck = h2_get(&other, "/stream").await;
    let stream = opened.recv().await.unwrap();
    stream.send.send(frame()).unwrap();
    let buffered = async {
        while host.buffered.in_use() < 300 * 1024 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), buffered).await.expect("the frame is buffered");
    // Another frame does not fit, which aborts its stream and no other.
    let mut client = host.connect().await;
    client.send(GET).await;
    let mut refused = opened.recv().await.unwrap();
    refused.send.send(frame()).unwrap();
    refused.assert_dropped().await;
    client.read_until("\r\n\r\n").await;
    client.assert_closed().await;
    assert_eq!(host.buffered.refused.get(), 1);
    stuck.flow_control().release_capacity(0).unwrap();
    assert_eq!(host.get("/api/m/x").await.status(), 200);
    drop(stuck);
    wait_until_released(&host).await;
}

#[tokio::test]
async fn a_streaming_response_whose_head_exceeds_the_budget_is_rejected() {
    let value = HeaderValue::try_from("v".repeat(20 * 1024)).unwrap();
    let builder = host().config(|http| http.max_buffered = 4 * 1024).host_route("/large", move |_| {
        let mut response = HttpResponse::new(Content::Frames(Box::pin(stream::pending())));
        response.headers_mut().insert("x", value.clone());
        response
    });
    builder.start().await.get("/large").await.assert_problem(503, "overloaded");
}

#[tokio::test]
async fn a_stop_lets_a_hundred_streams_end() {
    let (host, _opened) = streaming(host()).await;
    let mut clients = Vec::new();
    for _ in 0..80 {
        let mut client = host.connect().await;
        client.send("GET /polite HTTP/1.1\r\nhost: h\r\n\r\n").await;
        client.read_until("hello\r\n").await;
        clients.push(client);
    }
    let (other, task) = h2_client(&host, 65_535).await;
    let mut bodies = Vec::new();
    for _ in 0..20 {
        let mut body = h2_get(&other, "/polite").await;
        assert_eq!(data(&mut body).await.unwrap().unwrap(), "hello");
        bodies.push(body);
    }
    host.tasks.close();
    // Only the first step of a stop, which leaves idle connections open.
    host.stopping.announced.cancel();
    for mut client in clients {
        client.read_until("goodbye\r\n0\r\n\r\n").await;
        client.assert_closed().await;
    }
    for mut body in bodies {
        assert_eq!(data(&mut body).await.unwrap().unwrap(), "goodbye");
        assert!(data(&mut body).await.is_none());
    }
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("connections end");
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_that_continue_are_aborted_in_the_second_step_of_a_stop() {
    let (host, mut opened) = streaming(host()).await;
    // A quiet stream, a busy one, and one whose client reads nothing, over both protocols.
    let (mut quiet, mut busy, mut stuck) = (host.connect().await, host.connect().await, host.connect().await);
    let (other, task) = h2_client(&host, 65_535).await;
    let (closed, stuck_task) = h2_client(&host, 0).await;
    let mut streams = Vec::new();
    for client in [&mut quiet, &mut stuck] {
        client.send(GET).await;
        streams.push(opened.recv().await.unwrap());
        client.read_until("\r\n\r\n").await;
    }
    let mut body = h2_get(&other, "/stream").await;
    streams.push(opened.recv().await.unwrap());
    let _body = h2_get(&closed, "/stream").await;
    streams.push(opened.recv().await.unwrap());
    for index in [1, 3] {
        for _ in 0..256 {
            streams[index].send.send(Bytes::from(vec![b'x'; 64 * 1024])).unwrap();
        }
    }
    busy.send("GET /endless HTTP/1.1\r\nhost: h\r\n\r\n").await;
    busy.read_until("more").await;
    let reads = tokio::spawn(async move {
        while busy.more().await {
            busy.buffer.clear();
        }
    });
    host.tasks.close();
    host.stopping.announced.cancel();
    streams[0].send("still here");
    quiet.read_until("still here").await;
    host.stopping.closing.cancel();
    for stream in &mut streams {
        stream.assert_dropped().await;
    }
    // The last chunk is missing, so the client sees that the body is incomplete.
    assert_eq!(quiet.read_until("\r\n").await, "\r\n");
    quiet.assert_closed().await;
    assert!(data(&mut body).await.unwrap().is_err());
    tokio::time::timeout(Duration::from_secs(15), reads).await.expect("the endless stream ends").unwrap();
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("connections end");
    _ = (task.await.unwrap(), stuck_task.await.unwrap());
}
