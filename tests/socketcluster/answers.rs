//! Events that clients answer.

use super::*;

/// Asks a client from outside, and returns the result once the client has answered as `answer`
/// says.
async fn ask(host: &Started, client: &mut WebSocket, id: &Value, answer: impl Fn(&Value) -> Option<String>) -> Value {
    let what = json!({ "do": "ask", "session": id, "name": "question", "payload": r#"{"q":1}"#, "timeout_ms": null });
    let answered = async {
        let question = client.json().await;
        assert_eq!((&question["event"], &question["data"]), (&json!("question"), &json!({ "q": 1 })), "{question}");
        if let Some(answer) = answer(&question["cid"]) {
            client.send(&answer).await;
        }
    };
    tokio::join!(host.ask_over_http(what), answered).0
}

#[tokio::test]
async fn a_client_answers_with_a_value_or_an_error() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        let id = sessions(&mut client, json!({ "do": "current" })).await["id"].clone();
        let good = |cid: &Value| Some(json!({ "rid": cid, "data": { "answer": 42 } }).to_string());
        assert_eq!(ask(&host, &mut client, &id, good).await, json!({ "answer": r#"{"answer":42}"# }));
        let empty = |cid: &Value| Some(json!({ "rid": cid }).to_string());
        assert_eq!(ask(&host, &mut client, &id, empty).await["error"], Value::Null);
        let error = json!({ "message": "cannot", "name": "ClientError", "code": 7 });
        let bad = |cid: &Value| Some(json!({ "rid": cid, "error": error, "data": "more" }).to_string());
        let failed = ask(&host, &mut client, &id, bad).await;
        assert_eq!(
            (&failed["error"], &failed["message"]),
            (&json!("failure"), &json!("ClientError: cannot")),
            "{failed}"
        );
        // Answers to nothing are dropped.
        client.send(r#"{"rid":77,"data":1}"#).await;
        assert_eq!(call(&mut client, "echo", json!(1)).await["data"], 1);
    }
}

#[tokio::test]
async fn a_client_that_leaves_or_does_not_answer_ends_the_question() {
    let host = with(json!({ "ackTimeout": "300ms" })).start().await;
    let mut client = open(&host, 1).await;
    let id = sessions(&mut client, json!({ "do": "current" })).await["id"].clone();
    assert_eq!(ask(&host, &mut client, &id, |_| None).await["error"], "timeout");
    let leave = |_: &Value| Some(r##"{"event":"#disconnect","data":{"code":1000}}"##.to_owned());
    assert_eq!(ask(&host, &mut client, &id, leave).await["error"], "unavailable");
}

#[tokio::test]
async fn another_client_cannot_answer() {
    let host = with(json!({ "ackTimeout": "300ms" })).start().await;
    let (mut client, mut other) = (open(&host, 2).await, open(&host, 2).await);
    let id = sessions(&mut client, json!({ "do": "current" })).await["id"].clone();
    let what = json!({ "do": "ask", "session": id, "name": "question", "payload": null, "timeout_ms": null });
    let answered = async {
        let cid = client.json().await["cid"].clone();
        other.send(&json!({ "rid": cid, "data": "forged" }).to_string()).await;
        assert_eq!(call(&mut other, "echo", json!(1)).await["data"], 1);
    };
    assert_eq!(tokio::join!(host.ask_over_http(what), answered).0["error"], "timeout");
}

#[tokio::test]
async fn a_plain_websocket_cannot_be_asked() {
    let host = with(json!({})).start().await;
    let mut plain = WebSocket::open(host.http, &format!("/api/{GUEST}/use")).await;
    let id = plain.ask(json!({ "do": "current" })).await["id"].clone();
    let what = json!({ "do": "ask", "session": id, "name": "question", "payload": null, "timeout_ms": null });
    assert_eq!(host.ask_over_http(what).await["error"], "invalid");
}

#[tokio::test]
async fn a_client_is_read_while_all_its_messages_wait_for_its_answers() {
    let host = with(json!({ "inFlight": 2 })).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        let id = sessions(&mut client, json!({ "do": "current" })).await["id"].clone();
        let what = json!({ "do": "ask", "session": id, "name": "question", "payload": null, "timeout_ms": null });
        for cid in [2, 3] {
            client.send(&json!({ "event": "use", "data": what, "cid": cid }).to_string()).await;
        }
        let questions = [client.json().await["cid"].clone(), client.json().await["cid"].clone()];
        // Two more messages begin, and no others.
        let echoes = (4..7).map(|cid| json!({ "event": "echo", "cid": cid }).to_string());
        let answers = questions.iter().map(|cid| json!({ "rid": cid, "data": cid }).to_string());
        for message in echoes.chain(answers) {
            client.send(&message).await;
        }
        let mut answered = Vec::new();
        for _ in 0..5 {
            let answer = client.json().await;
            assert!(answer.get("error").is_none() && answer["data"].get("error").is_none(), "{answer}");
            answered.push(answer["rid"].as_u64().unwrap());
        }
        answered.sort_unstable();
        assert_eq!(answered, [2, 3, 4, 5, 6]);
    }
}
