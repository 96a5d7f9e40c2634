use super::*;
use crate::api::ChannelPatternStatus;
use crate::call::CallError;

fn beat(node: &str, boot: &str, since: u64) -> Heartbeat {
    let (node, boot) = (node.to_owned(), boot.to_owned());
    Heartbeat { version: VERSION, node, boot, since, revision: 1, phase: Phase::Here, asks: false, sent: 0 }
}

fn info(node: &str, boot: &str, revision: u64) -> NodeInfo {
    let (id, boot, server) = (node.to_owned(), boot.to_owned(), "chat".to_owned());
    let modules = BTreeMap::from([("m".to_owned(), "abc".to_owned())]);
    NodeInfo { id, boot, server, workers: 2, revision, modules, ..NodeInfo::default() }
}

fn presence() -> Presence {
    Presence::new(beat("a", "own", 50), Duration::from_secs(3), Former::default())
}

fn down(node: &str, reason: &str) -> Step {
    Step::Down { node: node.into(), server: "chat".into(), reason: reason.into() }
}

fn ids(presence: &Presence) -> Vec<String> {
    presence.view().nodes.into_keys().collect()
}

/// Hears and learns of `b`.
fn with_b(now: Instant) -> Presence {
    let mut presence = presence();
    assert_eq!(presence.heard(beat("b", "1", 10), now), [Step::Meet("b".into())]);
    assert!(ids(&presence).is_empty(), "its facts are not known yet");
    assert_eq!(presence.learned(info("b", "1", 1)).len(), 1);
    assert_eq!(ids(&presence), ["b"]);
    presence
}

#[test]
fn a_node_is_there_once_its_facts_are_known_and_is_asked_again_when_they_change() {
    let now = Instant::now();
    let mut presence = with_b(now);
    assert_eq!(presence.heard(beat("b", "1", 10), now), []);
    let changed = Heartbeat { revision: 2, ..beat("b", "1", 10) };
    assert_eq!(presence.heard(changed.clone(), now), [Step::Ask("b".into())]);
    assert_eq!(presence.heard(changed.clone(), now), [Step::Ask("b".into())], "until it answers");
    assert_eq!(presence.learned(info("b", "1", 2)), [Step::Changed]);
    assert_eq!(presence.heard(changed, now), []);
    assert_eq!(presence.view().holders["m"][0].workers, 2);
    assert_eq!(presence.learned(info("b", "0", 3)), [], "an answer of an earlier process");
}

#[test]
fn a_silent_node_is_gone_and_its_calls_learn_of_it() {
    let now = Instant::now();
    let mut presence = with_b(now);
    let gone = presence.view().nodes["b"].gone.clone();
    assert_eq!(presence.sweep(now + Duration::from_secs(1)), []);
    assert_eq!(presence.sweep(now + Duration::from_secs(2)), []);
    assert_eq!(presence.sweep(now + Duration::from_secs(3)), []);
    assert!(!gone.is_cancelled());
    assert_eq!(presence.sweep(now + Duration::from_millis(3_001)), [down("b", "silent for 3s")]);
    assert!(gone.is_cancelled() && ids(&presence).is_empty());
}

#[test]
fn a_node_that_did_not_run_for_a_while_ends_no_other_node() {
    let now = Instant::now();
    let mut presence = with_b(now);
    assert_eq!(presence.sweep(now), []);
    let later = now + Duration::from_secs(10);
    assert_eq!(presence.sweep(later), []);
    assert_eq!(presence.sweep(later + Duration::from_secs(1)), []);
    assert_eq!(presence.sweep(later + Duration::from_secs(2)), []);
    assert_eq!(presence.sweep(later + Duration::from_millis(3_001)).len(), 1);
}

#[test]
fn a_node_that_does_not_hear_itself_says_so_once() {
    let (mut presence, now) = (presence(), Instant::now());
    let at = |millis| now + Duration::from_millis(millis);
    assert_eq!(presence.heard(beat("a", "own", 50), now), [Step::Heard { sent: 0 }]);
    for millis in [0, 1_000, 2_000, 3_000] {
        assert_eq!(presence.sweep(at(millis)), []);
    }
    assert_eq!(presence.sweep(at(3_001)), [Step::Silent]);
    assert_eq!(presence.sweep(at(4_000)), []);
    assert_eq!(presence.heard(beat("a", "own", 50), at(4_001)), [Step::Heard { sent: 0 }]);
}

#[test]
fn a_new_process_replaces_the_earlier_one() {
    let now = Instant::now();
    let mut presence = with_b(now);
    let steps = presence.heard(beat("b", "2", 20), now);
    assert_eq!(steps, [down("b", "its process was replaced"), Step::Meet("b".into())]);
    assert_eq!(presence.heard(beat("b", "1", 10), now), [], "a late message of the earlier one");
    assert_eq!(presence.heard(Heartbeat { phase: Phase::Left, ..beat("b", "1", 10) }, now), []);
}

#[test]
fn a_node_that_leaves_gets_no_new_calls_and_ends_when_it_has_left() {
    let now = Instant::now();
    let mut presence = with_b(now);
    let gone = presence.view().nodes["b"].gone.clone();
    let leaving = Heartbeat { phase: Phase::Leaving, ..beat("b", "1", 10) };
    assert_eq!(presence.heard(leaving.clone(), now), [Step::Changed]);
    assert_eq!(presence.heard(leaving, now), []);
    assert!(ids(&presence).is_empty() && !gone.is_cancelled());
    let left = Heartbeat { phase: Phase::Left, ..beat("b", "1", 10) };
    assert_eq!(presence.heard(left, now), [down("b", "it stopped")]);
    assert!(gone.is_cancelled());
}

#[test]
fn a_new_node_is_greeted() {
    let new = Heartbeat { phase: Phase::New, ..beat("b", "1", 10) };
    assert_eq!(presence().heard(new, Instant::now()), [Step::Greet, Step::Meet("b".into())]);
}

#[test]
fn of_two_nodes_with_one_id_the_younger_keeps_it() {
    let (mut presence, now) = (presence(), Instant::now());
    assert_eq!(presence.heard(beat("a", "own", 50), now), [Step::Heard { sent: 0 }], "its own heartbeat");
    assert_eq!(presence.heard(beat("a", "x", 10), now), [Step::Conflict { keeps: true }]);
    assert_eq!(presence.heard(beat("a", "x", 60), now), [Step::Conflict { keeps: false }]);
    let left = Heartbeat { phase: Phase::Left, ..beat("a", "x", 60) };
    assert_eq!(presence.heard(left, now), []);
}

#[test]
fn nodes_beyond_the_most_of_a_cluster_are_named_once_and_kept_out() {
    let (mut presence, now) = (presence(), Instant::now());
    for number in 1..MAX_SERVERS {
        let node = format!("b-{number}");
        assert_eq!(presence.heard(beat(&node, "1", 10), now), [Step::Meet(node)]);
    }
    assert_eq!(presence.heard(beat("c", "1", 10), now), [Step::Full("c".into())]);
    assert_eq!(presence.heard(beat("d", "1", 10), now), [], "once");
    assert_eq!(presence.learned(info("c", "1", 1)), []);
    let left = Heartbeat { phase: Phase::Left, ..beat("b-1", "1", 10) };
    assert_eq!(presence.heard(left, now), []);
    assert_eq!(presence.heard(beat("c", "1", 10), now), [Step::Meet("c".into())], "there is room again");
    assert_eq!(presence.heard(beat("d", "1", 10), now), [Step::Full("d".into())]);
}

#[test]
fn a_node_with_another_version_is_named_once_and_never_called() {
    let (mut presence, now) = (presence(), Instant::now());
    let other = Heartbeat { version: VERSION + 1, ..beat("b", "1", 10) };
    let named = Step::Incompatible { node: "b".into(), version: VERSION + 1 };
    assert_eq!(presence.heard(other.clone(), now), [named]);
    assert_eq!(presence.heard(other, now), []);
    assert_eq!((ids(&presence).len(), presence.incompatible()), (0, vec![("b".to_owned(), VERSION + 1)]));
}

#[test]
fn channels_that_the_next_version_of_a_module_does_not_have_are_forgotten() {
    let now = Instant::now();
    let mut presence = presence();
    let patterns = |patterns: &[&str]| {
        let one = |pattern: &&str| ChannelPatternStatus { pattern: (*pattern).to_owned(), ..Default::default() };
        BTreeMap::from([("m".to_owned(), patterns.iter().map(one).collect())])
    };
    presence.heard(beat("b", "1", 10), now);
    presence.learned(NodeInfo { channels: patterns(&["room/*", "room/vip"]), ..info("b", "1", 1) });
    presence.heard(beat("b", "2", 20), now);
    let rule = |presence: &Presence, channel: &str| presence.view().channels.rule(channel);
    assert!(matches!(rule(&presence, "room/vip"), Some(Err(CallError::Unavailable(_)))), "the module is away");
    presence.learned(NodeInfo { channels: patterns(&["room/*"]), ..info("b", "2", 1) });
    assert!(matches!(rule(&presence, "room/vip"), Some(Ok(_))), "room/* has it");
    // Also once no node has the module.
    presence.heard(Heartbeat { phase: Phase::Left, ..beat("b", "2", 20) }, now);
    assert_eq!(presence.former_channels.keys().collect::<Vec<_>>(), ["room/*"]);
}

#[test]
fn channels_of_the_next_version_of_a_module_stay_closed_when_its_only_node_goes() {
    let now = Instant::now();
    let mut presence = presence();
    let version = |node: &str, boot: &str, generation: &str, pattern: &str| {
        let channel = ChannelPatternStatus { pattern: pattern.to_owned(), ..Default::default() };
        NodeInfo {
            channels: BTreeMap::from([("m".to_owned(), vec![channel])]),
            modules: BTreeMap::from([("m".to_owned(), generation.to_owned())]),
            ..info(node, boot, 1)
        }
    };
    for node in ["b", "c"] {
        presence.heard(beat(node, "1", 10), now);
    }
    presence.learned(version("b", "1", "old", "room/*"));
    presence.learned(version("c", "1", "new", "secret/*"));
    let is_closed =
        |presence: &Presence| matches!(presence.view().channels.rule("secret/1"), Some(Err(CallError::Unavailable(_))));
    presence.heard(Heartbeat { phase: Phase::Leaving, ..beat("c", "1", 10) }, now);
    assert!(is_closed(&presence), "it is about to stop");
    presence.heard(Heartbeat { phase: Phase::Left, ..beat("c", "1", 10) }, now);
    assert!(is_closed(&presence), "it is gone");
    presence.learned(version("b", "1", "old", "room/*"));
    assert!(is_closed(&presence), "something else has changed on the node with the earlier version");
    presence.learned(version("b", "1", "new", "room/*"));
    assert!(presence.view().channels.rule("secret/1").is_none(), "the next version does not have it");
}

#[test]
fn the_channels_of_a_node_that_stops_or_has_stopped_are_unavailable_and_not_open() {
    let now = Instant::now();
    let mut presence = presence();
    presence.heard(beat("b", "1", 10), now);
    let room = ChannelPatternStatus { pattern: "room/*".to_owned(), ..ChannelPatternStatus::default() };
    let channels = BTreeMap::from([("m".to_owned(), vec![room])]);
    presence.learned(NodeInfo { channels, ..info("b", "1", 1) });
    let rule = |presence: &Presence| presence.view().channels.rule("room/1").expect("it is declared");
    assert!(rule(&presence).is_ok());
    presence.heard(Heartbeat { phase: Phase::Leaving, ..beat("b", "1", 10) }, now);
    assert!(matches!(rule(&presence), Err(CallError::Unavailable(_))));
    presence.heard(Heartbeat { phase: Phase::Left, ..beat("b", "1", 10) }, now);
    assert!(matches!(rule(&presence), Err(CallError::Unavailable(_))));
}
