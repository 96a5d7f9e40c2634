//! Members of nodes that end, stand still or are cut off, and homes that move.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{
    CHANNELS, announced, channel, everywhere, is_told, joined, lists, member, node, process, sees, test_host, watcher,
};
use crate::cluster::cable::Cable;
use crate::cluster::streams::until_state;
use crate::harness::Nats;

#[tokio::test]
async fn the_members_of_a_killed_node_leave_and_nobody_else_also_where_it_was_the_home() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    let (_project, c) = process(&nats, "c-1").await;
    for host in [&a, &b] {
        sees(host, 3).await;
    }
    let mut watchers = [watcher(&a, CHANNELS).await, watcher(&b, CHANNELS).await];
    let ada = joined(a.http, &mut watchers, 1).await;
    let lost = joined(c.http, &mut watchers, 2).await;
    lists(&[&a, &b], &[&ada, &lost], CHANNELS).await;
    let killed = Instant::now();
    c.signal(Signal::KILL);
    for watcher in &mut watchers {
        is_told(watcher, '-', &lost.id, CHANNELS, 1).await;
    }
    // `cluster.goneAfter` is 600 ms, a heartbeat 100 ms. The rest is for a busy machine.
    let after = killed.elapsed();
    assert!(after < Duration::from_millis(2_700), "{after:?}");
    lists(&[&a, &b], &[&ada], CHANNELS).await;
    // The next process with this id tells its members.
    let (_project, c) = process(&nats, "c-1").await;
    let found = member(c.http, CHANNELS).await;
    for watcher in &mut watchers {
        is_told(watcher, '+', &found.id, CHANNELS, 2).await;
        assert!(watcher.has_nothing().await);
    }
    lists(&[&a, &b], &[&ada, &found], CHANNELS).await;
}

#[tokio::test]
async fn a_home_that_moves_to_a_new_node_announces_nobody_and_forgets_nobody() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    for host in [&a, &b] {
        sees(host, 2).await;
    }
    let mut watchers = vec![watcher(&a, CHANNELS).await, watcher(&b, CHANNELS).await];
    let ada = joined(a.http, &mut watchers, 1).await;
    let bob = joined(b.http, &mut watchers, 2).await;
    let c = node(&nats, "c-1").await;
    for host in [&a, &b, &c] {
        sees(host, 3).await;
    }
    lists(&[&a, &b, &c], &[&ada, &bob], CHANNELS).await;
    watchers.push(watcher(&c, CHANNELS).await);
    let eve = member(c.http, CHANNELS).await;
    for watcher in &mut watchers {
        is_told(watcher, '+', &eve.id, CHANNELS, 3).await;
        assert!(watcher.has_nothing().await);
    }
    // A node that stops in order: its members leave, and its channels move back.
    watchers.pop();
    let left = eve.id.clone();
    drop(eve);
    c.stop().await;
    for watcher in &mut watchers {
        is_told(watcher, '-', &left, CHANNELS, 2).await;
    }
    lists(&[&a, &b], &[&ada, &bob], CHANNELS).await;
    for watcher in &mut watchers {
        assert!(watcher.has_nothing().await);
    }
}

#[tokio::test]
async fn the_members_of_a_node_that_is_cut_off_leave_and_return_on_both_sides() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let a = node(&nats, "a-1").await;
    let c = test_host(&format!("nats://{}", cable.address), "c-1").start().await;
    for host in [&a, &c] {
        sees(host, 2).await;
    }
    let mut watchers = [watcher(&a, CHANNELS).await, watcher(&c, CHANNELS).await];
    let ada = joined(a.http, &mut watchers, 1).await;
    let eve = joined(c.http, &mut watchers, 2).await;
    cable.pull();
    is_told(&mut watchers[0], '-', &eve.id, CHANNELS, 1).await;
    is_told(&mut watchers[1], '-', &ada.id, CHANNELS, 1).await;
    lists(&[&a], &[&ada], CHANNELS).await;
    lists(&[&c], &[&eve], CHANNELS).await;
    // What changes meanwhile is known afterwards.
    let new = member(c.http, CHANNELS).await;
    is_told(&mut watchers[1], '+', &new.id, CHANNELS, 2).await;
    cable.plug_in();
    let told: BTreeSet<String> = announced(&mut watchers[0], 2 * CHANNELS).await.into_iter().map(|one| one.0).collect();
    let both = [&eve.id, &new.id].into_iter().flat_map(|id| everywhere('+', id, CHANNELS, 0));
    assert_eq!(told, both.map(|one| one.0).collect());
    is_told(&mut watchers[1], '+', &ada.id, CHANNELS, 3).await;
    lists(&[&a, &c], &[&ada, &eve, &new], CHANNELS).await;
    for watcher in &mut watchers {
        assert!(watcher.has_nothing().await);
    }
}

#[tokio::test]
async fn the_members_of_a_frozen_node_leave_and_are_told_again_when_it_continues() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    let (_project, c) = process(&nats, "c-1").await;
    for host in [&a, &b] {
        sees(host, 3).await;
    }
    let mut watchers = [watcher(&a, CHANNELS).await, watcher(&b, CHANNELS).await];
    let ada = joined(a.http, &mut watchers, 1).await;
    let frozen = joined(c.http, &mut watchers, 2).await;
    c.freeze().await;
    for watcher in &mut watchers {
        is_told(watcher, '-', &frozen.id, CHANNELS, 1).await;
    }
    // It has missed this when it continues, also in the channels whose home it was.
    let bob = joined(b.http, &mut watchers, 2).await;
    c.signal(Signal::CONT);
    for watcher in &mut watchers {
        is_told(watcher, '+', &frozen.id, CHANNELS, 3).await;
    }
    lists(&[&a, &b], &[&ada, &bob, &frozen], CHANNELS).await;
    for watcher in &mut watchers {
        assert!(watcher.has_nothing().await);
    }
}

#[tokio::test]
async fn after_a_short_absence_of_nats_only_what_has_changed_is_announced() {
    let Some(mut nats) = Nats::start().await else { return };
    let patient = json!({ "cluster": { "goneAfter": "15s" } });
    let each = async |id: &str| test_host(&nats.url(), id).config(patient.clone()).start().await;
    let (a, b) = (each("a-1").await, each("b-1").await);
    for host in [&a, &b] {
        sees(host, 2).await;
    }
    let mut watchers = [watcher(&a, CHANNELS).await, watcher(&b, CHANNELS).await];
    let mut ada = joined(a.http, &mut watchers, 1).await;
    let bob = joined(b.http, &mut watchers, 2).await;
    nats.kill();
    for host in [&a, &b] {
        until_state(host, "down").await;
    }
    for number in 0..CHANNELS {
        ada.ok("#unsubscribe", json!(channel(number))).await;
    }
    let eve = member(b.http, CHANNELS).await;
    nats.run().await;
    for watcher in &mut watchers {
        let told: BTreeSet<String> = announced(watcher, 2 * CHANNELS).await.into_iter().map(|one| one.0).collect();
        let changes = everywhere('-', &ada.id, CHANNELS, 0).into_iter().chain(everywhere('+', &eve.id, CHANNELS, 0));
        assert_eq!(told, changes.map(|one| one.0).collect());
    }
    lists(&[&a, &b], &[&bob, &eve], CHANNELS).await;
    for watcher in &mut watchers {
        assert!(watcher.has_nothing().await);
    }
}

#[tokio::test]
async fn while_nats_is_away_each_node_knows_its_own_members_and_all_return() {
    let Some(mut nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    for host in [&a, &b] {
        sees(host, 2).await;
    }
    let mut watchers = [watcher(&a, CHANNELS).await, watcher(&b, CHANNELS).await];
    let ada = joined(a.http, &mut watchers, 1).await;
    let bob = joined(b.http, &mut watchers, 2).await;
    nats.kill();
    is_told(&mut watchers[0], '-', &bob.id, CHANNELS, 1).await;
    is_told(&mut watchers[1], '-', &ada.id, CHANNELS, 1).await;
    lists(&[&a], &[&ada], CHANNELS).await;
    nats.run().await;
    is_told(&mut watchers[0], '+', &bob.id, CHANNELS, 2).await;
    is_told(&mut watchers[1], '+', &ada.id, CHANNELS, 2).await;
    lists(&[&a, &b], &[&ada, &bob], CHANNELS).await;
}
