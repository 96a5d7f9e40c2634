use super::*;
use tokio::sync::{Notify, Semaphore};

fn quick(builder: Builder) -> Builder {
    builder.config(|http| {
        http.header_timeout = Duration::from_millis(40);
        http.idle_timeout = Duration::from_millis(120);
    })
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    // The idle timeout, which would end them too, is far away.
    let host = host().config(|http| http.header_timeout = Duration::from_millis(40)).echo("GET x").start().await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost:").await;
    client.is_closed().await;
    let mut silent = host.connect().await;
    silent.is_closed().await;
    // On a connection that was used before as well.
    let mut used = host.connect().await;
    used.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    used.receive().await;
    used.send("GET /").await;
    used.is_closed().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_later_than_a_slow_head() {
    let host = quick(host().echo("GET x")).start().await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    client.receive().await;
    let since = tokio::time::Instant::now();
    client.is_closed().await;
    assert!(since.elapsed() >= Duration::from_millis(110), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_request_that_runs_keeps_its_connection() {
    let builder = quick(host()).answers("GET x", |_, _| async {
        tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.unwrap_err();
        ok("late")
    });
    assert_eq!(builder.start().await.get("/api/m/x").await.body, "late");
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_lets_requests_finish() {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (says, waits) = (started.clone(), go.clone());
    let host = host()
        .echo("GET x")
        .answers("GET slow", move |_, _| {
            let (says, waits) = (says.clone(), waits.clone());
            async move {
                says.notify_one();
                waits.acquire().await.unwrap().forget();
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
    idle.is_closed().await;
    unused.is_closed().await;
    go.add_permits(1);
    let got = busy.receive().await;
    assert_eq!((got.body.as_str(), got.field("connection")), ("done", Some("close")));
    busy.is_closed().await;
    host.tasks.wait().await;
}

#[tokio::test]
async fn heads_have_limits() {
    let host = host().config(|http| (http.max_headers, http.max_header_bytes) = (5, 8_192)).echo("GET x").start().await;
    let get = |count: usize, size: usize| {
        let fields: String = (1..count).map(|number| format!("x-{number}: {}\r\n", "v".repeat(size))).collect();
        format!("GET /api/m/x HTTP/1.1\r\nhost: h\r\n{fields}\r\n")
    };
    assert_eq!(host.ask(&get(5, 1)).await.status(), 200);
    assert_eq!(host.ask(&get(6, 1)).await.status(), 431);
    assert_eq!(host.ask(&get(3, 3_000)).await.status(), 200);
    assert_eq!(host.ask(&get(3, 5_000)).await.status(), 431);
}

#[tokio::test]
async fn a_connection_serves_many_requests_and_pipelined_ones_in_order() {
    let host = host().echo("GET {n}").start().await;
    let mut client = host.connect().await;
    let all: String = (0..20).map(|number| format!("GET /api/m/{number} HTTP/1.1\r\nhost: h\r\n\r\n")).collect();
    client.send(&all).await;
    for number in 0..20 {
        let got = client.receive().await;
        assert!(got.body.starts_with(&format!("GET /api/m/{number} ")), "{got:?}");
    }
}

#[tokio::test]
async fn a_client_that_has_said_all_it_will_still_gets_its_answer() {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (begun.clone(), release.clone());
    let host = host()
        .answers("GET x", move |_, _| {
            let (tell, wait) = (tell.clone(), wait.clone());
            async move {
                tell.notify_one();
                wait.notified().await;
                ok("late")
            }
        })
        .echo("GET y")
        .start()
        .await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    begun.notified().await;
    client.stream.shutdown().await.unwrap();
    // By the time that another connection is answered, this end has been seen.
    assert_eq!(host.get("/api/m/y").await.status(), 200);
    release.notify_one();
    assert_eq!(client.receive().await.body, "late");
    client.is_closed().await;
}

#[tokio::test]
async fn a_stream_of_another_kind_is_served_alike_and_its_scheme_is_its_own() {
    let host = host().environment("development").echo("GET x").start().await;
    let (mut client, ours) = std::os::unix::net::UnixStream::pair()
        .map(|(one, other)| {
            one.set_nonblocking(true).unwrap();
            other.set_nonblocking(true).unwrap();
            (tokio::net::UnixStream::from_std(one).unwrap(), net::Socket::Unix(other))
        })
        .unwrap();
    (host.connect)(ours.open().unwrap(), host.address);
    let mut text = String::new();
    client.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("curl &#39;https://h/api/m/hello&#39;"), "{text}");
    assert!(host.get("/").await.body.contains("curl &#39;http://h/api/m/hello&#39;"));
}
