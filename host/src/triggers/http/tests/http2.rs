use super::*;
use http_body_util::BodyExt;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Semaphore, mpsc};

type Sender = SendRequest<Full<Bytes>>;

/// Returns a client, and the task of its connection, which ends when the connection ends.
async fn connect(host: &Host) -> (Sender, tokio::task::JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(host.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(method: Method, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let uri = format!("http://acme.example.test{path}");
    Request::builder().method(method).uri(uri).body(Full::from(body)).unwrap()
}

async fn send(sender: &mut Sender, request: Request<Full<Bytes>>) -> (http::response::Parts, String) {
    sender.ready().await.unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    (head, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn requests_and_errors_work_over_http2() {
    let host = host()
        .config(|http| {
            http.domain = Some("example.test".into());
            http.max_body = 10;
        })
        .echo("GET x")
        .echo("POST x")
        .route("GET panics", |_, _| panic!("host bug"))
        .start()
        .await;
    let (mut sender, _task) = connect(&host).await;
    let (head, body) = send(&mut sender, request(Method::GET, "/api/m/x?q", "")).await;
    assert_eq!((head.status, head.version), (StatusCode::OK, Version::HTTP_2));
    assert!(body.starts_with("GET /api/m/x query=q"), "{body}");
    assert!(body.contains("subdomain=Some(\"acme\") trace=None authority=acme.example.test"), "{body}");
    let (_, body) = send(&mut sender, request(Method::POST, "/api/m/x", "0123456789")).await;
    assert!(body.contains("payload=Text(\"0123456789\")"), "{body}");
    let (head, _) = send(&mut sender, request(Method::POST, "/api/m/x", "0123456789a")).await;
    assert_eq!(head.status, StatusCode::PAYLOAD_TOO_LARGE);
    let (head, body) = send(&mut sender, request(Method::HEAD, "/api/m/x", "")).await;
    assert_eq!((head.status, body.as_str()), (StatusCode::OK, ""));
    assert_ne!(head.headers["content-length"], "0");
    let (head, _) = send(&mut sender, request(Method::GET, "/api/m/panics", "")).await;
    assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
    let (head, _) = send(&mut sender, request(Method::GET, "/api/m/x", "")).await;
    assert_eq!(head.status, StatusCode::OK);
}

#[tokio::test]
async fn too_many_headers_are_rejected() {
    let host = host().config(|http| http.max_headers = 3).echo("GET x").start().await;
    let (mut sender, _task) = connect(&host).await;
    for (count, status) in [(3, StatusCode::OK), (4, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let mut request = request(Method::GET, "/api/m/x", "");
        for _ in 0..count {
            request.headers_mut().append("x", HeaderValue::from_static("1"));
        }
        assert_eq!(send(&mut sender, request).await.0.status, status);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_rejected() {
    let host = host().config(|http| http.max_header_bytes = 8_192).echo("GET x").start().await;
    let (mut sender, _task) = connect(&host).await;
    for (size, status) in [(7_000, StatusCode::OK), (9_000, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let mut request = request(Method::GET, "/api/m/x", "");
        request.headers_mut().append("x", "v".repeat(size).parse().unwrap());
        assert_eq!(send(&mut sender, request).await.0.status, status);
    }
}

#[tokio::test]
async fn a_call_beyond_the_local_streams_may_run_in_another_worker() {
    let (report, mut spills) = mpsc::unbounded_channel();
    let release = Arc::new(Semaphore::new(0));
    let released = release.clone();
    let host = host()
        .config(|http| http.local_streams = 2)
        .async_route("GET x", move |_, request| {
            let released = released.clone();
            report.send(request.spill).unwrap();
            async move {
                released.acquire().await.unwrap().forget();
                ok("")
            }
        })
        .start()
        .await;
    let (mut sender, _task) = connect(&host).await;
    let mut responses = Vec::new();
    for expected in [false, false, true, true] {
        sender.ready().await.unwrap();
        responses.push(tokio::spawn(sender.send_request(request(Method::GET, "/api/m/x", ""))));
        assert_eq!(spills.recv().await, Some(expected));
    }
    release.add_permits(5);
    for response in responses {
        response.await.unwrap().unwrap();
    }
    send(&mut sender, request(Method::GET, "/api/m/x", "")).await;
    assert_eq!(spills.recv().await, Some(false));
}

#[tokio::test]
async fn a_stop_closes_the_connection_and_lets_requests_finish() {
    let (report, mut started) = mpsc::unbounded_channel();
    let release = Arc::new(Semaphore::new(0));
    let released = release.clone();
    let host = host()
        .async_route("GET x", move |_, _| {
            let released = released.clone();
            report.send(()).unwrap();
            async move {
                released.acquire().await.unwrap().forget();
                ok("done")
            }
        })
        .start()
        .await;
    let (mut sender, task) = connect(&host).await;
    sender.ready().await.unwrap();
    let response = tokio::spawn(sender.send_request(request(Method::GET, "/api/m/x", "")));
    started.recv().await.unwrap();
    host.tasks.close();
    host.shut_down();
    release.add_permits(1);
    assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK);
    host.tasks.wait().await;
    task.await.unwrap().unwrap();
    assert!(sender.is_closed());
}

#[tokio::test]
async fn an_idle_http2_connection_closes() {
    let host = host()
        .config(|http| {
            (http.header_timeout, http.idle_timeout) = (Duration::from_millis(20), Duration::from_millis(80))
        })
        .echo("GET x")
        .start()
        .await;
    let (mut sender, task) = connect(&host).await;
    send(&mut sender, request(Method::GET, "/api/m/x", "")).await;
    task.await.unwrap().unwrap();
}
