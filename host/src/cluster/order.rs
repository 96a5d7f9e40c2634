//! Puts what arrives about topics into the order of its sender, and notices what is missing.
//!
//! NATS keeps the order of a sender over all its subjects, but the client has a queue for each
//! subscription. So a message about all topics waits until what arrived before it was taken from
//! the other queues, and a message of a bucket that was sent after one about all topics waits for
//! that.

use std::collections::HashMap;

use super::posts::{BUCKETS, Stamp};

/// The most senders that are remembered.
const MOST_SENDERS: usize = 1_024;

/// The last numbers of each sender.
#[derive(Default)]
pub(super) struct Seen(HashMap<u64, Numbers>);

/// `None` for a place of which nothing has arrived.
struct Numbers {
    /// That of the last message about all topics.
    all: Option<u64>,
    buckets: Box<[Option<u64>; BUCKETS]>,
}

impl Seen {
    fn of(&mut self, boot: u64) -> &mut Numbers {
        if self.0.len() >= MOST_SENDERS && !self.0.contains_key(&boot) {
            self.0.clear();
        }
        self.0.entry(boot).or_insert_with(|| Numbers { all: None, buckets: Box::new([None; BUCKETS]) })
    }

    /// Takes a message. Returns how many before it are missing.
    pub(super) fn take(&mut self, place: usize, stamp: Stamp) -> u64 {
        let numbers = self.of(stamp.boot);
        // What was sent before the first that arrives concerns nobody here.
        let all = numbers.all.get_or_insert(stamp.after);
        match numbers.buckets.get_mut(place) {
            Some(last) => {
                let before = last.replace(stamp.number);
                before.map_or(0, |before| stamp.number.saturating_sub(before.saturating_add(1)))
            }
            None => {
                let before = std::mem::replace(all, stamp.number);
                stamp.number.saturating_sub(before.saturating_add(1))
            }
        }
    }

    /// Whether the message about all topics that was sent before this one has not been taken.
    pub(super) fn waits(&mut self, stamp: Stamp) -> bool {
        self.of(stamp.boot).all.is_some_and(|all| stamp.after > all)
    }

    /// What a sender has sent for each place. Returns how much is missing of the places that this
    /// node follows. If the sender knows of no loss, a place of which nothing has arrived begins
    /// with its number.
    pub(super) fn last(&mut self, boot: u64, last: &[u64], is_routine: bool, follows: impl Fn(usize) -> bool) -> u64 {
        let numbers = self.of(boot);
        let mut missed = 0u64;
        let all = numbers.buckets.iter_mut().chain([&mut numbers.all]);
        for (place, (seen, last)) in all.zip(last).enumerate() {
            let follows = follows(place);
            if is_routine && !follows {
                continue;
            }
            let before = seen.unwrap_or(if is_routine { *last } else { 0 });
            if follows {
                missed = missed.saturating_add(last.saturating_sub(before));
            }
            *seen = Some(before.max(*last));
        }
        missed
    }

    /// A place is followed anew: what was sent before concerns nobody here.
    pub(super) fn forget(&mut self, place: usize) {
        for numbers in self.0.values_mut() {
            match numbers.buckets.get_mut(place) {
                Some(number) => *number = None,
                None => numbers.all = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::posts::{ALL, PLACES};
    use super::*;

    fn stamp(boot: u64, number: u64, after: u64) -> Stamp {
        Stamp { boot, number, after }
    }

    #[test]
    fn a_gap_in_the_numbers_of_a_sender_is_noticed() {
        let mut seen = Seen::default();
        assert_eq!(seen.take(3, stamp(1, 7, 2)), 0, "the first that arrives");
        assert_eq!((seen.take(3, stamp(1, 8, 2)), seen.take(3, stamp(1, 11, 2))), (0, 2));
        assert_eq!((seen.take(4, stamp(1, 5, 2)), seen.take(3, stamp(2, 1, 0))), (0, 0));
        assert_eq!((seen.take(ALL, stamp(1, 3, 2)), seen.take(ALL, stamp(1, 5, 4))), (0, 1));
        seen.forget(3);
        assert_eq!(seen.take(3, stamp(1, 40, 5)), 0, "followed anew");
        (0..MOST_SENDERS as u64 * 2).for_each(|boot| _ = seen.take(3, stamp(boot, 1, 0)));
        assert!(seen.0.len() <= MOST_SENDERS);
    }

    #[test]
    fn the_last_numbers_of_a_sender_show_what_has_not_arrived() {
        let mut seen = Seen::default();
        seen.take(3, stamp(1, 7, 0));
        let mut last = [0; PLACES];
        last[3] = 7;
        assert_eq!(seen.last(1, &last, false, |_| true), 0);
        (last[3], last[4]) = (9, 1);
        assert_eq!(seen.last(1, &last, false, |place| place == 3), 2, "the other bucket concerns nobody here");
        assert_eq!(seen.last(1, &last, false, |_| true), 0, "once");
        assert_eq!(seen.take(3, stamp(1, 10, 0)), 0);
    }

    #[test]
    fn the_repeated_numbers_of_a_sender_are_where_a_new_reader_begins() {
        let mut seen = Seen::default();
        let mut last = [0; PLACES];
        (last[3], last[4]) = (7, 5);
        assert_eq!(seen.last(1, &last, true, |place| place == 3), 0, "what was sent before concerns nobody here");
        last[3] = 8;
        assert_eq!(seen.last(1, &last, true, |place| place != 3), 0, "while it is not followed");
        assert_eq!(seen.last(1, &last, true, |_| true), 1, "the last message has not arrived");
        assert_eq!(seen.last(1, &last, true, |_| true), 0, "once");
        assert_eq!((seen.take(4, stamp(1, 6, 0)), seen.take(4, stamp(1, 8, 0))), (0, 1));
        seen.forget(3);
        assert_eq!(seen.last(1, &last, true, |_| true), 0, "followed anew");
        assert_eq!(seen.last(2, &[0; PLACES], true, |_| true), 0);
        assert_eq!(seen.take(3, stamp(2, 2, 0)), 1, "the first message of a sender");
    }

    #[test]
    fn a_message_waits_for_the_one_about_all_topics_before_it() {
        let mut seen = Seen::default();
        assert!(!seen.waits(stamp(1, 1, 4)), "it is the first that arrives");
        seen.take(3, stamp(1, 1, 4));
        assert!(seen.waits(stamp(1, 2, 5)) && !seen.waits(stamp(1, 2, 4)));
        seen.take(ALL, stamp(1, 5, 4));
        assert!(!seen.waits(stamp(1, 2, 5)));
        seen.take(3, stamp(2, 1, 0));
        assert!(seen.waits(stamp(2, 2, 1)), "the first one about all topics");
    }
}
