//! The example modules in JavaScript and Python: `webhook`, and `scorer` with the module `chat`.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::sdk::built;
use crate::channels::Client;
use crate::cli::project::Project;
use crate::harness::{Answer, EventStream, Started, TestHost, eventually, json_of, root};

const WEBHOOK: &str = include_str!("../../sdk/js/examples/webhook/module.json");
const SCORER: &str = include_str!("../../sdk/python/examples/scorer/module.json");
const SECRET: &str = "It's a secret to everybody";
const ROOM: &str = "chat/room/tea";
const SPAM: &str = "WIN free money now!!! Click http://win.example";

/// The HMAC of RFC 2104 for a secret of at most one block.
fn signature(body: &str) -> String {
    let pad = |with: u8| (0..64).map(|at| SECRET.as_bytes().get(at).unwrap_or(&0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(body).finalize();
    let hash = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    hash.iter().fold("sha256=".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Starts a host with two workers and the module `webhook`, if it is built.
async fn webhook() -> Option<Started> {
    let component = built("webhook", "webhook")?;
    let secrets = json!({ "webhook": { "file": "webhook.txt" } });
    let host = TestHost::empty()
        .file("modules/webhook/module.json", WEBHOOK)
        .file("modules/webhook/webhook.wasm", component)
        .file("webhook.txt", SECRET)
        .grant("webhook", json!({ "secrets": ["webhook"] }))
        .config(json!({ "sse": {}, "modules": { "webhook": { "secrets": secrets } } }))
        .config(json!({ "limits": { "max": { "timeout": "60s", "startup": "60s" } } }))
        .limit("webhook", "timeout", "30s");
    Some(host.start().await)
}

async fn deliver(host: &Started, id: &str, body: &str, signature: &str) -> Answer {
    let headers = [("x-hub-signature-256", signature), ("x-github-delivery", id), ("x-github-event", "push")];
    host.request("POST", "/api/webhook/", &headers, body).await
}

#[tokio::test]
async fn each_passes_its_cases() {
    for (name, folder) in [("webhook", "sdk/js/examples/webhook"), ("scorer", "sdk/python/examples/scorer")] {
        let Some(component) = built(name, name) else { continue };
        let source = |file: &str| fs::read(root().join(folder).join(file)).unwrap();
        let cases = format!("{name}.test.json");
        let project = Project::with(&[])
            .file(&format!("modules/{name}/module.json"), source("module.json"))
            .file(&format!("modules/{name}/{cases}"), source(&cases))
            .file(&format!("modules/{name}/{name}.wasm"), component);
        let ran = project.run(&["test", name]).await;
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    }
}

#[tokio::test]
async fn a_webhook_reaches_every_worker_and_the_readers_once() {
    let Some(host) = webhook().await else { return };
    let mut reader = EventStream::open(host.http, "/stream?connectKey=webhook").await;
    let body = r#"{"ref": "main"}"#;
    for (signature, body) in [("", body), (&*signature("{}"), body), (&*signature(body), r#"{"ref":"main"}"#)] {
        let refused = deliver(&host, "one", body, signature).await;
        assert_eq!((refused.status, refused.code()), (401, "wrong-signature".to_owned()), "{signature}");
    }
    let accepted = deliver(&host, "one", body, &signature(body)).await;
    assert_eq!((accepted.status, accepted.json()), (200, json!({ "delivery": "one", "new": true })));
    let event = json!({ "delivery": "one", "event": "push", "body": { "ref": "main" } });
    for worker in ["worker-0", "worker-1"] {
        let last = host.call(worker, "webhook", "last&method=GET", "").await;
        assert_eq!(json_of(&last), event, "{worker}");
    }

    assert_eq!(host.reload("webhook").await["outcome"], "swapped");
    for _ in 0..4 {
        assert_eq!(deliver(&host, "one", body, &signature(body)).await.json()["new"], false);
    }
    assert_eq!(deliver(&host, "two", "text", &signature("text")).await.json()["new"], true);
    let first = reader.event().await.unwrap();
    assert_eq!((first.name(), serde_json::from_str::<Value>(first.text()).unwrap()), ("push", event));
    let second: Value = serde_json::from_str(reader.event().await.unwrap().text()).unwrap();
    assert_eq!(second, json!({ "delivery": "two", "event": "push", "body": "text" }));
}

/// A host with `chat`, which asks a scorer if `route` names one.
fn chat(route: Value) -> TestHost {
    let listener = json!({ "path": "/socketcluster/", "module": "chat" });
    TestHost::with("chat")
        .grant("chat", json!({ "sessions": true, "rpc": ["scorer"] }))
        .config(json!({ "websocket": { "listeners": [listener] } }))
        .config(json!({ "modules": { "chat": { "config": { "spam": { "route": route } } } } }))
        .config(json!({ "limits": { "max": { "timeout": "60s", "startup": "60s" } } }))
}

/// A client with a name, in the room.
async fn in_the_room(host: &Started) -> Client {
    let mut client = Client::open(host, 2).await;
    client.ok("sign-in", json!({ "name": "Ada", "secret": "the secret of Ada" })).await;
    client.ok("#subscribe", json!({ "channel": ROOM })).await;
    client
}

fn message(text: &str) -> Value {
    json!({ "channel": ROOM, "data": { "text": text } })
}

#[tokio::test]
async fn the_chat_refuses_what_the_scorer_takes_for_spam() {
    let Some(component) = built("scorer", "scorer") else { return };
    let host = chat(json!("scorer/score"))
        .file("modules/scorer/module.json", SCORER)
        .file("modules/scorer/scorer.wasm", component)
        .start()
        .await;
    let mut ada = in_the_room(&host).await;
    let refused = ada.error("#publish", message(SPAM)).await;
    assert_eq!(refused["name"], "spam", "{refused}");
    ada.ok("#publish", message("see you at the meeting")).await;
    assert_eq!(ada.message().await["data"]["text"], "see you at the meeting");

    // The workers learn that this is spam, and know it after a swap.
    let text = "zorblax quuxify frobnicate";
    ada.ok("#publish", message(text)).await;
    for _ in 0..3 {
        let judged = json!({ "text": text, "spam": true }).to_string();
        let learned = host.call("any", "scorer", "learn", judged).await;
        assert_eq!(json_of(&learned), json!({ "workers": 2 }));
    }
    assert_eq!(host.reload("scorer").await["outcome"], "swapped");
    assert_eq!(ada.error("#publish", message(text)).await["name"], "spam");
}

#[tokio::test]
async fn the_chat_works_without_a_scorer() {
    let host = chat(Value::Null).start().await;
    let mut ada = in_the_room(&host).await;
    ada.ok("#publish", message(SPAM)).await;
    assert_eq!(ada.message().await["data"]["text"], SPAM);
    drop(host);

    let host = chat(json!("scorer/score")).start().await;
    let mut ada = in_the_room(&host).await;
    ada.ok("#publish", message(SPAM)).await;
    let warned = || async { host.log.contains(&["module=chat", "WARN", "scorer/score did not score a text"]) };
    eventually("the chat says that nobody scored the text", warned).await;
}
