use super::*;

#[tokio::test]
async fn a_request_reaches_its_route_whole() {
    let host = host().echo("GET hello/{name}").start().await;
    let got = host.ask("GET /api/m/hello/a%20b?x=1&x=2&y=%20 HTTP/1.1\r\nHost: h:80\r\nX-A: 1\r\nx-a: 2\r\n\r\n").await;
    assert_eq!(got.status(), 200);
    let expected = "GET /api/m/hello/a%20b query=x=1&x=2&y=%20 params=[(\"name\", \"a b\")] payload=None subdomain=None \
                    trace=None authority=h:80 headers=host=h:80|x-a=1|x-a=2";
    assert_eq!(got.body, expected);
    assert_eq!(got.field("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn hop_by_hop_fields_stay_outside() {
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
    let got = host.ask(&format!("GET /api/m/in HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n")).await;
    assert!(got.body.ends_with("headers=host=h|x-two=2"), "{got:?}");
    let got = host.get("/api/m/out").await;
    assert_eq!((got.fields("x-kept"), got.field("x-gone"), got.field("keep-alive")), (vec!["1", "2"], None, None));
}

#[tokio::test]
async fn subdomain_and_trace_go_along() {
    let host = host().config(|http| http.domain = Some("example.test".into())).echo("GET x").start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let got = host
        .ask(&format!(
            "GET /api/m/x HTTP/1.1\r\nHost: Acme.example.test:80\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n\r\n"
        ))
        .await;
    assert!(got.body.contains(&format!("subdomain=Some(\"acme\") trace=Some(\"{trace}\")")), "{got:?}");
    let got = host.ask("GET http://b.example.test/api/m/x HTTP/1.1\r\nHost: other\r\n\r\n").await;
    assert!(got.body.contains("subdomain=Some(\"b\") trace=None authority=b.example.test"), "{got:?}");
}

#[tokio::test]
async fn the_root_without_its_slash_redirects() {
    let host = host().echo("GET ").start().await;
    let got = host.get("/api/m?x=1").await;
    assert_eq!((got.status(), got.field("location")), (308, Some("/api/m/?x=1")));
    assert_eq!(host.get("/api/m").await.field("location"), Some("/api/m/"));
    assert_eq!(host.get("/api/m/").await.status(), 200);
    host.get("/api/other").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn a_modules_name_may_be_escaped_too() {
    let host = host().echo("GET x").start().await;
    assert_eq!(host.get("/api/%6d/x").await.status(), 200);
    host.get("/api/%6/x").await.is_problem(400, "bad-request");
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let host = host().echo("GET x").route("GET none", |_, _| replied(0, &[], Payload::None)).start().await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let length = client.receive().await.body.len();
    client.send("HEAD /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let got = client.receive_head().await;
    // `HEAD` is a letter longer, and the handler sees it.
    assert_eq!((got.status(), got.field("content-length")), (200, Some((length + 1).to_string().as_str())));
    client.send("HEAD /api/m/none HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let got = client.receive_head().await;
    assert_eq!((got.status(), got.field("content-length")), (204, None));
    client.send("HEAD /api/m/missing HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let got = client.receive_head().await;
    assert_eq!(got.status(), 404);
    assert_ne!(got.field("content-length"), Some("0"));
    // The connection is still in step.
    client.send("GET /api/m/none HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 204);
}

#[tokio::test]
async fn options_and_other_methods_never_reach_a_guest() {
    let host = host().echo("GET x").echo("PUT x").echo("POST inner/x").start().await;
    let got = host.ask("OPTIONS /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((got.status(), got.field("allow")), (204, Some("GET, HEAD, PUT, OPTIONS")));
    assert_eq!(got.field("access-control-allow-methods"), None);
    let got = host.ask("DELETE /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(got.field("allow"), Some("GET, HEAD, PUT, OPTIONS"));
    got.is_problem(405, "method-not-allowed");
    let got = host.ask("OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((got.status(), got.field("allow")), (204, Some("DELETE, GET, HEAD, PATCH, POST, PUT, OPTIONS")));
    for method in ["GET", "HEAD", "PUT"] {
        let mut client = host.connect().await;
        client.send(&format!("{method} * HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let got = if method == "HEAD" { client.receive_head().await } else { client.receive().await };
        assert_eq!((got.status(), got.field("allow")), (400, None), "{method}");
        assert!(method == "HEAD" || got.json()["detail"].as_str().unwrap().contains("for OPTIONS only"), "{got:?}");
    }
    host.ask("OPTIONS /api/m/missing HTTP/1.1\r\nhost: h\r\n\r\n").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn one_host_is_needed() {
    let host = host().echo("GET x").start().await;
    host.ask("GET /api/m/x HTTP/1.1\r\n\r\n").await.is_problem(400, "bad-request");
    host.ask("GET /api/m/x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await.is_problem(400, "bad-request");
    assert_eq!(host.ask("GET /api/m/x HTTP/1.0\r\n\r\n").await.status(), 200);
}

const PREFLIGHT: &str = "OPTIONS /api/m/x HTTP/1.1\r\nhost: h\r\naccess-control-request-method: PUT\r\norigin: ";

#[tokio::test]
async fn cors_with_a_list_of_origins() {
    let host = host()
        .config(|http| {
            http.cors.origins = vec!["https://a.test".into(), "https://b.test".into()];
            http.cors.credentials = true;
            http.cors.headers.push("x-token".into());
        })
        .route("PUT x", |_, _| replied(200, &[("access-control-allow-origin", "*"), ("vary", "accept")], Payload::None))
        .start()
        .await;
    let got = host.ask(&format!("{PREFLIGHT}https://b.test\r\n\r\n")).await;
    assert_eq!(got.status(), 204);
    assert_eq!(got.field("access-control-allow-origin"), Some("https://b.test"));
    assert_eq!(got.field("access-control-allow-credentials"), Some("true"));
    assert_eq!(got.field("access-control-allow-methods"), Some("PUT, OPTIONS"));
    assert_eq!(got.field("access-control-allow-headers"), Some("content-type, x-token"));
    assert_eq!(got.field("access-control-max-age"), Some("600"));
    assert_eq!(got.field("vary"), Some("origin"));

    let got = host.ask(&format!("{PREFLIGHT}https://evil.test\r\n\r\n")).await;
    assert_eq!((got.status(), got.field("vary")), (204, Some("origin")));
    assert!(!got.head.contains("access-control"), "{got:?}");

    let put = "PUT /api/m/x HTTP/1.1\r\nhost: h\r\norigin: ";
    let got = host.ask(&format!("{put}https://a.test\r\n\r\n")).await;
    assert_eq!(got.fields("access-control-allow-origin"), ["https://a.test"]);
    assert_eq!(got.fields("vary"), ["accept", "origin"]);
    let got = host.ask(&format!("{put}https://evil.test\r\n\r\n")).await;
    assert_eq!((got.status(), got.field("access-control-allow-origin")), (200, None));
    // Scripts may read errors as well.
    let got = host.ask("GET /api/m/x HTTP/1.1\r\nhost: h\r\norigin: https://a.test\r\n\r\n").await;
    assert_eq!((got.status(), got.field("access-control-allow-origin")), (405, Some("https://a.test")));
}

#[tokio::test]
async fn cors_for_all_and_for_none() {
    let open = host().config(|http| http.cors.origins = vec!["*".into()]).echo("PUT x").start().await;
    let got = open.ask(&format!("{PREFLIGHT}https://a.test\r\n\r\n")).await;
    assert_eq!((got.field("access-control-allow-origin"), got.field("vary")), (Some("*"), None));
    let closed = host().route("PUT x", |_, _| replied(200, &[("access-control-allow-origin", "x")], Payload::None));
    let closed = closed.start().await;
    let got = closed.ask(&format!("{PREFLIGHT}https://a.test\r\n\r\n")).await;
    assert!(!got.head.contains("access-control"), "{got:?}");
    // Without the operator's word the guest's holds.
    let got = closed.ask("PUT /api/m/x HTTP/1.1\r\nhost: h\r\norigin: https://a.test\r\n\r\n").await;
    assert_eq!(got.field("access-control-allow-origin"), Some("x"));
}

#[tokio::test]
async fn the_page_for_developers() {
    let got = host().environment("development").start().await.get("/").await;
    assert_eq!((got.status(), got.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(got.body.contains("curl &#39;http://h/api/m/hello&#39;"), "{got:?}");
    for environment in ["production", "test"] {
        host().environment(environment).start().await.get("/").await.is_problem(404, "not-found");
    }
}
