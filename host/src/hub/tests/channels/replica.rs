//! Channels that another node has.

use super::*;
use crate::hub::{Assigned, ChannelListener, Mended};

const NAME: &str = "room";

/// What a listener has heard: texts, and `-` for what it missed.
#[derive(Default)]
struct Heard(parking_lot::Mutex<Vec<String>>);

impl ChannelListener for Heard {
    fn message(&self, _: &Arc<str>, message: &ChannelMessage, _: Option<ChannelPosition>) {
        self.0.lock().push(format!("{}@{}", message.payload.to_text(), message.offset));
    }

    fn missed(&self, count: Option<u64>) {
        self.0.lock().push(count.map_or("-?".to_owned(), |count| format!("-{count}")));
    }
}

struct Follower {
    node: Node,
    heard: Arc<Heard>,
    home: Arc<str>,
    _listening: crate::hub::Listening,
}

fn message(offset: u64) -> ChannelMessage {
    ChannelMessage { offset, at: 0, session: None, payload: "m".into() }
}

impl Follower {
    fn new() -> Follower {
        let (node, heard) = (Node::new(), Arc::new(Heard::default()));
        let listening = node.channels.listen(NAME, heard.clone()).unwrap();
        Follower { node, heard, home: "b".into(), _listening: listening }
    }

    /// Takes a message of the home. Returns whether something is missing.
    fn receive(&self, epoch: u64, offset: u64) -> bool {
        self.node.channels.receive(NAME, &self.home, epoch, message(offset), &keeping(9))
    }

    fn begin(&self) -> Option<Mended> {
        self.node.channels.begin_mend(NAME, &self.home)
    }

    fn page(&self, epoch: u64, offsets: std::ops::Range<u64>, latest: u64) -> Mended {
        let messages = offsets.map(message).collect();
        self.node.channels.mend(NAME, ChannelPage { epoch, messages, latest, complete: true }, &keeping(9))
    }

    fn heard(&self) -> String {
        std::mem::take(&mut *self.heard.0.lock()).join(" ")
    }
}

fn after(epoch: u64, offset: u64) -> Mended {
    Mended::After(Some(ChannelPosition { epoch, offset }))
}

#[test]
fn what_is_missing_comes_from_the_home_before_what_has_arrived_and_nothing_twice() {
    let follower = Follower::new();
    assert!(!follower.receive(7, 4), "nothing before the first message concerns anybody here");
    assert!(!follower.receive(7, 4) && !follower.receive(7, 3), "again");
    assert!(follower.receive(7, 7));
    assert_eq!(follower.heard(), "m@4");
    assert_eq!(follower.begin(), Some(after(7, 4)));
    assert_eq!(follower.begin(), None, "it has begun");
    assert!(!follower.receive(7, 8));
    assert_eq!(follower.page(7, 5..6, 8), after(7, 5), "the home has more");
    assert_eq!(follower.page(7, 6..9, 8), after(7, 8), "something else was missing meanwhile");
    assert_eq!(follower.page(7, 9..9, 8), Mended::Whole);
    assert!(!follower.receive(7, 9));
    assert_eq!(follower.heard(), "m@5 m@6 m@7 m@8 m@9");
}

#[test]
fn what_the_home_does_not_have_is_told() {
    let follower = Follower::new();
    follower.receive(7, 1);
    assert!(follower.receive(7, 4));
    follower.begin();
    assert_eq!(follower.page(7, 1..1, 4), after(7, 1));
    follower.node.channels.end_mend(NAME);
    assert_eq!(follower.heard(), "m@1 m@4 -2");
    assert!(follower.receive(7, 6));
    follower.begin();
    assert_eq!(follower.page(7, 6..7, 6), Mended::Whole, "a part is kept");
    assert_eq!(follower.heard(), "m@6 -1");
}

#[test]
fn a_later_epoch_is_told_and_an_earlier_one_is_refused() {
    let follower = Follower::new();
    follower.receive(7, 3);
    assert!(follower.receive(9, 1), "the channel has begun anew");
    follower.begin();
    assert_eq!(follower.page(9, 1..3, 2), Mended::Whole);
    assert_eq!(follower.heard(), "m@3 m@1 m@2 -?");
    assert!(follower.receive(7, 4), "its sender is to be told");
    follower.begin();
    assert_eq!(follower.page(7, 4..5, 4), Mended::Whole);
    assert_eq!(follower.heard(), "");
    assert!(!follower.receive(9, 3));
}

#[test]
fn messages_of_two_homes_that_wait_for_an_answer_come_in_the_order_of_the_homes() {
    let follower = Follower::new();
    follower.receive(7, 1);
    follower.begin();
    assert!(!follower.receive(8, 1) && !follower.receive(8, 2) && !follower.receive(9, 1));
    assert_eq!(follower.page(9, 1..2, 1), Mended::Whole);
    assert_eq!(follower.heard(), "m@1 m@1 m@2 m@1 -?");
}

#[test]
fn the_next_home_begins_after_everything_that_was_seen() {
    let follower = Follower::new();
    let channels = &follower.node.channels;
    follower.receive(u64::MAX - 9, 3);
    assert_eq!(channels.seen(NAME), Some(u64::MAX - 9));
    let settings = keeping(9);
    let published = Published { payload: "own".into(), session: None, settings: &settings };
    let place = channels.publish_at_home(NAME, published).unwrap();
    assert_eq!(place.position, ChannelPosition { epoch: u64::MAX - 8, offset: 1 });
    assert_eq!(channels.history(NAME, None, 9, 99).unwrap().messages.len(), 1);
    // Another node has seen a later epoch: what was kept before is not continued.
    channels.saw(NAME, u64::MAX - 5);
    let page = channels.history(NAME, None, 9, 99).unwrap();
    assert_eq!((page.epoch, page.latest, page.messages.len()), (u64::MAX - 4, 0, 0));
    channels.saw(NAME, 3);
    assert_eq!(channels.history(NAME, None, 9, 99).unwrap().epoch, u64::MAX - 4);
}

#[test]
fn a_channel_that_moves_away_is_not_kept_here_and_its_home_is_asked_once() {
    let follower = Follower::new();
    let channels = &follower.node.channels;
    let settings = keeping(9);
    let publish = |name| {
        let published = Published { payload: "own".into(), session: None, settings: &settings };
        channels.publish_at_home(name, published).unwrap().position
    };
    let last = Some(publish(NAME));
    assert_eq!(channels.assign(NAME, Some(&follower.home)), Assigned { follows: true, left: last });
    assert_eq!(channels.assign(NAME, Some(&follower.home)), Assigned::default());
    assert_eq!(channels.assign(NAME, None), Assigned::default());
    assert_eq!(channels.assign(NAME, Some(&follower.home)), Assigned { follows: true, left: None }, "it was away");
    let last = Some(publish("other"));
    assert_eq!(channels.assign("other", Some(&follower.home)), Assigned { follows: false, left: last });
    // One that has ended continues, or is told when it moves.
    let plain = Published { payload: "x".into(), session: None, settings: &PLAIN };
    let first = channels.publish_at_home("ended", plain).unwrap().position;
    let plain = Published { payload: "x".into(), session: None, settings: &PLAIN };
    let second = channels.publish_at_home("ended", plain).unwrap().position;
    assert_eq!((first.epoch, first.offset, second.offset), (second.epoch, 1, 2));
    assert_eq!(channels.history("ended", Some(second), 9, 9).map(|page| page.complete), Some(true));
    assert!(channels.take_ended(|_| false).is_empty());
    assert_eq!(channels.take_ended(|_| true), [("ended".into(), second)]);
    assert!(channels.take_ended(|_| true).is_empty());
}

#[test]
fn a_limited_number_of_messages_waits_for_the_home() {
    let follower = Follower::new();
    follower.receive(7, 1);
    follower.begin();
    for offset in 3..=1_027 {
        assert!(!follower.receive(7, offset));
    }
    assert_eq!(follower.page(7, 2..3, 2), after(7, 1_026), "one more than wait");
    assert_eq!(follower.heard().split(' ').count(), 1_026);
}

#[test]
fn a_limited_number_of_channels_that_have_ended_is_remembered() {
    let node = Node::new();
    for number in 0..=10_000 {
        let plain = Published { payload: "x".into(), session: None, settings: &PLAIN };
        assert_eq!(node.channels.publish_at_home(&format!("c/{number}"), plain).unwrap().position.offset, 1);
    }
    assert_eq!(node.channels.take_ended(|_| true).len(), 10_000);
}
