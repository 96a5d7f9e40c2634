//! A cluster of three NATS servers without the one that leads the stream.

use std::ops::Range;

use rustix::process::Signal;

use super::*;

#[tokio::test]
async fn the_leader_of_three_nats_servers_is_killed_and_nothing_acknowledged_is_lost() {
    without_the_leader(Signal::KILL).await;
}

#[tokio::test]
async fn the_leader_of_three_nats_servers_is_frozen_and_nothing_acknowledged_is_lost() {
    without_the_leader(Signal::STOP).await;
}

async fn without_the_leader(signal: Signal) {
    let Some(servers) = Nats::three().await else { return };
    let url = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let [a, b] = [host(&url, "a-1").start().await, host(&url, "b-1").start().await];
    for host in [&a, &b] {
        reads(host).await;
        sees(host, &[("a-1", GUEST), ("b-1", GUEST)]).await;
    }
    let context = jetstream(&servers[1]).await;
    let stream = async || context.get_stream("fanfare_broadcasts").await.unwrap().cached_info().clone();
    eventually("it has three copies, and a leader", || async {
        let info = stream().await;
        info.config.num_replicas == 3 && info.cluster.is_some_and(|cluster| cluster.leader.is_some())
    })
    .await;
    // The server that leads the stream.
    let leader = stream().await.cluster.unwrap().leader.unwrap();
    let at = servers.iter().position(|server| server.name() == leader).unwrap();
    let mut expected = Vec::new();
    emit_numbers(&a, 0..20, &mut expected).await;
    servers[at].signal(signal);
    emit_numbers(&a, 20..60, &mut expected).await;
    eventually_within(30, "it accepts again", || async { keep(&a, "end").await["seq"].is_u64() }).await;
    expected.push("end".to_owned());
    emit_numbers(&a, 60..80, &mut expected).await;
    assert!(expected.len() > 100, "{expected:?}");
    all_have_heard(&[&a, &b], &expected).await;
    if signal == Signal::STOP {
        servers[at].signal(Signal::CONT);
        eventually("it accepts still", || async { keep(&a, "again").await["seq"].is_u64() }).await;
        expected.push("again".to_owned());
        all_have_heard(&[&a, &b], &expected).await;
    }
}

/// Emits two broadcasts for each number. Every second one waits for the stream, which may refuse it
/// while it has no leader.
async fn emit_numbers(host: &Started, numbers: Range<u32>, expected: &mut Vec<String>) {
    for number in numbers {
        let text = format!("queued{number}");
        assert_eq!(emit(host, &text).await["accepted"], 2);
        expected.push(text);
        let text = format!("kept{number}");
        if keep(host, &text).await["seq"].is_u64() {
            expected.push(text);
        }
    }
}

/// Checks that all workers have run these texts in order, each once, the last one at least once.
async fn all_have_heard(hosts: &[&Started], expected: &[String]) {
    for host in hosts {
        for worker in [0, 1] {
            let heard = || async { texts(host, worker).await };
            eventually("it hears the last", || async { heard().await.last() == expected.last() }).await;
            let mut heard = heard().await;
            // One without an acknowledgment may be in the stream, too.
            heard.retain(|text| expected.contains(text));
            heard.dedup_by(|later, earlier| later == earlier && matches!(&**later, "end" | "again"));
            assert_eq!(heard, expected, "in order, each once");
        }
    }
}
