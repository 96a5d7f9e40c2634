use super::*;
use crate::config::CorsRoutes;

#[tokio::test]
async fn a_handler_gets_the_whole_request() {
    let host = host().echo("GET hello/{name}").start().await;
    let received =
        host.send("GET /api/m/hello/a%20b?x=1&x=2&y=%20 HTTP/1.1\r\nHost: h:80\r\nX-A: 1\r\nx-a: 2\r\n\r\n").await;
    assert_eq!(received.status(), 200);
    let expected = "GET /api/m/hello/a%20b query=x=1&x=2&y=%20 params=[(\"name\", \"a b\")] payload=None subdomain=None \
                    trace=None authority=h:80 headers=host=h:80|x-a=1|x-a=2";
    assert_eq!(received.body, expected);
    assert_eq!(received.field("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn hop_by_hop_fields_are_removed_in_both_directions() {
    let host = host()
        .echo("GET in")
        .route("GET out", |_, _| {
            let headers =
                [("Connection", "x-gone"), ("X-Gone", "1"), ("Keep-Alive", "x"), ("X-Kept", "1"), ("x-kept", "2")];
            replied(200, &headers, Payload::Text("a".into()))
        })
        .start()
        .await;
    let fields = "Connection: x-one\r\nX-One: 1\r\nTE: trailers\r\nKeep-Alive: 1\r\nProxy-Connection: 1\r\nUpgrade: x\r\nX-Two: 2";
    let received = host.send(&format!("GET /api/m/in HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n")).await;
    assert!(received.body.ends_with("headers=host=h|x-two=2"), "{received:?}");
    let received = host.get("/api/m/out").await;
    assert_eq!(
        (received.fields("x-kept"), received.field("x-gone"), received.field("keep-alive")),
        (vec!["1", "2"], None, None)
    );
}

#[tokio::test]
async fn the_call_gets_the_subdomain_and_the_trace() {
    let host = host().config(|http| http.domain = Some("example.test".into())).echo("GET x").start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let received = host
        .send(&format!(
            "GET /api/m/x HTTP/1.1\r\nHost: Acme.example.test:80\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n\r\n"
        ))
        .await;
    assert!(received.body.contains(&format!("subdomain=Some(\"acme\") trace=Some(\"{trace}\")")), "{received:?}");
    let received = host.send("GET http://b.example.test/api/m/x HTTP/1.1\r\nHost: other\r\n\r\n").await;
    assert!(received.body.contains("subdomain=Some(\"b\") trace=None authority=b.example.test"), "{received:?}");
}

#[tokio::test]
async fn the_root_of_a_module_without_a_slash_redirects_readers_only() {
    let host = host().echo("GET ").echo("POST ").start().await;
    let received = host.get("/api/m?x=1").await;
    assert_eq!((received.status(), received.field("location")), (308, Some("/api/m/?x=1")));
    assert_eq!(host.get("/api/m").await.field("location"), Some("/api/m/"));
    assert_eq!(host.get("/api/m/").await.status(), 200);
    let posted = host.send("POST /api/m?x=1 HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!(posted.status(), 200, "{posted:?}");
    let unknown = host.send("PUT /api/m HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((unknown.status(), unknown.field("allow")), (405, Some("GET, HEAD, POST, OPTIONS")));
    host.get("/api/other").await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn the_name_of_a_module_may_be_percent_encoded() {
    let host = host().echo("GET x").start().await;
    assert_eq!(host.get("/api/%6d/x").await.status(), 200);
    host.get("/api/%6/x").await.assert_problem(400, "bad-request");
}

#[tokio::test]
async fn a_head_is_a_get_without_the_body() {
    let host = host().echo("GET x").route("GET none", |_, _| replied(0, &[], Payload::None)).start().await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let length = client.receive().await.body.len();
    client.send("HEAD /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let received = client.receive_head().await;
    // The body echoes the method, and `HEAD` is one letter longer.
    assert_eq!((received.status(), received.field("content-length")), (200, Some((length + 1).to_string().as_str())));
    client.send("HEAD /api/m/none HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let received = client.receive_head().await;
    assert_eq!((received.status(), received.field("content-length")), (204, None));
    client.send("HEAD /api/m/missing HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let received = client.receive_head().await;
    assert_eq!(received.status(), 404);
    assert_ne!(received.field("content-length"), Some("0"));
    // The connection is still usable.
    client.send("GET /api/m/none HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 204);
}

#[tokio::test]
async fn options_and_other_methods_never_reach_a_guest() {
    let host = host().echo("GET x").echo("PUT x").echo("POST inner/x").start().await;
    let received = host.send("OPTIONS /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((received.status(), received.field("allow")), (204, Some("GET, HEAD, PUT, OPTIONS")));
    assert_eq!(received.field("access-control-allow-methods"), None);
    let received = host.send("DELETE /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(received.field("allow"), Some("GET, HEAD, PUT, OPTIONS"));
    received.assert_problem(405, "method-not-allowed");
    let received = host.send("OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(
        (received.status(), received.field("allow")),
        (204, Some("DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS"))
    );
    for method in ["GET", "HEAD", "PUT"] {
        let mut client = host.connect().await;
        client.send(&format!("{method} * HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let received = if method == "HEAD" { client.receive_head().await } else { client.receive().await };
        assert_eq!((received.status(), received.field("allow")), (400, None), "{method}");
        assert!(
            method == "HEAD" || received.json()["detail"].as_str().unwrap().contains("for OPTIONS only"),
            "{received:?}"
        );
    }
    host.send("OPTIONS /api/m/missing HTTP/1.1\r\nhost: h\r\n\r\n").await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn a_request_needs_exactly_one_host() {
    let host = host().echo("GET x").start().await;
    host.send("GET /api/m/x HTTP/1.1\r\n\r\n").await.assert_problem(400, "bad-request");
    host.send("GET /api/m/x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await.assert_problem(400, "bad-request");
    assert_eq!(host.send("GET /api/m/x HTTP/1.0\r\n\r\n").await.status(), 200);
}

const PREFLIGHT: &str = "OPTIONS /api/m/x HTTP/1.1\r\nhost: h\r\naccess-control-request-method: PUT\r\norigin: ";

#[tokio::test]
async fn only_listed_origins_are_allowed() {
    let host = host()
        .config(|http| {
            http.cors.origins = vec!["https://a.test".into(), "https://b.test".into()];
            http.cors.credentials = true;
            http.cors.headers.push("x-token".into());
        })
        .route("PUT x", |_, _| replied(200, &[("access-control-allow-origin", "*"), ("vary", "accept")], Payload::None))
        .start()
        .await;
    let received = host.send(&format!("{PREFLIGHT}https://b.test\r\n\r\n")).await;
    assert_eq!(received.status(), 204);
    assert_eq!(received.field("access-control-allow-origin"), Some("https://b.test"));
    assert_eq!(received.field("access-control-allow-credentials"), Some("true"));
    assert_eq!(received.field("access-control-allow-methods"), Some("PUT, OPTIONS"));
    assert_eq!(received.field("access-control-allow-headers"), Some("content-type, x-token"));
    assert_eq!(received.field("access-control-max-age"), Some("600"));
    assert_eq!(received.field("vary"), Some("origin"));

    let received = host.send(&format!("{PREFLIGHT}https://evil.test\r\n\r\n")).await;
    assert_eq!((received.status(), received.field("vary")), (204, Some("origin")));
    assert!(!received.head.contains("access-control"), "{received:?}");

    let put = "PUT /api/m/x HTTP/1.1\r\nhost: h\r\norigin: ";
    let received = host.send(&format!("{put}https://a.test\r\n\r\n")).await;
    assert_eq!(received.fields("access-control-allow-origin"), ["https://a.test"]);
    assert_eq!(received.fields("vary"), ["accept", "origin"]);
    let received = host.send(&format!("{put}https://evil.test\r\n\r\n")).await;
    assert_eq!((received.status(), received.field("access-control-allow-origin")), (200, None));
    // Scripts of an allowed origin may read errors too.
    let received = host.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\norigin: https://a.test\r\n\r\n").await;
    assert_eq!((received.status(), received.field("access-control-allow-origin")), (405, Some("https://a.test")));
}

#[tokio::test]
async fn with_named_routes_only_those_with_the_middleware_cors_are_open() {
    let host = host()
        .config(|http| {
            http.cors.origins = vec!["https://a.test".into()];
            http.cors.routes = CorsRoutes::Named;
        })
        .route("PUT x", |_, _| replied(200, &[("access-control-allow-origin", "*")], Payload::None))
        .route("PUT cors", |_, _| replied(200, &[], Payload::None))
        .start()
        .await;
    for (path, open) in [("x", false), ("cors", true)] {
        let origin = open.then_some("https://a.test");
        let head = format!("/api/m/{path} HTTP/1.1\r\nhost: h\r\norigin: https://a.test\r\n");
        let asked = host.send(&format!("OPTIONS {head}access-control-request-method: PUT\r\n\r\n")).await;
        assert_eq!((asked.status(), asked.field("access-control-allow-origin")), (204, origin), "{path}");
        assert_eq!(asked.field("access-control-allow-methods").is_some(), open, "{path}");
        let called = host.send(&format!("PUT {head}\r\n")).await;
        assert_eq!((called.status(), called.field("access-control-allow-origin")), (200, origin), "{path}");
    }
}

#[tokio::test]
async fn all_origins_are_allowed_with_a_star_and_none_by_default() {
    let open = host().config(|http| http.cors.origins = vec!["*".into()]).echo("PUT x").start().await;
    let received = open.send(&format!("{PREFLIGHT}https://a.test\r\n\r\n")).await;
    assert_eq!((received.field("access-control-allow-origin"), received.field("vary")), (Some("*"), None));
    let closed = host().route("PUT x", |_, _| replied(200, &[("access-control-allow-origin", "x")], Payload::None));
    let closed = closed.start().await;
    let received = closed.send(&format!("{PREFLIGHT}https://a.test\r\n\r\n")).await;
    assert!(!received.head.contains("access-control"), "{received:?}");
    // The guest's header is kept, because the operator has configured none.
    let received = closed.send("PUT /api/m/x HTTP/1.1\r\nhost: h\r\norigin: https://a.test\r\n\r\n").await;
    assert_eq!(received.field("access-control-allow-origin"), Some("x"));
}
