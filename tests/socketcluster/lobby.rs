//! The example module `lobby`: released clients of SocketCluster and a plain WebSocket in one
//! group.

use super::driver::clients;
use super::*;

#[tokio::test]
async fn released_clients_and_a_plain_websocket_talk_in_the_example_lobby() {
    let listeners = [1, 2].map(|version| json!({ "path": PATHS[version - 1], "protocol": version, "module": "lobby" }));
    let host = TestHost::with("lobby").grant("lobby", json!({ "sessions": true }));
    let host = host.config(json!({
        "websocket": { "listeners": listeners },
        "modules": { "lobby": { "config": { "tokens": { "demo-dora": "dora" } } } },
    }));
    let host = host.start().await;
    let Some(mut clients) = clients(host.http).await else { return };
    let users = ["ada", "bob", "cleo"];
    for (client, user) in clients.iter_mut().zip(users) {
        let refused = client.call("say", json!({ "group": "tea", "text": "hi" })).await;
        assert_eq!(refused["error"]["name"], "not-signed-in", "{}", client.name);
        let person = client.data("sign-in", json!({ "token": format!("demo-{user}") })).await;
        assert_eq!(person["uid"], user, "{}", client.name);
        client.data("join", json!({ "group": "tea" })).await;
    }
    let mut plain = WebSocket::open(host.http, "/api/lobby/socket").await;
    let signed_in = plain.ask(json!({ "do": "sign-in", "token": "demo-dora", "id": 1 })).await;
    assert_eq!(signed_in["ok"]["uid"], "dora");
    plain.send(r#"{"do":"join","group":"tea","id":2}"#).await;
    assert_eq!(plain.json().await["event"], "joined");
    assert_eq!(plain.json().await["ok"]["sessions"], 4);

    for (index, user) in users.into_iter().enumerate() {
        let message = json!({ "group": "tea", "text": format!("hello from {user}") });
        assert_eq!(clients[index].data("say", message).await["reached"], 4);
        let said = plain.json().await;
        assert_eq!((&said["from"]["uid"], &said["event"]), (&json!(user), &json!("said")));
        for client in &mut clients {
            let event = client.wait("event").await;
            assert_eq!((&event["name"], &event["data"]), (&json!("said"), &said), "{}", client.name);
        }
        let private = json!({ "do": "whisper", "to": user, "text": "psst" });
        assert_eq!(plain.ask(private).await["ok"]["reached"], 1);
        let event = clients[index].wait("event").await;
        assert_eq!((&event["name"], &event["data"]["text"]), (&json!("whispered"), &json!("psst")));
    }
}
