//! Many members, and what there is no room for.

use super::*;

#[test]
fn of_many_members_on_all_nodes_only_the_number_is_announced() {
    let mut network = Network::new(&["a", "b"]);
    ["a", "b"].iter().for_each(|node| network.watch(node, "room/1", true));
    network.calm();
    let mut sessions = Vec::new();
    for number in 0..CROWD {
        let node = ["a", "b"][number % 2];
        sessions.push((node, network.join(node, "room/1")));
    }
    network.calm();
    for node in ["a", "b"] {
        let said = network.announced(node);
        let joins = said.iter().filter(|what| what.contains('+')).count();
        assert_eq!((joins, said.last().unwrap().as_str()), (CROWD - 1, "room/1=@1000"), "{node}");
    }
    // Fewer again.
    let (node, session) = sessions.pop().unwrap();
    network.leave(node, "room/1", &session);
    network.calm();
    for node in ["a", "b"] {
        assert_eq!(network.announced(node), [format!("room/1-{session}@999")]);
    }
    assert_eq!(network.listed("a", "room/1").len(), CROWD - 1);
}

#[test]
fn nodes_that_watch_are_told_the_number_of_very_many_members_and_all_of_them_when_they_are_fewer() {
    let mut network = Network::new(&["a", "b"]);
    ["a", "b"].iter().for_each(|node| network.watch(node, "room/1", true));
    let sessions: Vec<String> = (0..=MOST_TOLD).map(|_| network.join("a", "room/1")).collect();
    network.calm();
    assert_eq!(network.listed("b", "room/1").len(), MOST_TOLD + 1);
    for node in ["a", "b"] {
        assert_eq!(network.announced(node).last().unwrap(), "room/1=@2001", "{node}");
        assert_eq!(network.nodes[node].state.known("room/1").len(), 0, "{node} has no list");
    }
    let (gone, rest) = sessions.split_at(sessions.len() - (CROWD - 1));
    gone.iter().for_each(|session| network.leave("a", "room/1", session));
    network.calm();
    let left = rest.iter().cloned().collect::<BTreeSet<_>>();
    for node in ["a", "b"] {
        assert_eq!(network.nodes[node].state.known("room/1"), left, "{node}");
        assert_eq!(network.announced(node).last().unwrap(), "room/1=@999", "{node}");
    }
    network.leave("a", "room/1", &rest[0]);
    network.calm();
    for node in ["a", "b"] {
        assert_eq!(network.announced(node), [format!("room/1-{}@998", rest[0])]);
    }
}

#[test]
fn a_member_without_room_is_left_out_until_there_is_room() {
    let mut network = Network::new(&["a"]);
    let channel = (1..).map(|number| format!("room/{number}"));
    let channel = { channel }.find(|channel| home_of(channel, ["a", "b"].into_iter()) == "b").unwrap();
    let one = super::super::size::size_of(&ChannelMember { session: "a/0001".into(), uid: None, info: None });
    network.start_with("b", 10 * one);
    network.calm();
    let sessions: Vec<String> = (0..10).map(|_| network.join("a", &channel)).collect();
    network.calm();
    assert_eq!(network.listed("a", &channel).len(), 10);
    let reached = bounds::CENSUS_MEMBERS.reached();
    network.join("a", &channel);
    network.calm();
    assert_eq!((network.listed("a", &channel).len(), bounds::CENSUS_MEMBERS.reached() > reached), (10, true));
    sessions[..2].iter().for_each(|session| network.leave("a", &channel, session));
    network.calm();
    assert_eq!(network.listed("a", &channel), network.truth("a", &channel));
}

#[test]
fn when_too_much_waits_for_a_node_it_is_told_everything_again() {
    let mut network = Network::new(&["a", "b"]);
    let channel = (1..).map(|number| format!("room/{number}"));
    let channel = { channel }.find(|channel| home_of(channel, ["a", "b"].into_iter()) == "b").unwrap();
    network.watch("b", &channel, true);
    network.calm();
    let session = network.join("a", &channel);
    network.calm();
    let (reached, info) = (bounds::CENSUS_STEPS.reached(), format!("\"{}\"", "x".repeat(4_000)));
    for _ in 0..=super::super::teller::MOST_WAITING / 4_000 {
        network.is("a", &channel, &session, Some(&info));
    }
    assert!(bounds::CENSUS_STEPS.reached() > reached && network.nodes["a"].state.told_again > 0);
    network.calm();
    assert_eq!(network.announced("b"), [format!("{channel}+{session}@1")]);
    assert_eq!(network.listed("b", &channel), BTreeSet::from([session]));
}
