//! The limit of connections.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Connection, TestHost, eventually};

/// The limit in `admin.rs`.
const MOST: usize = 64;

#[tokio::test]
async fn it_serves_64_connections_and_rejects_more_except_for_livez() {
    let host = TestHost::empty().start().await;
    let mut open = Vec::new();
    for number in 1..=MOST {
        let mut connection = Connection::open(host.admin).await;
        assert_eq!(connection.send("GET", "/readyz", &[], "").await.status, 200, "connection {number}");
        open.push(connection);
    }
    let refused = host.admin("GET", "/readyz", "").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(host.admin("GET", "/livez", "").await.status, 200);

    let metrics = open[0].send("GET", "/metrics", &[], "").await;
    assert!(metrics.text().contains("\nfanfare_admin_connections_refused_total 2\n"), "{}", metrics.text());
    assert!(host.log.contains(&["the admin listener has 64 connections"]));

    open.pop();
    eventually("a permit is free again", || async { host.admin("GET", "/readyz", "").await.status == 200 }).await;
}

#[tokio::test]
async fn silent_connections_do_not_lock_the_operator_out() {
    let host = TestHost::empty().start().await;
    let mut silent = Vec::new();
    for number in 1..=3 * MOST {
        let mut stream = TcpStream::connect(host.admin).await.unwrap();
        // An incomplete head does not count as a request.
        if number % 2 == 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        }
        silent.push(stream);
    }
    for path in ["/livez", "/readyz", "/v1/status"] {
        assert_eq!(host.admin("GET", path, "").await.status, 200, "{path}");
    }
    let evicted = host.metric("fanfare_admin_connections_evicted_total", &[]).await;
    assert!(evicted >= (2 * MOST) as f64, "{evicted}");
    let mut read = Vec::new();
    let closed = silent[0].read_to_end(&mut read).await;
    assert!(closed.is_err() || read.is_empty(), "the oldest connection is closed");
}
