//! The kept messages of channels over HTTP: `GET <websocket.history>/<channel>`.

use super::*;
use crate::harness::Answer;

const PATH: &str = "/channels";

/// A host that serves histories.
async fn host() -> Started {
    with(json!({ "history": PATH })).start().await
}

/// The data of the messages of a page.
fn data(page: &Value) -> Vec<Value> {
    page["messages"].as_array().unwrap().iter().map(|message| message["data"].clone()).collect()
}

/// Publishes the numbers from 1 as the messages of a channel.
async fn fill(host: &Started, channel: &str, count: u32) -> Client {
    let mut client = Client::subscribed(host, 2, channel).await;
    for number in 1..=count {
        client.publish(channel, json!(number)).await;
    }
    client
}

fn numbers(from: u32, to: u32) -> Vec<Value> {
    (from..=to).map(|number| json!(number)).collect()
}

#[tokio::test]
async fn a_reader_gets_what_a_member_gets_with_history() {
    let host = host().await;
    let channel = "channels/history/a b";
    let mut client = fill(&host, channel, 5).await;
    let answer = host.get(&format!("{PATH}/channels/history/a%20b")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let page = answer.json();
    assert_eq!(data(&page), numbers(1, 5));
    assert_eq!(page, client.ok("#history", json!({ "channel": channel })).await);
    let message = &page["messages"][1];
    assert_eq!(message["session"], json!(client.id));
    assert!(message["at"].as_u64() > Some(1_700_000_000_000), "{message}");
    assert_eq!(page["messages"][4]["position"], page["position"]);
    // The slash of the name may be escaped.
    assert_eq!(host.get(&format!("{PATH}/channels%2Fhistory%2Fa%20b")).await.json(), page);

    let after = message["position"].as_str().unwrap();
    let next = host.get(&format!("{PATH}/channels/history/a%20b?after={after}&limit=2")).await.json();
    assert_eq!((data(&next), &next["complete"]), (numbers(3, 4), &json!(true)));
    assert_eq!(next["position"], page["position"], "the newest message, also if the page does not reach it");
    let after = page["position"].as_str().unwrap();
    let none = host.get(&format!("{PATH}/channels/history/a%20b?after={after}")).await.json();
    assert_eq!((data(&none), &none["complete"]), (Vec::new(), &json!(true)));
    let newest = host.get(&format!("{PATH}/channels/history/a%20b?limit=2")).await.json();
    assert_eq!(data(&newest), numbers(4, 5));
}

#[tokio::test]
async fn a_reader_learns_that_messages_are_missing() {
    let host = host().await;
    let mut client = fill(&host, "channels/history", 1).await;
    let first = client.message().await["position"].as_str().unwrap().to_owned();
    for number in 2..=6 {
        client.publish("channels/history", json!(number)).await;
    }
    // The channel keeps three messages.
    let missed = host.get(&format!("{PATH}/channels/history?after={first}")).await.json();
    assert_eq!((data(&missed), &missed["complete"]), (numbers(4, 6), &json!(false)));
    let other = host.get(&format!("{PATH}/channels/history?after=abc-5")).await.json();
    assert_eq!((data(&other), &other["complete"]), (numbers(4, 6), &json!(false)), "another epoch");
    // A channel without a history, one that nobody declares, and one that nobody has used.
    for channel in ["channels/plain", "undeclared", "channels/history/unused"] {
        let page = host.get(&format!("{PATH}/{channel}?after={first}")).await.json();
        assert_eq!(page, json!({ "position": null, "complete": false, "messages": [] }), "{channel}");
    }
}

#[tokio::test]
async fn a_page_has_at_most_the_bytes_of_the_queue() {
    let host = with(json!({ "history": PATH, "queue": { "bytes": "8KiB" } })).start().await;
    let text = |number: u32| json!(format!("{number}{}", "x".repeat(1_000)));
    let mut client = Client::open(&host, 2).await;
    for number in 1..=20 {
        client.publish("channels/history/long", text(number)).await;
    }
    let path = format!("{PATH}/channels/history/long");
    // The newest messages that fit.
    let newest = host.get(&path).await.json();
    let (last, read) = (newest["position"].as_str().unwrap(), data(&newest).len());
    assert!((1..=8).contains(&read), "{read} messages");
    assert_eq!(data(&newest).last(), Some(&text(20)));
    // From the first message on, page after page.
    let mut after = format!("{}-0", last.split_once('-').unwrap().0);
    let mut pages = Vec::new();
    while after != last {
        let answer = host.get(&format!("{path}?after={after}")).await;
        assert!(answer.text().len() <= 8 << 10, "{} bytes", answer.text().len());
        let page = answer.json();
        assert_eq!(page["complete"], json!(true));
        after = page["messages"].as_array().unwrap().last().unwrap()["position"].as_str().unwrap().to_owned();
        pages.push(data(&page));
    }
    assert!(pages.len() > 2, "{} pages", pages.len());
    assert_eq!(pages.concat(), (1..=20).map(text).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_has_at_most_1_000_messages_whatever_the_limit_says() {
    let channels = json!({ "channels/many": { "history": 1_100 } });
    let host = with(json!({ "history": PATH })).manifest(GUEST, json!({ "channels": channels })).start().await;
    let mut client = Client::subscribed(&host, 2, "channels/many").await;
    let events = |from: u32| -> Vec<Value> {
        let event =
            |n: u32| json!({ "event": "#publish", "data": { "channel": "channels/many", "data": n }, "cid": n });
        (from..from + 50).map(event).collect()
    };
    for from in (1_001..2_101).step_by(50) {
        client.socket.send(&json!(events(from)).to_string()).await;
        for number in from..from + 50 {
            assert_eq!(client.answer(number.into()).await["error"], Value::Null);
        }
    }
    let last = client.ok("#history", json!({ "channel": "channels/many", "limit": 1 })).await;
    let last = last["position"].as_str().unwrap().to_owned();
    let first = format!("{}-1", last.split_once('-').unwrap().0);
    for limit in [1_000u64, 1_001, u64::MAX] {
        let page = host.get(&format!("{PATH}/channels/many?after={first}&limit={limit}")).await.json();
        assert_eq!((data(&page), &page["position"]), (numbers(1_002, 2_001), &json!(last)), "{limit}");
        let asked = json!({ "channel": "channels/many", "after": first, "limit": limit });
        assert_eq!(client.ok("#history", asked).await, page, "{limit}");
    }
    let newest = host.get(&format!("{PATH}/channels/many")).await.json();
    assert_eq!(data(&newest), numbers(1_101, 2_100));
}

#[tokio::test]
async fn the_route_of_the_channel_decides_who_reads() {
    // The handler `burst` rejects what is no JSON, such as a request without a payload.
    let channels = json!({ "channels/closed": { "path": "burst", "on": ["subscribe"], "history": 10 } });
    let host = with(json!({ "history": PATH })).manifest(GUEST, json!({ "channels": channels })).start().await;
    let channel = "channels/kept/room";
    fill(&host, channel, 2).await;
    let page = host.get(&format!("{PATH}/{channel}")).await;
    assert_eq!((page.status, data(&page.json())), (200, numbers(1, 2)));
    let seen = host.at_home(channel, "seen", Value::Null).await;
    let last = seen.as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["action"], &last["session"], &last["own"]), (&json!("subscribe"), &json!(null), &json!(null)));
    assert!(last["isolate"].as_str().unwrap().starts_with("broker-"), "{last}");
    let closed = host.get(&format!("{PATH}/channels/closed")).await;
    assert!((400..500).contains(&closed.status), "{} {}", closed.status, closed.text());
    assert_eq!(host.metric("fanfare_channel_refused_total", &["action=\"subscribe\""]).await, 1.0);
    // The route of this channel decides for each client about each message.
    let each = host.get(&format!("{PATH}/channels/all/room")).await;
    assert_eq!((each.status, each.code().as_str()), (400, "invalid"), "{}", each.text());
    assert!(each.text().contains("`deliver`"), "{}", each.text());
}

#[tokio::test]
async fn only_declared_channels_have_a_history_if_clients_may_use_only_these() {
    let host = with(json!({ "history": PATH, "channels": "declared" })).start().await;
    fill(&host, "channels/history/1", 1).await;
    assert_eq!(host.get(&format!("{PATH}/channels/history/1")).await.status, 200);
    let undeclared = host.get(&format!("{PATH}/other")).await;
    assert_eq!((undeclared.status, undeclared.code().as_str()), (403, "forbidden"));
}

#[tokio::test]
async fn without_the_setting_there_is_no_such_path() {
    let host = with(json!({})).start().await;
    assert_eq!(host.get("/channels/channels/history").await.status, 404);
    let other = self::host().await;
    assert_eq!(other.get("/channels").await.status, 404);
    assert_eq!(other.get("/channelsX/a").await.status, 404);
}

#[tokio::test]
async fn a_request_that_the_route_does_not_accept_says_what_to_change() {
    let host = host().await;
    let path = format!("{PATH}/channels/history");
    let status = |answer: &Answer| (answer.status, answer.code());
    let post = host.post(&path, "").await;
    assert_eq!(status(&post), (405, "method-not-allowed".to_owned()));
    assert_eq!(post.header("allow"), Some("GET, HEAD, OPTIONS"));
    let body = host.request("GET", &path, &[], "x").await;
    assert_eq!(status(&body), (400, "bad-request".to_owned()));
    let longer = format!("{PATH}/{}", "k".repeat(257));
    for bad in [&format!("{PATH}/"), &format!("{path}?after=1"), &format!("{path}?limit=all"), &longer] {
        let answer = host.get(bad).await;
        assert_eq!(status(&answer), (400, "bad-request".to_owned()), "{bad}: {}", answer.text());
    }
    let head = host.request("HEAD", &path, &[], "").await;
    assert_eq!((head.status, head.text()), (200, ""));
    let options = host.request("OPTIONS", &path, &[], "").await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
}

#[tokio::test]
async fn pages_of_other_origins_read_histories_as_http_cors_says() {
    let origin = "https://app.example.test";
    let cors = json!({ "http": { "cors": { "origins": [origin] } } });
    let host = with(json!({ "history": PATH })).config(cors).start().await;
    let path = format!("{PATH}/channels/history");
    let allowed = async |from: &str| {
        let answer = host.request("GET", &path, &[("origin", from)], "").await;
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!((allowed(origin).await.as_deref(), allowed("https://other.test").await), (Some(origin), None));
    let preflight = [("origin", origin), ("access-control-request-method", "GET")];
    let answer = host.request("OPTIONS", &path, &preflight, "").await;
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
}
