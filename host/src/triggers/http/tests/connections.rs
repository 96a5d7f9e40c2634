use super::*;
use tokio::sync::{Notify, Semaphore};

fn quick(builder: Builder) -> Builder {
    builder.config(|http| {
        http.header_timeout = Duration::from_millis(40);
        http.idle_timeout = Duration::from_millis(120);
    })
}

#[tokio::test]
async fn a_slow_head_closes_the_connection() {
    // The default idle timeout is too long to close these connections.
    let host = host().config(|http| http.header_timeout = Duration::from_millis(40)).echo("GET x").start().await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost:").await;
    client.assert_closed().await;
    let mut silent = host.connect().await;
    silent.assert_closed().await;
    // The same on a connection that has had a request.
    let mut used = host.connect().await;
    used.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    used.receive().await;
    used.send("GET /").await;
    used.assert_closed().await;
}

#[tokio::test]
async fn an_idle_connection_closes_later_than_one_with_a_slow_head() {
    let host = quick(host().echo("GET x")).start().await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.receive().await;
    let since = tokio::time::Instant::now();
    client.assert_closed().await;
    assert!(since.elapsed() >= Duration::from_millis(110), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_running_request_keeps_its_connection_open() {
    let builder = quick(host()).async_route("GET x", |_, _| async {
        tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.unwrap_err();
        ok("late")
    });
    assert_eq!(builder.start().await.get("/api/m/x").await.body, "late");
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_lets_requests_finish() {
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (starts, released) = (started.clone(), release.clone());
    let host = host()
        .echo("GET x")
        .async_route("GET slow", move |_, _| {
            let (starts, released) = (starts.clone(), released.clone());
            async move {
                starts.notify_one();
                released.acquire().await.unwrap().forget();
                ok("done")
            }
        })
        .start()
        .await;
    let (mut idle, mut unused, mut busy) = (host.connect().await, host.connect().await, host.connect().await);
    idle.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    idle.receive().await;
    busy.send("GET /api/m/slow HTTP/1.1\r\nhost: h\r\n\r\n").await;
    started.notified().await;
    host.tasks.close();
    host.shut_down();
    idle.assert_closed().await;
    unused.assert_closed().await;
    release.add_permits(1);
    let received = busy.receive().await;
    assert_eq!((received.body.as_str(), received.field("connection")), ("done", Some("close")));
    busy.assert_closed().await;
    host.tasks.wait().await;
}

#[tokio::test]
async fn a_head_beyond_a_limit_is_rejected() {
    let host = host().config(|http| (http.max_headers, http.max_header_bytes) = (5, 8_192)).echo("GET x").start().await;
    let get = |count: usize, size: usize| {
        let fields: String = (1..count).map(|number| format!("x-{number}: {}\r\n", "v".repeat(size))).collect();
        format!("GET /api/m/x HTTP/1.1\r\nhost: h\r\n{fields}\r\n")
    };
    assert_eq!(host.send(&get(5, 1)).await.status(), 200);
    assert_eq!(host.send(&get(6, 1)).await.status(), 431);
    assert_eq!(host.send(&get(3, 3_000)).await.status(), 200);
    assert_eq!(host.send(&get(3, 5_000)).await.status(), 431);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let host = host().echo("GET {n}").start().await;
    let mut client = host.connect().await;
    let all: String = (0..20).map(|number| format!("GET /api/m/{number} HTTP/1.1\r\nhost: h\r\n\r\n")).collect();
    client.send(&all).await;
    for number in 0..20 {
        let received = client.receive().await;
        assert!(received.body.starts_with(&format!("GET /api/m/{number} ")), "{received:?}");
    }
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_still_gets_its_response() {
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (starts, released) = (started.clone(), release.clone());
    let host = host()
        .async_route("GET x", move |_, _| {
            let (starts, released) = (starts.clone(), released.clone());
            async move {
                starts.notify_one();
                released.notified().await;
                ok("late")
            }
        })
        .echo("GET y")
        .start()
        .await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    started.notified().await;
    client.stream.shutdown().await.unwrap();
    // When another connection gets a response, the host has seen the end of this one.
    assert_eq!(host.get("/api/m/y").await.status(), 200);
    release.notify_one();
    assert_eq!(client.receive().await.body, "late");
    client.assert_closed().await;
}

#[tokio::test]
async fn an_encrypted_stream_has_the_scheme_https() {
    let scheme = |request: HostRequest| HttpResponse::new(request.scheme.to_owned().into());
    let host = host().host_route("/scheme", scheme).start().await;
    let (mut client, server) = std::os::unix::net::UnixStream::pair()
        .map(|(one, other)| {
            one.set_nonblocking(true).unwrap();
            other.set_nonblocking(true).unwrap();
            (tokio::net::UnixStream::from_std(one).unwrap(), net::Socket::Unix(other))
        })
        .unwrap();
    (host.connect)(server.open().unwrap(), host.address);
    let mut text = String::new();
    client.write_all(b"GET /scheme HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("\r\n\r\nhttps"), "{text}");
    assert_eq!(host.get("/scheme").await.body, "http");
}
