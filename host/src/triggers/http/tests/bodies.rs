use super::*;

/// A host that accepts bodies of up to 10 bytes.
async fn small() -> Host {
    host().config(|http| http.max_body = 10).echo("POST x").start().await
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /api/m/x HTTP/1.1\r\nhost: h\r\n{fields}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_accepted_and_one_byte_more_is_not() {
    let host = small().await;
    let received = host.send(&post("content-length: 10", "0123456789")).await;
    assert!(received.body.contains("payload=Text(\"0123456789\")"), "{received:?}");
    host.send(&post("content-length: 11", "0123456789a")).await.assert_problem(413, "payload-too-large");
    let received = host.send(&post("transfer-encoding: chunked", "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")).await;
    assert!(received.body.contains("payload=Text(\"0123456789\")"), "{received:?}");
    assert!(!received.body.contains("transfer-encoding"), "{received:?}");
    let received = host.send(&post("transfer-encoding: chunked", "5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n")).await;
    received.assert_problem(413, "payload-too-large");
    assert_eq!(received.json()["module"], "m");
}

#[tokio::test]
async fn the_smaller_limit_of_server_and_module_applies() {
    let host =
        host().config(|http| http.max_body = MAX_PAYLOAD + 1).route("POST x", |_, _| ok("accepted")).start().await;
    let body = |length: u64| post(&format!("content-length: {length}"), &"x".repeat(length as usize));
    assert_eq!(host.send(&body(MAX_PAYLOAD)).await.status(), 200);
    let over = host.send(&body(MAX_PAYLOAD + 1)).await;
    over.assert_problem(413, "payload-too-large");
    assert!(over.json()["detail"].as_str().unwrap().contains("`limits.payload`"), "{over:?}");
}

#[tokio::test]
async fn a_length_that_is_too_large_is_rejected_before_the_body_arrives() {
    small().await.send(&post("content-length: 1000000", "")).await.assert_problem(413, "payload-too-large");
}

#[tokio::test]
async fn a_client_that_keeps_sending_sees_why_it_was_rejected() {
    let host = small().await;
    let mut client = host.connect().await;
    client.send(&post("content-length: 4000000", &"x".repeat(4_000_000))).await;
    client.receive().await.assert_problem(413, "payload-too-large");
    // The host read the body to its end, so the connection stays open.
    client.send(&post("content-length: 1", "a")).await;
    assert_eq!(client.receive().await.status(), 200);
    // The host also reads the body of a request that matches no route.
    client
        .send(&format!("POST /api/m/y HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(1_000_000)))
        .await;
    client.receive().await.assert_problem(404, "not-found");
    client.send(&post("content-length: 1", "a")).await;
    assert_eq!(client.receive().await.status(), 200);
}

#[tokio::test]
async fn a_slow_body_closes_the_connection() {
    let host = host().config(|http| http.body_timeout = Duration::from_millis(20)).echo("POST x").start().await;
    let mut client = host.connect().await;
    client.send(&post("content-length: 5", "abc")).await;
    let received = client.receive().await;
    received.assert_problem(408, "body-timeout");
    assert_eq!(received.field("connection"), Some("close"));
    client.assert_closed().await;
}

#[tokio::test]
async fn the_host_sends_100_continue_only_for_a_body_that_it_accepts() {
    let host = small().await;
    let mut client = host.connect().await;
    client.send(&post("expect: 100-continue\r\ncontent-length: 3", "")).await;
    assert_eq!(client.receive().await.head, "HTTP/1.1 100 Continue");
    client.send("abc").await;
    assert!(client.receive().await.body.contains("payload=Text(\"abc\")"));
    client.send(&post("expect: 100-continue\r\ncontent-length: 300", "")).await;
    client.receive().await.assert_problem(413, "payload-too-large");
}

#[tokio::test]
async fn the_content_type_decides_the_kind_of_payload() {
    let host = host().echo("POST x").start().await;
    let payload = async |fields: &str, body: &[u8]| {
        let mut client = host.connect().await;
        client
            .send(&format!("POST /api/m/x HTTP/1.1\r\nhost: h\r\n{fields}content-length: {}\r\n\r\n", body.len()))
            .await;
        client.stream.write_all(body).await.unwrap();
        let received = client.receive().await;
        let shown = received.body.split("payload=").nth(1).and_then(|rest| rest.split(" subdomain").next());
        shown.map_or_else(|| received.json()["detail"].as_str().unwrap().to_owned(), str::to_owned)
    };
    assert_eq!(payload("content-type: application/json\r\n", b"{}").await, "Text(\"{}\")");
    assert_eq!(payload("content-type: application/octet-stream\r\n", b"a").await, "Bytes([97])");
    assert_eq!(payload("content-type: text/plain; charset=latin1\r\n", b"\xfc").await, "Bytes([252])");
    assert_eq!(payload("", b"a").await, "Text(\"a\")");
    assert_eq!(payload("", b"\xfc").await, "Bytes([252])");
    assert_eq!(payload("content-type: text/plain\r\n", b"").await, "None");
    let expected = "the content type `text/plain` is text, but byte 1 of the body is not UTF-8: send UTF-8, or another \
                    content type such as application/octet-stream";
    assert_eq!(payload("content-type: text/plain\r\n", b"a\xfc").await, expected);
}

#[tokio::test]
async fn a_body_in_another_transfer_coding_never_reaches_a_guest() {
    let host = small().await;
    for coding in ["transfer-encoding: gzip, chunked", "transfer-encoding: gzip\r\ntransfer-encoding: chunked"] {
        let mut client = host.connect().await;
        client.send(&post(coding, "3\r\nabc\r\n0\r\n\r\n")).await;
        let received = client.receive().await;
        received.assert_problem(501, "unknown-transfer-coding");
        assert!(received.json()["detail"].as_str().unwrap().contains("`gzip, chunked`"), "{received:?}");
        client.assert_closed().await;
    }
}
