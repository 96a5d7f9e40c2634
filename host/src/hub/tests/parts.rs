//! Chunks, positions and queues by themselves.

use super::*;
use crate::hub::connections::{Connections, Queue};
use crate::hub::inbox::ReadyWaker;

#[test]
fn a_chunk_has_its_length_and_its_text_is_a_part_of_it() {
    for length in [1, 15, 16, 255, 256, 70_000] {
        let text = "x".repeat(length);
        let made = chunk(length, |bytes| bytes.extend_from_slice(text.as_bytes()));
        assert_eq!(made, format!("{length:x}\r\n{text}\r\n"));
        assert_eq!(made[text_of(&made)], *text.as_bytes());
    }
    let empty = chunk(0, |_| {});
    assert!(empty.is_empty() && text_of(&empty).is_empty());
}

#[test]
fn a_position_is_read_as_it_is_written() {
    let position = Position { epoch: 0x18f, number: 42 };
    assert_eq!(position.to_string(), "18f-42");
    assert_eq!(Position::parse("18f-42"), Some(position));
    assert_eq!(Position::parse("18f"), None);
}

#[test]
fn audiences_and_queues_stay_whole_while_connections_come_and_go() {
    let bench = Bench::new();
    let (inbox, now) = (Arc::new(Inbox::new(1, 1)), Instant::now());
    let limits = Limits { max: 9_999, max_per_topic: 9_999 };
    let mut connections = Connections::default();
    let mut open: Vec<(u32, u64)> = Vec::new();
    let mut random = 1u64;
    for step in 0..3_000u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if (random >> 60) < 9 || open.is_empty() {
            let place = bench.topics.reserve(&(random >> 33 & 3).to_string(), limits).unwrap();
            let topic = place.topic.id;
            let ready = ReadyWaker::new(&inbox, connections.next_index());
            let index = connections.insert(Box::new(MemoryClient(Reader::default())), place, ready, now);
            connections.move_to_end(index, Queue::Ping, now + Duration::from_millis(step));
            open.push((index, topic));
        } else {
            let (index, _) = open.swap_remove((random >> 33) as usize % open.len());
            connections.remove(index).unwrap();
        }
        if let Some((index, _)) = open.get((random >> 40) as usize % open.len().max(1)) {
            connections.move_to_end(*index, Queue::Blocked, now + Duration::from_millis(step));
        }
    }
    assert_eq!(connections.len(), open.len());
    let topics: std::collections::BTreeSet<u64> = open.iter().map(|(_, topic)| *topic).collect();
    for topic in topics {
        let mut expected: Vec<u32> = open.iter().filter(|(_, of)| *of == topic).map(|(index, _)| *index).collect();
        let mut audience = connections.audience(topic).to_vec();
        expected.sort_unstable();
        audience.sort_unstable();
        assert_eq!(audience, expected);
    }
    for queue in [Queue::Ping, Queue::Blocked] {
        let mut times = Vec::new();
        while let Some((index, at)) = connections.front(queue) {
            connections.unlink(index, queue);
            times.push(at);
        }
        assert!(times.is_sorted(), "{queue:?}");
        assert!(queue == Queue::Blocked || times.len() == open.len());
    }
    open.iter().for_each(|(index, _)| drop(connections.remove(*index).unwrap()));
    assert_eq!(connections.len(), 0);
}
