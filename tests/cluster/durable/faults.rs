//! Nodes, servers and networks that fail while durable broadcasts are emitted.

use std::path::PathBuf;

use rustix::process::Signal;

use super::*;

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
async fn a_broadcast_that_the_stream_refuses_for_a_moment_keeps_its_place() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let context = jetstream(&nats).await;
    let most = async |size: i32| {
        let config = context.get_stream("fanfare_broadcasts").await.unwrap().cached_info().config.clone();
        let config = async_nats::jetstream::stream::Config { max_message_size: size, ..config };
        context.update_stream(config).await.unwrap();
    };
    let large = format!("large {}", "x".repeat(10_000));
    most(5_000).await;
    let expected: Vec<String> = ["0", "1", &large, "2", "3"].map(str::to_owned).to_vec();
    for text in &expected {
        assert_eq!(emit(&a, text).await["accepted"], 2);
    }
    all_hear(&a, &expected[..2]).await;
    eventually("it was refused", || async { a.log.contains(&["the stream of durable broadcasts does not accept"]) })
        .await;
    // One that waits for the stream follows those that were emitted before it.
    assert_eq!(keep(&a, "4").await["error"], "unavailable");
    assert_eq!(in_stream(&nats).await, 2);
    most(-1).await;
    all_hear(&a, &expected).await;
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
async fn a_node_that_is_frozen_until_it_is_gone_runs_each_durable_broadcast_once_when_it_continues() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let project = process(&nats.url(), "b-1");
    let b = serve(&project).await;
    sees(&a, &[("a-1", GUEST), ("b-1", GUEST)]).await;
    let all = numbers(0..60);
    for text in &all[..20] {
        keep(&a, text).await;
    }
    // In a run, the time of the call would pass, and the handler would run again.
    let position = || async { b.operator("GET", "/v1/broadcasts").await.json()["modules"][0]["position"].clone() };
    eventually("it has run all of them", || async { position().await == 20 }).await;
    b.freeze().await;
    for text in &all[20..40] {
        keep(&a, text).await;
    }
    sees(&a, &[("a-1", GUEST)]).await;
    for text in &all[40..] {
        keep(&a, text).await;
    }
    all_hear(&a, &all).await;
    // The server has offered the one that b had again meanwhile.
    let frozen = std::time::Instant::now();
    eventually("the wait for its acknowledgment is over", || async { frozen.elapsed().as_secs() >= 5 }).await;
    b.signal(Signal::CONT);
    for worker in [0, 1] {
        eventually("it runs all", || async { recorded(&project, "b-1", worker).last() == all.last() }).await;
        is_complete(&recorded(&project, "b-1", worker), &all, 0);
    }
    sees(&a, &[("a-1", GUEST), ("b-1", GUEST)]).await;
}

#[tokio::test]
async fn a_node_that_was_cut_off_runs_what_it_missed_in_order_and_what_it_emitted_is_kept_once() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let a = start(&nats, "a-1").await;
    let b = host(&format!("nats://{}", cable.address), "b-1").start().await;
    reads(&b).await;
    sees(&a, &[("a-1", GUEST), ("b-1", GUEST)]).await;
    let all = numbers(0..60);
    let keeps = async |texts: &[String]| {
        for text in texts {
            assert!(keep(&a, text).await["seq"].is_u64());
        }
    };
    keeps(&all[..20]).await;
    all_hear(&b, &all[..20]).await;
    cable.pull();
    keeps(&all[20..40]).await;
    // The connection is not known to be lost: the stream may have it.
    let sent = keep(&b, "sent").await;
    assert!(["timeout", "unavailable"].iter().any(|kind| sent["error"] == *kind), "{sent}");
    assert_eq!(emit(&b, "queued").await["accepted"], 2);
    is_away(&b).await;
    assert_eq!(keep(&b, "refused").await["error"], "unavailable");
    sees(&a, &[("a-1", GUEST)]).await;
    keeps(&all[40..]).await;
    all_hear(&a, &all).await;
    assert_eq!(texts(&b, 0).await, all[..20]);
    cable.plug_in();
    sees(&a, &[("a-1", GUEST), ("b-1", GUEST)]).await;
    eventually("it is kept", || async { texts(&a, 0).await.contains(&"queued".to_owned()) }).await;
    eventually("b keeps again", || async { keep(&b, "end").await["seq"].is_u64() }).await;
    let last = || async { texts(&a, 0).await };
    eventually("a hears the end", || async { last().await.last().is_some_and(|text| text == "end") }).await;
    let order = last().await;
    for (host, worker) in [(&a, 1), (&b, 0), (&b, 1)] {
        eventually("it hears all", || async { texts(host, worker).await.len() >= order.len() }).await;
        assert_eq!(texts(host, worker).await, order, "one order, each once");
    }
    let number = |text: &&String| text.parse::<u32>().is_ok();
    assert_eq!(order.iter().filter(number).cloned().collect::<Vec<_>>(), all);
    let count = |text: &str| order.iter().filter(|one| *one == text).count();
    assert_eq!((count("queued"), count("refused")), (1, 0), "{order:?}");
    assert!(count("sent") <= 1, "{order:?}");
}

/// Replaces a folder by the copy of another one.
fn copies(from: &Path, to: &Path) {
    _ = std::fs::remove_dir_all(to);
    let copied = std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Finds a folder in another one.
fn find_folder(within: &Path, name: &str) -> PathBuf {
    let found = std::process::Command::new("find").arg(within).args(["-type", "d", "-name", name]).output().unwrap();
    PathBuf::from(String::from_utf8(found.stdout).unwrap().lines().next().unwrap())
}

async fn keeps(host: &Started, texts: std::ops::Range<u32>) {
    for text in numbers(texts) {
        eventually("it is kept", || async { keep(host, &text).await["seq"].is_u64() }).await;
    }
}

/// Kills the server after the first `saved` broadcasts, and again while another one runs. Then the
/// server has the first ones only, as after a loss of power, or from a backup.
async fn what_is_emitted_after_a_loss_runs(saved: u32) {
    let Some(mut nats) = Nats::start().await else { return };
    // What was kept is not emitted again.
    let a = host(&nats.url(), "a-1").config(json!({ "cluster": { "timeout": "8s" } })).start().await;
    reads(&a).await;
    let [store, copy] = ["store", "copy"].map(|name| nats.dir.path().join(name));
    keeps(&a, 0..saved).await;
    all_hear(&a, &numbers(0..saved)).await;
    nats.kill();
    copies(&store, &copy);
    nats.run().await;
    keeps(&a, saved..15).await;
    all_hear(&a, &numbers(0..15)).await;
    let slow = "slow2000".to_owned();
    emit(&a, &slow).await;
    eventually("it runs", || async { durable(&a).await["modules"][0]["running"] == 16 }).await;
    nats.kill();
    copies(&copy, &store);
    nats.run().await;
    keeps(&a, 15..30).await;
    all_hear(&a, &[numbers(0..15), vec![slow], numbers(15..30)].concat()).await;
}

/// A server may have written what a node has acknowledged, and not yet the broadcasts themselves.
#[tokio::test]
async fn what_is_emitted_after_the_stream_has_lost_more_than_its_consumer_runs() {
    for mut nats in Nats::all().await {
        let a = host(&nats.url(), "a-1").start().await;
        reads(&a).await;
        let messages = find_folder(&nats.dir.path().join("store"), "fanfare_broadcasts").join("msgs");
        let copy = nats.dir.path().join("copy");
        keeps(&a, 0..5).await;
        all_hear(&a, &numbers(0..5)).await;
        nats.stop();
        copies(&messages, &copy);
        nats.run().await;
        keeps(&a, 5..10).await;
        all_hear(&a, &numbers(0..10)).await;
        nats.stop();
        copies(&copy, &messages);
        nats.run().await;
        keeps(&a, 10..12).await;
        all_hear(&a, &numbers(0..12)).await;
    }
}

#[tokio::test]
async fn what_is_emitted_after_the_stream_has_lost_its_end_runs() {
    what_is_emitted_after_a_loss_runs(5).await;
}

#[tokio::test]
async fn what_is_emitted_after_the_stream_has_lost_the_running_broadcast_runs() {
    what_is_emitted_after_a_loss_runs(15).await;
}
