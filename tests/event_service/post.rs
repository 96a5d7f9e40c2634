//! Emitting: what the service accepts, and what its subscribers get.

use serde_json::json;

use super::{Client, next, service, value};

#[tokio::test]
async fn an_event_reaches_the_subscribers_of_its_type_as_it_was_written() {
    let host = service(json!({})).await;
    let (mut all, mut orders, mut two) =
        (host.subscribe("").await, host.subscribe("type=order%2F*").await, host.subscribe("type=a&type=b").await);
    let answer = host
        .send_json("{\"type\": \"order/paid\", \"value\": {\"id\": 7.0,\r\n\"n\": 1e2}, \"source\": \"shop\"}")
        .await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let first = answer.json()["position"].as_str().unwrap().to_owned();
    let block = all.event().await.unwrap();
    assert_eq!((block.id.as_deref(), block.event), (Some(first.as_str()), None));
    let data = block.data.unwrap();
    assert_eq!(data, "{\"type\":\"order/paid\",\"value\":{\"id\": 7.0,\n\"n\": 1e2},\"source\":\"shop\"}");
    assert_eq!(orders.data().await, data);

    let answer = host.send_json(r#"[{"type":"b","value":1},{"value":"text"},{"type":"a","value":null}]"#).await;
    let positions = answer.json()["positions"].as_array().unwrap().clone();
    assert_eq!(positions.len(), 3);
    assert_eq!(next(&mut two).await, json!({ "type": "b", "value": 1 }));
    assert_eq!(next(&mut two).await, json!({ "type": "a", "value": null }));
    assert_eq!(two.last_id(), positions[2]);
    for expected in ["b", "message", "a"] {
        assert_eq!(next(&mut all).await["type"], expected);
    }
    assert_eq!(host.send_json("[]").await.json(), json!({ "positions": [] }));
    host.event("order/late", json!(2)).await;
    assert_eq!(value(&mut orders).await, 2, "types that it did not ask for are not sent");
}

#[tokio::test]
async fn a_list_with_a_bad_event_is_rejected_whole() {
    let host = service(json!({})).await;
    let mut all = host.subscribe("").await;
    for (body, reason) in [
        (r#"[{"value":1},{"type":"","value":2}]"#.to_owned(), "event 1 of the list"),
        (r#"[{"value":1},{"value":2},{}]"#.to_owned(), "event 2 of the list"),
        (r#"[{"value":1},"#.to_owned(), "not valid JSON"),
        (format!("[{}]", vec![r#"{"value":1}"#; 1_001].join(",")), "1001 events"),
        (r#"{"type":"a","valeu":1}"#.to_owned(), "unknown field `valeu`"),
        ("hello".to_owned(), "not valid JSON"),
        (String::new(), "not valid JSON"),
    ] {
        let answer = host.send_json(body.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"), "{body}");
        let problem = answer.json();
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{body}: {problem}");
        assert!(problem["trace"].is_string(), "{problem}");
    }
    host.event("end", json!("end")).await;
    assert_eq!(value(&mut all).await, "end", "nothing of a rejected request is emitted");
    assert_eq!(host.metric("fanfare_events_refused_total", &["invalid"]).await, 7.0);
}

#[tokio::test]
async fn a_request_that_is_repeated_with_its_key_emits_once() {
    let host = service(json!({})).await;
    let mut all = host.subscribe("").await;
    let send = async |key: &str, body: &str| {
        host.ask("POST", "/events", &[("content-type", "application/json"), ("idempotency-key", key)], body).await
    };
    let body = r#"[{"value":1},{"value":2}]"#;
    let first = send("k-1", body).await;
    assert_eq!(send("k-1", body).await.json(), first.json(), "the same positions");
    let other = send("k-1", r#"[{"value":3}]"#).await;
    assert_eq!((other.status, other.code().as_str()), (422, "key-reused"));
    assert_eq!(send("k-2", body).await.status, 200);
    let long = "k".repeat(129);
    for bad in ["", "a b", long.as_str()] {
        let answer = send(bad, body).await;
        assert!(answer.json()["detail"].as_str().unwrap().contains("Idempotency-Key"), "{bad}");
    }
    assert_eq!(send(&long[1..], r#"{"value":"end"}"#).await.status, 200);
    let mut values = Vec::new();
    for _ in 0..5 {
        values.push(value(&mut all).await);
    }
    assert_eq!(values, [json!(1), json!(2), json!(1), json!(2), json!("end")]);
    assert_eq!(host.metric("fanfare_events_repeated_total", &[]).await, 1.0);
    assert_eq!(host.metric("fanfare_events_emitted_total", &[]).await, 5.0);
}

#[tokio::test]
async fn wrong_methods_paths_and_types_get_the_right_status() {
    let host = service(json!({})).await;
    let json_type = [("content-type", "application/json")];
    for (method, path, status, code) in [
        ("PUT", "/events", 405, "method-not-allowed"),
        ("DELETE", "/", 405, "method-not-allowed"),
        ("POST", "/", 405, "method-not-allowed"),
        ("GET", "/event", 404, "not-found"),
        ("POST", "/events/", 404, "not-found"),
        ("GET", "/api/echo/echo", 404, "not-found"),
        ("GET", "/stream", 404, "not-found"),
    ] {
        let answer = host.ask(method, path, &json_type, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
    let event = r#"{"value":1}"#;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin1"] {
        let answer = host.ask("POST", "/events", &[("content-type", content_type)], event).await;
        assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported-media-type"), "{content_type}");
    }
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(host.ask("POST", "/events", &gzip, event).await.status, 415);
    let charset = [("content-type", "Application/JSON; charset=\"UTF-8\"")];
    assert_eq!(host.ask("POST", "/events", &charset, event).await.status, 200);
    let html = host.ask("GET", "/events", &[("accept", "text/html")], "").await;
    assert_eq!((html.status, html.code().as_str()), (406, "not-acceptable"));
    for (path, allow) in [("/", "GET, HEAD, OPTIONS"), ("/events", "GET, HEAD, POST, OPTIONS")] {
        let options = host.ask("OPTIONS", path, &[], "").await;
        assert_eq!((options.status, options.body.len(), options.header("allow")), (204, 0, Some(allow)));
        let head = host.ask("HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn the_root_describes_the_service() {
    let host = service(json!({ "maxBody": "2KiB", "rate": 50, "maxSubscribers": 3 })).await;
    let position = host.event("a", json!(1)).await;
    let _subscriber = host.subscribe("").await;
    let described = host.ask("GET", "/", &[], "").await.json();
    let expected = json!({
        "service": "fanfare-events", "version": env!("CARGO_PKG_VERSION"), "position": position, "kept": 1,
        "subscribers": 1, "emitted": 1, "limits": { "body": 2_048, "list": 1_000, "rate": 50, "subscribers": 3 },
    });
    assert_eq!(described, expected);
}
