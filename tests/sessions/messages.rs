//! Messages to clients, from them, and the end of a connection.

use super::*;
use crate::harness::{Received, eventually};
use crate::middlewares::behind;

fn send(to: Value, payload: Value) -> Value {
    json!({ "do": "send", "to": to, "name": "note", "payload": payload })
}

#[tokio::test]
async fn a_message_reaches_a_session_a_user_a_group_the_bound_and_everyone() {
    let host = granted().start().await;
    let ((mut first, first_id), (mut second, second_id)) = (host.client().await, host.client().await);
    let mut third = host.socket("echo").await;
    first.ask(json!({ "do": "bind", "session": null, "uid": "ada", "taken": "share" })).await;
    second.ask(json!({ "do": "join", "group": "g", "sessions": [second_id] })).await;
    let node = first_id.split_once('/').unwrap().0;
    for (to, reached, [to_first, to_second, to_third]) in [
        (json!({ "session": first_id }), 1, [true, false, false]),
        (json!({ "uid": "ada" }), 1, [true, false, false]),
        (json!({ "uidOn": ["ada", node] }), 1, [true, false, false]),
        (json!({ "uidOn": ["ada", "elsewhere"] }), 0, [false, false, false]),
        (json!({ "group": "g" }), 1, [false, true, false]),
        (json!("bound"), 1, [true, false, false]),
        (json!("everyone"), 3, [true, true, true]),
        (json!({ "uid": "nobody" }), 0, [false, false, false]),
        (json!({ "group": "none" }), 0, [false, false, false]),
        (json!({ "session": "n/nobody" }), 0, [false, false, false]),
    ] {
        let text = to.to_string();
        assert_eq!(host.outside(send(to.clone(), json!(text))).await, reached, "{to}");
        for (socket, is_for) in [(&mut first, to_first), (&mut second, to_second), (&mut third, to_third)] {
            if is_for {
                assert_eq!(socket.text().await, text);
            }
        }
    }
    // Nothing else has arrived.
    assert_eq!(first.ask(json!({ "do": "count" })).await, json!([3, 1]));
    third.send("end").await;
    assert_eq!(third.text().await, "end");
}

#[tokio::test]
async fn a_message_of_a_client_passes_the_middlewares_of_its_route() {
    let host = behind(granted(), GUEST, "echo", "change").start().await;
    let mut socket = host.socket("echo").await;
    socket.send("hello").await;
    assert_eq!(socket.text().await, "hello!");
    let host = behind(granted(), GUEST, "append", "fail").start().await;
    let mut socket = host.socket("append").await;
    socket.send("hello").await;
    let failed = ["trigger=\"client\"", "outcome=\"failure\""];
    eventually("the message failed", || async { host.metric("fanfare_calls_total", &failed).await >= 1.0 }).await;
}

#[tokio::test]
async fn messages_before_a_reply_arrive_before_it_and_in_their_order() {
    let host = granted().start().await;
    let mut socket = host.socket("burst").await;
    for _ in 0..20 {
        socket.send("50").await;
    }
    // A handler may send before the reply of the previous one has left.
    let (mut sent, mut replies) = (0, 0);
    while replies < 20 {
        match &*socket.text().await {
            "done" => replies += 1,
            number => {
                assert_eq!(number, (sent % 50 + 1).to_string());
                sent += 1;
            }
        }
        assert!(sent >= replies * 50, "{replies} replies after {sent} messages");
    }
    assert_eq!(sent, 1_000);
}

#[tokio::test]
async fn a_push_reports_its_recipients() {
    let host = granted().start().await;
    let ((mut client, id), (mut other, _)) = (host.client().await, host.client().await);
    // A recipient that is named twice counts once.
    let one = json!([{ "session": id }, { "uid": "nobody" }, { "group": "none" }, "everyone"]);
    let to: Vec<&Value> = one.as_array().unwrap().iter().chain(one.as_array().unwrap()).collect();
    let pushed = host.outside(json!({ "do": "push", "to": to, "name": "note", "payload": "x" })).await;
    assert_eq!((&pushed["reached"], &pushed["silent"]), (&json!(3), &json!([])));
    assert_eq!(pushed["unknown"], json!([r#"Recipient::Uid("nobody")"#, r#"Recipient::Group("none")"#]));
    assert_eq!([client.text().await, client.text().await, other.text().await], ["x", "x", "x"]);
    assert_eq!(client.ask(json!({ "do": "count" })).await, json!([2, 0]), "nothing else has arrived");
}

#[tokio::test]
async fn texts_and_bytes_arrive_as_such() {
    let host = granted().start().await;
    let (mut client, id) = host.client().await;
    let mut echo = host.socket("echo").await;
    echo.send_bytes(&[0, 255]).await;
    assert_eq!(echo.next().await, Received::Bytes(vec![0, 255]));
    echo.send("\u{e4}").await;
    assert_eq!(echo.text().await, "\u{e4}");
    assert_eq!(host.outside(send(json!({ "session": id }), json!([1, 2]))).await, 1);
    assert_eq!(client.next().await, Received::Bytes(vec![1, 2]));
}

#[tokio::test]
async fn a_message_has_a_name_a_known_recipient_and_a_largest_size() {
    let host = granted().limit(GUEST, "payload", "4KiB").start().await;
    let (_client, id) = host.client().await;
    let named = |name: &str| json!({ "do": "send", "to": { "session": id }, "name": name, "payload": null });
    for name in ["", "a\nb", &"n".repeat(257)] {
        assert_eq!(error(&host.outside(named(name)).await), "invalid", "{name:?}");
    }
    assert_eq!(host.outside(named(&"n".repeat(256))).await, 1);
    let other = send(json!({ "other": ["channel", "a"] }), json!("x"));
    assert_eq!(error(&host.outside(other).await), "invalid");
    let over = json!({ "do": "push", "to": [{ "session": id }], "name": "n", "payload": "x".repeat(4_096) });
    assert!(
        host.post("/api/sessions/outside/use", over.to_string()).await.status >= 400,
        "over limits.payload already"
    );
}

#[tokio::test]
async fn a_plain_client_has_no_tokens_and_no_answers() {
    let host = granted().start().await;
    let (mut client, id) = host.client().await;
    let ask = json!({ "do": "ask", "session": id, "name": "q", "payload": null, "timeout_ms": null });
    assert_eq!(error(&client.ask(ask).await), "invalid");
    let token = |claims: &str| json!({ "do": "authenticate", "session": null, "claims": claims, "expires_ms": null });
    assert_eq!(error(&client.ask(token("[]")).await), "invalid");
    let refused = client.ask(token("{}")).await;
    assert!(["invalid", "unavailable"].contains(&error(&refused)), "{refused}");
}

#[tokio::test]
async fn a_disconnect_sends_what_is_queued_then_its_code() {
    let host = granted().start().await;
    let ((mut client, id), (mut other, other_id)) = (host.client().await, host.client().await);
    for code in [0, 999, 1001, 3999, 5000] {
        let result = client.ask(json!({ "do": "disconnect", "session": null, "code": code, "reason": "" })).await;
        assert_eq!(error(&result), "invalid", "{code}");
    }
    let long = json!({ "do": "disconnect", "session": null, "code": 1000, "reason": "r".repeat(124) });
    assert_eq!(error(&client.ask(long).await), "invalid");
    for number in 0..100 {
        host.outside(send(json!({ "session": other_id }), json!(number.to_string()))).await;
    }
    let end = json!({ "do": "disconnect", "session": other_id, "code": 4123, "reason": "bye" });
    assert_eq!(client.ask(end).await, Value::Null);
    for number in 0..100 {
        assert_eq!(other.text().await, number.to_string());
    }
    assert_eq!(other.next().await, Received::Close(4123, "bye".to_owned()));
    let end = json!({ "do": "disconnect", "session": id, "code": 1000, "reason": "" });
    client.send(&end.to_string()).await;
    assert_eq!(client.closed().await, 1000);
}

#[tokio::test]
async fn a_silent_failure_is_counted_and_not_logged() {
    let host = granted().start().await;
    let mut socket = host.socket("fail").await;
    for (message, silent) in [("a silent one", "true"), ("a loud one", "false")] {
        let failure = json!({ "name": "no", "message": message, "silent": silent, "close-code": "4000" });
        socket.send(&failure.to_string()).await;
        assert_eq!(socket.closed().await, 4000);
        socket = host.socket("fail").await;
    }
    assert_eq!(host.log.lines(&["a call failed", "a silent one"]), [""; 0]);
    assert_eq!(host.log.lines(&["a call failed", "a loud one"]).len(), 1);
    assert!(host.metric("fanfare_calls_total", &["trigger=\"client\"", "outcome=\"failure\""]).await >= 2.0);
}

#[tokio::test]
async fn a_failure_closes_a_plain_socket_only_with_a_close_code() {
    let host = granted().start().await;
    let mut socket = host.socket("fail").await;
    socket.send(&json!({ "name": "no", "message": "not now", "status": 403 }).to_string()).await;
    socket.send(&json!({ "name": "no", "message": "go", "close-code": "4321" }).to_string()).await;
    assert_eq!(socket.closed().await, 4321);
    assert!(host.metric("fanfare_calls_total", &["trigger=\"client\"", "outcome=\"failure\""]).await >= 2.0);
}
