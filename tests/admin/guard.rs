//! Requests that the listener rejects.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Connection, Started, TestHost};

const ENDPOINTS: [(&str, &str); 6] = [
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/v1/status"),
    ("POST", "/v1/modules/counts/broadcasts/append"),
    ("POST", "/v1/modules/counts/call?path=emit"),
];

async fn status(host: &Started, (method, path): (&str, &str), headers: &[(&str, &str)]) -> u16 {
    Connection::open(host.admin).await.send(method, path, headers, "").await.status
}

#[tokio::test]
async fn every_endpoint_rejects_requests_of_foreign_web_pages() {
    let host = TestHost::with("counts").start().await;
    let own = format!("http://{}", host.admin);
    let foreign = [
        ("host", "rebound.example.test"),
        ("host", "rebound.example.test:8081"),
        ("origin", "https://evil.example.test"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for endpoint in ENDPOINTS {
        for header in foreign {
            assert_eq!(status(&host, endpoint, &[header]).await, 403, "{endpoint:?} with {header:?}");
        }
    }
    assert_eq!(host.emit("counts", "append", "").await["seq"], 1, "nothing was emitted");
    for endpoint in ENDPOINTS {
        for header in [("origin", own.as_str()), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")] {
            assert!(status(&host, endpoint, &[header]).await < 300, "{endpoint:?} with {header:?}");
        }
    }
}

#[tokio::test]
async fn a_request_with_two_hosts_is_rejected() {
    let host = TestHost::with("counts").start().await;
    for head in [
        "GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: 127.0.0.1\r\n\r\n",
        "GET http://rebound.example.test/livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: http://127.0.0.1\r\norigin: http://x\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(host.admin).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{head}: {answer}");
    }
}

#[tokio::test]
async fn the_problem_names_the_rejected_host() {
    let host = TestHost::with("counts").start().await;
    let mut connection = Connection::open(host.admin).await;
    let answer = connection.send("GET", "/v1/status", &[("host", "rebound.example.test")], "").await;
    assert_eq!(answer.code(), "forbidden");
    assert!(answer.json()["detail"].as_str().unwrap().contains("`rebound.example.test`"), "{}", answer.text());
}

#[tokio::test]
async fn other_methods_get_405_and_other_paths_404() {
    let host = TestHost::with("counts").start().await;
    for (method, path) in ENDPOINTS {
        let (other, allow) = if method == "GET" { ("POST", "GET, HEAD") } else { ("GET", "POST") };
        let answer = host.admin(other, path, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{other} {path}");
    }
    for path in ["/", "/v1", "/v1/modules", "/v1/modules/counts", "/livez/", "/api/counts/list"] {
        let answer = host.admin("GET", path, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not-found"), "{path}");
    }
    let head = host.admin("HEAD", "/livez", "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn wrong_parameters_are_invalid_or_not_found() {
    let host = TestHost::with("counts").start().await;
    let call = async |query: &str| {
        let answer = host.admin("POST", &format!("/v1/modules/counts/call?{query}"), "").await;
        (answer.status, answer.code())
    };
    assert_eq!(call("path=list&target=everyone").await, (400, "invalid".to_owned()));
    assert_eq!(call("path=list&method=b%20d").await, (400, "invalid".to_owned()));
    assert_eq!(call("path=list&target=worker-7").await, (404, "not-found".to_owned()));
    assert_eq!(call("path=nothing").await, (404, "not-found".to_owned()));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let host = TestHost::with("counts").config(json!({ "http": { "maxBody": 1_000 } })).start().await;
    for (method, path) in ENDPOINTS.into_iter().filter(|(method, _)| *method == "POST") {
        let answer = host.admin(method, path, "x".repeat(1_001)).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"), "{path}");
        assert!(host.admin(method, path, "x".repeat(1_000)).await.status < 300, "{path}");
    }
}

#[tokio::test]
async fn a_call_to_all_workers_has_an_entry_for_each() {
    let host = TestHost::with("counts").workers(3).start().await;
    let entries = host.call("workers", "counts", "list", "").await;
    let isolates: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["isolate"].clone()).collect();
    assert_eq!(isolates, ["worker-0", "worker-1", "worker-2"]);
    assert_eq!(entries[1]["reply"]["status"], 200);
}
