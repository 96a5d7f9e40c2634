//! Subscribers that return, and services that end.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::process::{Service, spawn};
use super::{Client, next, service, value};
use crate::cli::project::Project;
use crate::harness::EventStream;

#[tokio::test]
async fn a_subscriber_that_returns_misses_nothing_and_gets_nothing_twice() {
    let host = service(json!({})).await;
    let mut stream = host.subscribe("type=a").await;
    let mut seen = Vec::new();
    for index in 0..200 {
        host.event(if index % 2 == 0 { "a" } else { "b" }, json!(index)).await;
        // Leaves after some events, before and after it has read them.
        if index % 7 == 0 {
            if index % 2 == 0 {
                seen.push(value(&mut stream).await);
            }
            let id = stream.last_id().to_owned();
            drop(stream);
            host.event("a", json!(format!("away {index}"))).await;
            stream = host.resume("type=a", &id).await;
        } else if index % 2 == 0 {
            seen.push(value(&mut stream).await);
        }
    }
    host.event("a", json!("end")).await;
    while seen.last() != Some(&json!("end")) {
        seen.push(value(&mut stream).await);
    }
    let mut expected = Vec::new();
    for index in 0..200 {
        expected.extend((index % 2 == 0).then(|| json!(index)));
        expected.extend((index % 7 == 0).then(|| json!(format!("away {index}"))));
    }
    expected.push(json!("end"));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_subscriber_that_was_away_for_thousands_of_events_gets_each_of_them() {
    let host = service(json!({})).await;
    let start = host.position().await;
    // Short events, of which many fit into one frame, and runs of another type that is not wanted.
    let list = |kind: &str, from: u64, count: u64| -> Vec<_> {
        (from..from + count).map(|number| json!({ "type": kind, "value": number })).collect()
    };
    for run in 0..5 {
        for events in [list("a", run * 700, 700), list("b", 0, 256 + run)] {
            assert_eq!(host.send_json(json!(events).to_string()).await.status, 200);
        }
    }
    for query in ["type=a", "type=a&type=c", "type=*"] {
        let mut stream = host.resume(query, &start).await;
        for number in 0..3_500 {
            let mut event = next(&mut stream).await;
            while event["type"] == "b" {
                event = next(&mut stream).await;
            }
            assert_eq!(event["value"], number, "{query}");
        }
    }
}

#[tokio::test]
async fn an_unknown_position_gets_a_reset_and_all_that_is_kept() {
    let host = service(json!({})).await;
    host.event("a", json!(1)).await;
    let position = host.position().await;
    let later = format!("{}-{}", position.split_once('-').unwrap().0, 99);
    for id in [later.as_str(), "1-1", "hello", "-", "18446744073709551616-1"] {
        let mut stream = host.resume("", id).await;
        assert_eq!(stream.event().await.unwrap().name(), "reset", "{id}");
        assert_eq!(value(&mut stream).await, 1);
    }
    let mut by_query = host.subscribe("lastEventId=hello").await;
    assert_eq!(by_query.event().await.unwrap().name(), "reset");
}

#[tokio::test]
async fn a_client_that_is_killed_resumes_from_the_position_that_it_printed() {
    let (service, project) = (Service::start(json!({})).await, Project::with(&[]));
    let address = service.events().to_string();
    let args = ["subscribe", "order/*", "--json", "--service", &address];
    let position = service.position().await;
    let (mut child, mut lines) = spawn(&project, &[&args[..], &["--from", &position]].concat());
    let mut read = Vec::new();
    for index in 0..20 {
        service.event("order/paid", json!(index)).await;
        service.event("other", json!(index)).await;
    }
    for _ in 0..7 {
        read.push(serde_json::from_str::<serde_json::Value>(&lines.next_line().await.unwrap().unwrap()).unwrap());
    }
    child.kill().await.unwrap();
    let last = read.last().unwrap()["position"].as_str().unwrap().to_owned();
    for index in 20..40 {
        service.event("order/paid", json!(index)).await;
    }
    let (_child, mut lines) = spawn(&project, &[&args[..], &["--from", &last]].concat());
    while read.len() < 40 {
        read.push(serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap());
    }
    let values: Vec<_> = read.iter().map(|event| event["value"].as_i64().unwrap()).collect();
    assert_eq!(values, (0..40).collect::<Vec<_>>());
    assert_eq!(read[0]["type"], "order/paid");
}

#[tokio::test]
async fn after_a_kill_of_the_service_its_subscribers_get_a_reset() {
    let service = Service::start(json!({})).await;
    let mut stream = service.subscribe("").await;
    service.event("a", json!(1)).await;
    assert_eq!(value(&mut stream).await, 1);
    let id = stream.last_id().to_owned();
    let service = service.kill_and_restart().await;
    assert!(stream.until_cut().await.is_empty());
    service.event("a", json!(2)).await;
    let mut stream = service.resume("", &id).await;
    assert_eq!(stream.event().await.unwrap().name(), "reset");
    assert_eq!(value(&mut stream).await, 2);
}

#[tokio::test]
async fn a_stop_ends_the_streams_after_what_was_emitted() {
    // More than the buffers of a socket hold, and less than the history.
    const EVENTS: usize = 40;
    let linger = json!({ "shutdown": { "linger": "60s", "drain": "90s" } });
    let service = Service::start_with(json!({}), linger).await;
    let mut slow = EventStream::open_small(service.events(), "/events").await;
    let mut quiet = service.subscribe("type=other").await;
    for index in 0..EVENTS {
        service.event("a", json!([index, "x".repeat(200_000)])).await;
    }
    let (code, events, others) = tokio::join!(service.stop(), slow.rest(), quiet.rest());
    assert_eq!((code, events.len(), others.len()), (Some(0), EVENTS, 0));
    for (index, event) in events.iter().enumerate() {
        assert!(event.starts_with(&format!("{{\"type\":\"a\",\"value\":[{index},")), "{index}");
    }

    let host = super::service(json!({})).await;
    let mut stream = host.subscribe("").await;
    host.event("a", json!(1)).await;
    host.stop().await;
    assert_eq!(stream.rest().await, [r#"{"type":"a","value":1}"#]);
}

#[tokio::test]
async fn the_command_names_the_position_after_which_to_continue() {
    let (service, project) = (Service::start(json!({})).await, Project::with(&[]));
    let (address, start) = (service.events().to_string(), service.position().await);
    let mut command = project.command(&["subscribe", "--from", &start, "--service", &address]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let position = service.event("a", json!(1)).await;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), format!("{position}  a  1"));
    service.kill().await;
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
    assert!(text.contains(&format!("--from {position}\n")), "{text}");
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn the_commands_publish_and_print_events() {
    let (service, project) = (Service::start(json!({})).await, Project::with(&[]));
    let address = format!("http://{}", service.events());
    for section in [json!({ "listen": service.events().to_string() }), json!({ "connect": address })] {
        let project = Project::with(&["echo"]).config(json!({ "events": section }));
        let found = project.run_in("modules/echo", &["publish", "found"]).await;
        assert!(found.code == 0 && !found.out.is_empty(), "{section}: {}", found.err);
    }
    let free = Project::with(&[]).config(json!({ "events": { "listen": ":0" } })).run(&["publish", "a"]).await;
    assert!(free.code == 1 && free.err.contains("events.listen is 127.0.0.1:0, where the service"), "{}", free.err);
    let position = service.position().await;
    let first = project.run(&["publish", "a", r#"{"n": 1}"#, "--service", &address]).await;
    assert_eq!((first.code, first.err.as_str()), (0, ""));
    assert_eq!(first.out.trim_end(), service.position().await);
    assert_eq!(
        project.run(&["publish", "b", "--json", "--service", &address]).await.json()["position"],
        service.position().await
    );
    let (mut child, mut lines) = spawn(&project, &["subscribe", "--from", &position, "--service", &address]);
    let line = lines.next_line().await.unwrap().unwrap();
    assert_eq!(line, format!("{}  a  {{\"n\": 1}}", first.out.trim_end()));
    assert!(lines.next_line().await.unwrap().unwrap().ends_with("  b  null"));
    assert_eq!(service.stop().await, Some(0));
    assert!(child.wait().await.unwrap().success(), "it ends with the service");

    let bad = project.run(&["publish", "a", "hello", "--service", &address]).await;
    assert_eq!(bad.code, 2, "{}", bad.err);
    let away = project.run(&["publish", "a", "--service", &address]).await;
    assert!(away.code == 1 && away.err.contains("cannot connect to an event service"), "{}", away.err);
    let mut reset = project.command(&["subscribe", "--service", &address]);
    let mut child = reset.stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
    assert!(text.contains("fanfare events serve"), "{text}");
}
