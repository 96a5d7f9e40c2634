//! What nodes announce and list when messages are lost, and nodes come and go.

use super::super::homing::KEPT_FOR;
use super::*;

const CHANNELS: [&str; 3] = ["room/1", "room/2", "room/3"];

/// A generator of numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

#[test]
fn every_node_that_watches_announces_each_join_and_leave_once_in_order() {
    let mut network = Network::new(&["a", "b", "c"]);
    ["a", "b", "c"].iter().for_each(|node| network.watch(node, "room/1", true));
    network.calm();
    let one = network.join("a", "room/1");
    let two = network.join("b", "room/1");
    network.calm();
    network.is("a", "room/1", &one, Some("2"));
    network.leave("a", "room/1", &one);
    let three = network.join("a", "room/1");
    network.calm();
    let said = ["a", "b", "c"].map(|node| network.announced(node));
    assert!(said[0] == said[1] && said[1] == said[2], "{said:?}");
    let changes: BTreeSet<String> = said[0].iter().map(|what| what[6..what.find('@').unwrap()].to_owned()).collect();
    let expected = [format!("+{one}"), format!("+{two}"), format!("-{one}"), format!("+{three}")];
    assert_eq!((said[0].len(), changes), (4, expected.into_iter().collect()));
    assert_eq!(network.listed("c", "room/1"), BTreeSet::from([two, three]));
}

#[test]
fn a_node_that_joins_takes_over_channels_and_nobody_is_announced() {
    let mut network = Network::new(&["a", "b"]);
    for channel in CHANNELS {
        for node in ["a", "b"] {
            network.watch(node, channel, true);
            network.join(node, channel);
        }
    }
    network.calm();
    ["a", "b"].iter().for_each(|node| drop(network.announced(node)));
    let homes = |network: &Network| CHANNELS.map(|channel| network.nodes["a"].here.home(channel).unwrap());
    let before = homes(&network);
    for further in ["c", "d", "e", "f"] {
        network.start(further);
        network.calm();
        for channel in CHANNELS {
            assert_eq!(network.listed("a", channel), network.truth("a", channel));
        }
    }
    assert_ne!(before, homes(&network), "some channels have moved");
    // And back.
    for gone in ["c", "d", "e", "f"] {
        network.nodes.remove(gone);
        network.calm();
    }
    assert_eq!(before, homes(&network));
    assert_eq!([network.announced("a"), network.announced("b")], [[""; 0]; 2]);
}

#[test]
fn the_members_of_a_home_that_dies_leave_and_the_others_stay() {
    for home in ["a", "b", "c"] {
        let mut network = Network::new(&["a", "b", "c"]);
        let numbers = 1..1_000;
        let of_home = |number: &u32| home_of(&format!("room/{number}"), ["a", "b", "c"].into_iter()) == home;
        let channel = format!("room/{}", numbers.into_iter().find(of_home).unwrap());
        ["a", "b", "c"].iter().for_each(|node| network.watch(node, &channel, true));
        let members: BTreeMap<&str, String> =
            ["a", "b", "c"].into_iter().map(|node| (node, network.join(node, &channel))).collect();
        network.calm();
        ["a", "b", "c"].iter().for_each(|node| drop(network.announced(node)));
        network.nodes.remove(home);
        network.calm();
        for node in ["a", "b", "c"].into_iter().filter(|node| *node != home) {
            assert_eq!(network.announced(node), [format!("{channel}-{}@2", members[home])]);
        }
    }
}

#[test]
fn the_next_process_of_a_node_is_not_taken_for_the_lost_one() {
    let mut network = Network::new(&["a", "b"]);
    let channel = (1..).map(|number| format!("room/{number}"));
    let channel = { channel }.find(|channel| home_of(channel, ["a", "b"].into_iter()) == "a").unwrap();
    network.watch("a", &channel, true);
    network.calm();
    let lost = network.join("b", &channel);
    network.calm();
    // It begins to tell before the home has noticed that it is another process.
    network.start("b");
    let found = network.join("b", &channel);
    for _ in 0..5 {
        network.send("b", "a", Fate::Lost);
        network.take_ticks("b");
    }
    for _ in 0..4 {
        network.send("b", "a", Fate::Arrives);
    }
    network.calm();
    let expected = [format!("{channel}+{lost}@1"), format!("{channel}-{lost}@0"), format!("{channel}+{found}@1")];
    assert_eq!(network.announced("a"), expected);
}

#[test]
fn a_home_lists_nobody_while_a_node_tells_another_home() {
    let mut network = Network::new(&["a", "b"]);
    let moves = |channel: &String| {
        home_of(channel, ["a", "b"].into_iter()) == "b" && home_of(channel, ["a", "b", "c"].into_iter()) == "c"
    };
    let channel = (1..).map(|number| format!("room/{number}")).find(moves).unwrap();
    let session = network.join("a", &channel);
    network.calm();
    network.start("c");
    network.see("a");
    network.send("a", "b", Fate::Arrives);
    let node = &network.nodes["b"];
    assert_eq!(node.state.page(&channel, None, 300, &node.here), None, "its list is not whole");
    network.calm();
    assert_eq!(network.listed("b", &channel), BTreeSet::from([session]));
}

/// Nodes notice changes at different times, and their batches cross.
#[test]
fn in_whatever_order_nodes_notice_that_a_home_dies_or_comes_nobody_who_stays_is_announced() {
    for seed in 1..=400_u64 {
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut network = Network::new(&["a", "b", "c"]);
        let mut lost = Vec::new();
        for channel in CHANNELS {
            for node in ["a", "b", "c"] {
                network.watch(node, channel, true);
            }
            network.join("a", channel);
            network.join("b", channel);
            lost.push(format!("{channel}-{}@2", network.join("c", channel)));
        }
        network.calm();
        ["a", "b", "c"].iter().for_each(|node| drop(network.announced(node)));
        let ids = ["a", "b", "d"];
        for change in 0..3 {
            match change {
                0 => drop(network.nodes.remove("c")),
                1 => network.start("d"),
                _ => drop(network.nodes.remove("d")),
            }
            for _ in 0..numbers.below(40) {
                let (one, other) = (numbers.of(&ids), numbers.of(&ids));
                if !network.nodes.contains_key(one) {
                    continue;
                }
                match numbers.below(8) {
                    0..2 => network.see(one),
                    2 => network.take_ticks(one),
                    3 => network.find(one),
                    _ => _ = network.send(one, other, Fate::Arrives),
                }
            }
            network.calm();
            let expected = if change == 0 { lost.clone() } else { Vec::new() };
            for node in ["a", "b"] {
                let mut said = network.announced(node);
                said.sort();
                assert_eq!(said, expected, "seed {seed}, change {change}, {node}");
            }
        }
    }
}

/// Random changes and faults. When the network is calm, everybody knows the truth.
#[test]
fn whatever_is_lost_nobody_is_announced_twice_and_everybody_learns_the_truth() {
    let most = std::env::var("CENSUS_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1_000);
    for seed in 1..=most {
        run(seed);
    }
}

fn run(seed: u64) {
    let all = ["a", "b", "c", "d"];
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut network = Network::new(&all[..3]);
    let mut members: Vec<(String, String, String)> = Vec::new();
    for round in 0..6 {
        for _ in 0..80 {
            let ids: Vec<String> = network.nodes.keys().cloned().collect();
            let (id, channel) = (numbers.of(&ids), numbers.of(&CHANNELS));
            match numbers.below(20) {
                0..3 => {
                    let session = network.join(&id, channel);
                    members.push((id, channel.to_owned(), session));
                }
                3..5 if !members.is_empty() => {
                    let (id, channel, session) = members.swap_remove(numbers.below(members.len()));
                    network.leave(&id, &channel, &session);
                }
                5 if !members.is_empty() => {
                    let (id, channel, session) = numbers.of(&members);
                    network.is(&id, &channel, &session, Some(&numbers.below(9).to_string()));
                }
                6 => network.watch(&id, channel, true),
                7 => network.watch(&id, channel, numbers.below(2) == 0),
                8 => network.see(&id),
                9 => network.tick(),
                10 if numbers.below(4) == 0 && ids.len() > 1 => {
                    network.nodes.remove(&id);
                    members.retain(|(of, ..)| *of != id);
                }
                11 if numbers.below(3) == 0 => {
                    let new = numbers.of(&all);
                    if !network.nodes.contains_key(new) {
                        network.start(new);
                    }
                }
                12 if numbers.below(4) == 0 => {
                    let other = numbers.of(&ids);
                    if id != other {
                        network.cut(&id, &other);
                    }
                }
                13 if numbers.below(2) == 0 => network.cut.clear(),
                14 if numbers.below(4) == 0 => network.tell_all(&id, channel),
                16 => network.find(&id),
                15 if numbers.below(8) == 0 => network.pass(KEPT_FOR * PATIENCE),
                _ => {
                    let other = numbers.of(&ids);
                    let fate = numbers.of(&[Fate::Arrives, Fate::Arrives, Fate::Arrives, Fate::Lost, Fate::AnswerLost]);
                    network.send(&id, &other, fate);
                }
            }
        }
        network.cut.clear();
        network.calm();
        for id in network.nodes.keys() {
            for channel in CHANNELS {
                let truth = network.truth(id, channel);
                let node = &network.nodes[id];
                assert_eq!(network.listed(id, channel), truth, "seed {seed}, round {round}, {id}, {channel}");
                if node.watched.contains(channel) {
                    assert_eq!(node.state.known(channel), truth, "seed {seed}, round {round}, {id} knows {channel}");
                    assert_eq!(node.believed[channel], truth, "seed {seed}, round {round}, {id} watches {channel}");
                }
            }
        }
    }
}
