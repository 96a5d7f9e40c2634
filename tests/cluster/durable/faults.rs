//! Nodes, servers and networks that fail while durable broadcasts are emitted.

use std::time::Duration;

use rustix::process::Signal;

use super::*;
use crate::cluster::cable::Cable;

/// Checks that a worker has run all texts in their order, each once. After each kill of its
/// process, one may run again.
fn is_complete(seen: &[String], expected: &[String], kills: usize) {
    let mut once: Vec<String> = Vec::new();
    let mut again = 0;
    for text in seen {
        match once.last() == Some(text) {
            true => again += 1,
            false => once.push(text.clone()),
        }
    }
    assert_eq!(once, expected);
    assert!(again <= kills, "{again} ran again after {kills} kills: {seen:?}");
}

#[tokio::test]
async fn a_node_that_is_killed_again_and_again_runs_every_durable_broadcast_in_order() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let project = process(&nats.url(), "b-1");
    let mut b = serve(&project).await;
    let kills = 2;
    let all = numbers(0..150);
    let emits = async {
        for text in &all {
            let receipt = keep(&a, text).await;
            assert!(receipt["seq"].as_u64().is_some(), "{receipt}");
        }
    };
    let killed = async {
        for kill in 1..=kills {
            let some = || async { recorded(&project, "b-1", 0).len() > kill * 20 };
            eventually("it has run some", some).await;
            b.signal(Signal::KILL);
            b.ended().await;
            b = serve(&project).await;
        }
    };
    tokio::join!(emits, killed);
    for worker in [0, 1] {
        let last = || async { recorded(&project, "b-1", worker).last() == all.last() };
        eventually("it runs all", last).await;
        is_complete(&recorded(&project, "b-1", worker), &all, kills);
    }
    all_hear(&a, &all).await;
}

#[tokio::test]
async fn a_killed_nats_server_loses_nothing_that_it_has_acknowledged() {
    let Some(mut nats) = Nats::start().await else { return };
    let [a, b] = two(&nats).await;
    let (mut kept, mut lost) = (Vec::new(), 0);
    for round in 0..3 {
        let emits = async {
            let mut kept = Vec::new();
            for number in 0..40 {
                let text = format!("{round}-{number}");
                let receipt = keep(&a, &text).await;
                match receipt["seq"].as_u64() {
                    Some(_) => kept.push((text, true)),
                    None => kept.push((text, receipt["error"] == "timeout")),
                }
            }
            kept
        };
        let kill = async {
            let before = (round + 1) * 5;
            eventually("some are kept", || async {
                a.metric("fanfare_durable_kept_total", &[]).await >= f64::from(before)
            })
            .await;
            nats.kill();
            nats.run().await;
        };
        let (emitted, ()) = tokio::join!(emits, kill);
        lost += emitted.iter().filter(|(_, kept)| !kept).count();
        kept.extend(emitted);
        eventually("a is connected", || async { keep(&a, "up").await["seq"].is_u64() }).await;
    }
    println!("{} of {} were refused", lost, kept.len());
    let last = "end".to_owned();
    eventually("it is kept", || async { keep(&a, &last).await["seq"].is_u64() }).await;
    for host in [&a, &b] {
        for worker in [0, 1] {
            eventually("it hears the last", || async { texts(host, worker).await.contains(&last) }).await;
            let heard: Vec<String> = texts(host, worker).await.into_iter().filter(|text| text.contains('-')).collect();
            // One that timed out may have been kept; one that was refused was not.
            let expected: Vec<String> = kept.iter().filter(|(_, kept)| *kept).map(|(text, _)| text.clone()).collect();
            let sure: Vec<&String> = expected.iter().filter(|text| heard.contains(text)).collect();
            assert_eq!(heard.iter().collect::<Vec<_>>(), sure, "in order, each once, and no refused one");
        }
    }
}

#[tokio::test]
async fn what_is_emitted_while_nats_is_away_reaches_the_stream_when_it_is_back() {
    let Some(mut nats) = Nats::start().await else { return };
    let [a, b] = two(&nats).await;
    nats.kill();
    is_away(&a).await;
    let refused = keep(&a, "x").await;
    assert_eq!(refused["error"], "unavailable", "{refused}");
    let expected = numbers(0..200);
    for text in &expected {
        let receipt = emit(&a, text).await;
        assert_eq!((&receipt["accepted"], &receipt["seq"]), (&json!(2), &json!(0)), "{receipt}");
    }
    assert_eq!(a.metric("fanfare_durable_queued_broadcasts", &[]).await, 200.0);
    assert!(a.metric("fanfare_durable_queued_bytes", &[]).await > 200.0);
    nats.run().await;
    all_hear(&a, &expected).await;
    all_hear(&b, &expected).await;
    assert_eq!(a.metric("fanfare_durable_queued_broadcasts", &[]).await, 0.0);
}

#[tokio::test]
async fn a_broadcast_whose_acknowledgment_is_lost_is_sent_again_and_kept_once() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let a = host(&format!("nats://{}", cable.address), "a-1").start().await;
    reads(&a).await;
    let b = start(&nats, "b-1").await;
    sees(&a, &[("a-1", GUEST), ("b-1", GUEST)]).await;
    cable.pull();
    let expected = numbers(0..20);
    for text in &expected {
        emit(&a, text).await;
    }
    // Until the host gives this connection up.
    is_away(&a).await;
    // What was sent over the old connection arrives, too.
    cable.plug_in();
    all_hear(&b, &expected).await;
    all_hear(&a, &expected).await;
    assert!(a.metric("fanfare_durable_resent_total", &[]).await >= 1.0);
    assert_eq!(in_stream(&nats).await, 20);
}

#[tokio::test]
async fn a_broadcast_that_a_frozen_nats_server_has_received_is_sent_again_and_kept_once() {
    let Some(nats) = Nats::start().await else { return };
    let [a, b] = two(&nats).await;
    nats.signal(Signal::STOP);
    let expected = numbers(0..20);
    for text in &expected {
        emit(&a, text).await;
    }
    is_away(&a).await;
    nats.signal(Signal::CONT);
    all_hear(&a, &expected).await;
    all_hear(&b, &expected).await;
    assert!(a.metric("fanfare_durable_resent_total", &[]).await >= 1.0);
    assert_eq!(in_stream(&nats).await, 20);
}

#[tokio::test]
async fn a_broadcast_that_is_in_the_stream_twice_runs_once() {
    use async_nats::jetstream::stream::Config;
    let Some(nats) = Nats::start().await else { return };
    let context = jetstream(&nats).await;
    // A stream that forgets ids at once.
    let stream = Config {
        name: "fanfare_broadcasts".into(),
        subjects: vec!["fanfare.durable.>".into()],
        max_age: Duration::from_secs(86_400),
        max_bytes: 256 * 1_048_576,
        duplicate_window: Duration::from_millis(100),
        allow_direct: true,
        ..Config::default()
    };
    let stream = context.create_stream(stream).await.unwrap();
    let a = start(&nats, "a-1").await;
    keep(&a, "0").await;
    let first = stream.direct_get(1).await.unwrap();
    let again = async || {
        let (subject, headers, payload) = (first.subject.clone(), first.headers.clone(), first.payload.clone());
        context.publish_with_headers(subject, headers, payload).await.unwrap().await.unwrap()
    };
    eventually("the stream has it twice", || async { !again().await.duplicate }).await;
    keep(&a, "1").await;
    all_hear(&a, &numbers(0..2)).await;
    assert_eq!(a.metric("fanfare_durable_duplicates_total", &[]).await, 1.0);
    assert_eq!(a.metric("fanfare_durable_run_total", &[]).await, 2.0);
}

#[tokio::test]
async fn a_frozen_node_runs_each_durable_broadcast_once_when_it_continues() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let project = process(&nats.url(), "b-1");
    let b = serve(&project).await;
    let all = numbers(0..60);
    let emits = async {
        for text in &all {
            keep(&a, text).await;
        }
    };
    let freezes = async {
        eventually("it has run some", || async { recorded(&project, "b-1", 0).len() > 5 }).await;
        b.freeze().await;
    };
    tokio::join!(emits, freezes);
    all_hear(&a, &all).await;
    b.signal(Signal::CONT);
    for worker in [0, 1] {
        eventually("it runs all", || async { recorded(&project, "b-1", worker).last() == all.last() }).await;
        is_complete(&recorded(&project, "b-1", worker), &all, 0);
    }
}
