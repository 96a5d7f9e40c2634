//! Answers whose body is a stream, of routes of the host.

use super::*;
use futures_util::stream;
use h2::client::SendRequest;
use tokio::sync::{mpsc, oneshot};

/// A stream that a client has opened.
struct Opened {
    send: mpsc::UnboundedSender<Bytes>,
    /// Resolves when the stream was dropped.
    gone: oneshot::Receiver<()>,
}

impl Opened {
    fn send(&self, text: &'static str) {
        self.send.send(Bytes::from_static(text.as_bytes())).unwrap();
    }

    async fn is_dropped(&mut self) {
        _ = tokio::time::timeout(Duration::from_secs(15), &mut self.gone).await.expect("the producer is told");
    }
}

/// With `/stream`, whose streams the test feeds, `/polite`, whose stream says goodbye at a stop, and
/// `/endless`.
async fn streaming(builder: Builder) -> (Host, mpsc::UnboundedReceiver<Opened>) {
    let (tell, opened) = mpsc::unbounded_channel();
    let builder = builder.echo("GET x").host_route("/stream", move |_| {
        let ((send, mut frames), (guard, gone)) = (mpsc::unbounded_channel(), oneshot::channel::<()>());
        tell.send(Opened { send, gone }).unwrap();
        let frames = stream::poll_fn(move |cx| {
            _ = &guard;
            frames.poll_recv(cx)
        });
        Answer::new(Content::Frames(Box::pin(frames)))
    });
    let builder = builder.host_route("/polite", |request| {
        let hello = stream::iter([Bytes::from_static(b"hello")]);
        let goodbye = stream::once(async move {
            request.ending.cancelled().await;
            Bytes::from_static(b"goodbye")
        });
        Answer::new(Content::Frames(Box::pin(stream::StreamExt::chain(hello, goodbye))))
    });
    let builder = builder.host_route("/endless", |_| {
        Answer::new(Content::Frames(Box::pin(stream::repeat(Bytes::from_static(b"more")))))
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
    /// Reads up to and with this text.
    async fn reads(&mut self, text: &str) -> String {
        loop {
            let found = self.buffer.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let read = self.buffer.drain(..at + text.len()).collect();
                return String::from_utf8(read).unwrap();
            }
            assert!(self.more().await, "closed before {text:?}: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// That nothing arrives for a time.
    async fn hears_nothing(&mut self, time: Duration) {
        assert!(tokio::time::timeout(time, self.stream.read_buf(&mut self.buffer)).await.is_err());
    }
}

/// A client of HTTP/2, and the task of its connection.
async fn h2_client(host: &Host, window: u32) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(host.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (send, connection) = builder.initial_window_size(window).handshake::<_, Bytes>(stream).await.unwrap();
    (send, tokio::spawn(connection))
}

async fn h2_get(client: &SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    let request = Request::get(format!("http://h{path}")).body(()).unwrap();
    let (answer, _) = client.clone().ready().await.unwrap().send_request(request, true).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(15), answer).await.expect("an answer").unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

/// The next data. hyper marks the end with a frame that is empty.
async fn data(body: &mut h2::RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = tokio::time::timeout(Duration::from_secs(15), body.data()).await.expect("data");
    if let Some(Ok(data)) = &data {
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    data.filter(|data| !data.as_ref().is_ok_and(|data| data.is_empty() && body.is_end_stream()))
}

async fn returns(host: &Host) {
    let returned = async {
        while host.buffered.taken() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), returned).await.expect("what was held is returned");
}

#[tokio::test]
async fn frames_arrive_one_by_one_and_the_connection_serves_on() {
    let (host, mut opened) = streaming(host()).await;
    let mut client = host.connect().await;
    for _ in 0..2 {
        client.send(GET).await;
        let stream = opened.recv().await.unwrap();
        assert!(client.reads("\r\n\r\n").await.contains("transfer-encoding: chunked"));
        for text in ["first", "other"] {
            stream.send(text);
            assert_eq!(client.reads("\r\n").await, "5\r\n");
            assert_eq!(client.reads("\r\n").await, format!("{text}\r\n"));
        }
        stream.send("");
        drop(stream);
        assert_eq!(client.reads("0\r\n\r\n").await, "0\r\n\r\n");
    }
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 200);
    client.send("HEAD /stream HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive_head().await.status(), 200);
    let (client, _task) = h2_client(&host, 65_535).await;
    opened.recv().await.unwrap().is_dropped().await;
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
    client.reads("\r\n\r\n").await;
    let (other, _task) = h2_client(&host, 65_535).await;
    let mut body = h2_get(&other, "/stream").await;
    let second = opened.recv().await.unwrap();
    client.hears_nothing(Duration::from_millis(400)).await;
    first.send("late");
    client.reads("late").await;
    second.send("late");
    assert_eq!(data(&mut body).await.unwrap().unwrap(), "late");
    // What was idle only because of it is idle again.
    drop(first);
    client.reads("0\r\n\r\n").await;
    client.is_closed().await;
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_is_cut() {
    let (host, mut opened) = streaming(quick(host())).await;
    let mut client = host.connect().await;
    client.send(GET).await;
    let mut stream = opened.recv().await.unwrap();
    for _ in 0..256 {
        stream.send.send(Bytes::from(vec![b'x'; 64 * 1024])).unwrap();
    }
    stream.is_dropped().await;
    let (other, task) = h2_client(&host, 0).await;
    let _body = h2_get(&other, "/stream").await;
    let mut stream = opened.recv().await.unwrap();
    // Until there is something to take, the client is not to blame.
    assert!(tokio::time::timeout(Duration::from_millis(400), &mut stream.gone).await.is_err());
    stream.send("x");
    stream.is_dropped().await;
    _ = task.await.unwrap();
    drop(client);
    returns(&host).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_while_its_stream_is_quiet() {
    let (host, mut opened) = streaming(host()).await;
    for resets in [false, true] {
        let mut client = host.connect().await;
        client.send(GET).await;
        let mut stream = opened.recv().await.unwrap();
        client.reads("\r\n\r\n").await;
        if resets {
            client.stream.set_zero_linger().unwrap();
            drop(client);
            stream.is_dropped().await;
        } else {
            client.stream.shutdown().await.unwrap();
            stream.is_dropped().await;
        }
    }
    // One of two streams, then the connection.
    let (client, task) = h2_client(&host, 65_535).await;
    let first = h2_get(&client, "/stream").await;
    let mut of_first = opened.recv().await.unwrap();
    let mut second = h2_get(&client, "/stream").await;
    let mut of_second = opened.recv().await.unwrap();
    drop(first);
    of_first.is_dropped().await;
    of_second.send("still here");
    assert_eq!(data(&mut second).await.unwrap().unwrap(), "still here");
    task.abort();
    of_second.is_dropped().await;
    host.tasks.close();
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("connections end");
}

#[tokio::test]
async fn requests_sent_behind_a_stream_are_answered_after_it() {
    let (host, mut opened) = streaming(host()).await;
    let mut client = host.connect().await;
    client.send(GET).await;
    let stream = opened.recv().await.unwrap();
    client.reads("\r\n\r\n").await;
    // More than is read ahead, in pieces.
    for piece in ["GET /api/m/x?", "1 HTTP/1.1\r\n", "host: h\r\n\r\nGET /api/m/x?2 HTTP/1.1\r\nhost: h\r\n\r\n"] {
        client.send(piece).await;
        stream.send("frame");
        client.reads("frame\r\n").await;
    }
    drop(stream);
    client.reads("0\r\n\r\n").await;
    assert!(client.receive().await.body.starts_with("GET /api/m/x query=1"));
    assert!(client.receive().await.body.starts_with("GET /api/m/x query=2"));
}

#[tokio::test]
async fn a_body_that_arrives_while_its_answer_streams_is_read_on() {
    let (host, mut opened) = streaming(host()).await;
    let mut client = host.connect().await;
    client.send("POST /stream HTTP/1.1\r\nhost: h\r\ncontent-length: 60\r\n\r\n").await;
    let stream = opened.recv().await.unwrap();
    client.reads("\r\n\r\n").await;
    for _ in 0..6 {
        client.send("0123456789").await;
        stream.send("frame");
        client.reads("frame\r\n").await;
    }
    drop(stream);
    client.reads("0\r\n\r\n").await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 200);
}

#[tokio::test]
async fn frames_are_held_within_the_budget() {
    let (host, mut opened) = streaming(host().config(|http| http.max_buffered = 400 * 1024)).await;
    let frame = || Bytes::from(vec![b'x'; 300 * 1024]);
    let (other, _task) = h2_client(&host, 0).await;
    let mut stuck = h2_get(&other, "/stream").await;
    let stream = opened.recv().await.unwrap();
    stream.send.send(frame()).unwrap();
    let held = async {
        while host.buffered.taken() < 300 * 1024 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), held).await.expect("the frame is held");
    // Another one finds no room: its stream is broken off, and no other.
    let mut client = host.connect().await;
    client.send(GET).await;
    let mut refused = opened.recv().await.unwrap();
    refused.send.send(frame()).unwrap();
    refused.is_dropped().await;
    client.reads("\r\n\r\n").await;
    client.is_closed().await;
    assert_eq!(host.buffered.refused.get(), 1);
    stuck.flow_control().release_capacity(0).unwrap();
    assert_eq!(host.get("/api/m/x").await.status(), 200);
    drop(stuck);
    returns(&host).await;
}

#[tokio::test]
async fn a_streaming_answer_whose_head_has_no_room_is_refused() {
    let value = HeaderValue::try_from("v".repeat(20 * 1024)).unwrap();
    let builder = host().config(|http| http.max_buffered = 4 * 1024).host_route("/large", move |_| {
        let mut answer = Answer::new(Content::Frames(Box::pin(stream::pending())));
        answer.headers_mut().insert("x", value.clone());
        answer
    });
    builder.start().await.get("/large").await.is_problem(503, "overloaded");
}

#[tokio::test]
async fn a_stop_ends_a_hundred_streams_at_once() {
    let (host, _opened) = streaming(host()).await;
    let mut clients = Vec::new();
    for _ in 0..80 {
        let mut client = host.connect().await;
        client.send("GET /polite HTTP/1.1\r\nhost: h\r\n\r\n").await;
        client.reads("hello\r\n").await;
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
    // What is idle would stay until the second step, which never comes here.
    host.stopping.announced.cancel();
    for mut client in clients {
        client.reads("goodbye\r\n0\r\n\r\n").await;
        client.is_closed().await;
    }
    for mut body in bodies {
        assert_eq!(data(&mut body).await.unwrap().unwrap(), "goodbye");
        assert!(data(&mut body).await.is_none());
    }
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("connections end");
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_that_go_on_are_broken_off_at_the_end_of_the_linger() {
    let (host, mut opened) = streaming(host()).await;
    // Quiet, busy, and stuck, over both protocols.
    let (mut quiet, mut busy, mut stuck) = (host.connect().await, host.connect().await, host.connect().await);
    let (other, task) = h2_client(&host, 65_535).await;
    let (closed, stuck_task) = h2_client(&host, 0).await;
    let mut streams = Vec::new();
    for client in [&mut quiet, &mut stuck] {
        client.send(GET).await;
        streams.push(opened.recv().await.unwrap());
        client.reads("\r\n\r\n").await;
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
    busy.reads("more").await;
    let reads = tokio::spawn(async move {
        while busy.more().await {
            busy.buffer.clear();
        }
    });
    host.tasks.close();
    host.stopping.announced.cancel();
    streams[0].send("still here");
    quiet.reads("still here").await;
    host.stopping.last.cancel();
    for stream in &mut streams {
        stream.is_dropped().await;
    }
    // Without a last chunk: the client sees that something is missing.
    assert_eq!(quiet.reads("\r\n").await, "\r\n");
    quiet.is_closed().await;
    assert!(data(&mut body).await.unwrap().is_err());
    tokio::time::timeout(Duration::from_secs(15), reads).await.expect("the endless stream ends").unwrap();
    tokio::time::timeout(Duration::from_secs(15), host.tasks.wait()).await.expect("connections end");
    _ = (task.await.unwrap(), stuck_task.await.unwrap());
}
