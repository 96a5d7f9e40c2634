//! Which topics this node follows, in buckets: a bucket is followed while one of its topics has
//! readers here, and for a while afterwards, so that readers who return find what was published
//! meanwhile in the history of this node.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::posts::{ALL, PLACES};

/// The buckets of one kind that this node follows.
pub(super) struct Following {
    state: Mutex<Vec<Place>>,
    /// Something has changed.
    pub(super) changed: Notify,
    /// Whether readers have to be told that they may have missed something.
    pub(super) owes: AtomicBool,
}

/// A bucket, or all topics.
struct Place {
    users: u32,
    /// Until when it is followed without users.
    until: Option<Instant>,
    /// The subscription. Each has another number.
    subscription: Option<u64>,
    /// The number of the last message of this node before everything arrived for the first time.
    first: Option<u64>,
    /// The same, while everything arrives.
    since: watch::Sender<Option<u64>>,
}

/// What the subscriptions lack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// The places to subscribe to, each with the number of its subscription.
    pub(super) begin: Vec<(usize, u64)>,
    pub(super) end: Vec<usize>,
    /// When to look again.
    pub(super) next: Option<Instant>,
}

/// What is about all topics concerns every reader.
fn with_all(place: usize) -> impl Iterator<Item = usize> {
    std::iter::once(place).filter(|place| *place != ALL).chain([ALL])
}

impl Following {
    pub(super) fn new() -> Following {
        let place =
            || Place { users: 0, until: None, subscription: None, first: None, since: watch::Sender::default() };
        Following {
            state: Mutex::new((0..PLACES).map(|_| place()).collect()),
            changed: Notify::new(),
            owes: AtomicBool::new(false),
        }
    }

    pub(super) fn add(&self, place: usize) {
        let mut state = self.state.lock();
        for place in with_all(place) {
            if let Some(place) = state.get_mut(place) {
                place.users = place.users.saturating_add(1);
                place.until = None;
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn remove(&self, place: usize, linger: Duration, now: Instant) {
        let mut state = self.state.lock();
        for place in with_all(place) {
            if let Some(place) = state.get_mut(place) {
                place.users = place.users.saturating_sub(1);
                place.until = (place.users == 0).then(|| now + linger);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Returns what the subscriptions lack, and takes it for done. `number` gives each subscription
    /// its number.
    pub(super) fn steps(&self, now: Instant, number: &mut u64) -> Steps {
        let mut steps = Steps::default();
        for (index, place) in self.state.lock().iter_mut().enumerate() {
            let wanted = place.users > 0 || place.until.is_some_and(|until| until > now);
            match (wanted, place.subscription) {
                (true, None) => {
                    *number += 1;
                    place.subscription = Some(*number);
                    steps.begin.push((index, *number));
                }
                (false, Some(_)) => {
                    (place.subscription, place.until, place.first) = (None, None, None);
                    place.since.send_replace(None);
                    steps.end.push(index);
                }
                (true, Some(_)) | (false, None) => {}
            }
            if let Some(until) = place.until.filter(|_| wanted) {
                steps.next = Some(steps.next.map_or(until, |next: Instant| next.min(until)));
            }
        }
        steps
    }

    /// The subscriptions that exist.
    pub(super) fn subscriptions(&self) -> Vec<(usize, u64)> {
        let state = self.state.lock();
        state.iter().enumerate().filter_map(|(index, place)| Some((index, place.subscription?))).collect()
    }

    /// From now on, everything arrives for these subscriptions.
    pub(super) fn confirm(&self, subscriptions: &[(usize, u64)], since: u64) {
        let mut state = self.state.lock();
        for (index, subscription) in subscriptions {
            if let Some(place) = state.get_mut(*index).filter(|place| place.subscription == Some(*subscription)) {
                // Of an interruption, the history tells readers who resume before it.
                place.since.send_replace(Some(*place.first.get_or_insert(since)));
            }
        }
    }

    /// The connection was lost. Returns whether somebody follows anything.
    pub(super) fn lost(&self) -> bool {
        let state = self.state.lock();
        state.iter().for_each(|place| _ = place.since.send_replace(None));
        state.iter().any(|place| place.subscription.is_some())
    }

    /// Whether everything arrives that this node follows.
    pub(super) fn is_confirmed(&self) -> bool {
        let state = self.state.lock();
        state.iter().all(|place| place.subscription.is_none() || place.since.borrow().is_some())
    }

    /// The places of which everything arrives.
    pub(super) fn confirmed(&self) -> Vec<usize> {
        let state = self.state.lock();
        state.iter().enumerate().filter(|(_, place)| place.since.borrow().is_some()).map(|(index, _)| index).collect()
    }

    pub(super) fn since(&self, place: usize) -> Option<watch::Receiver<Option<u64>>> {
        self.state.lock().get(place).map(|place| place.since.subscribe())
    }
}

/// The topics that this node follows.
pub(super) struct AllFollowing {
    pub(super) streams: Following,
    pub(super) channels: Following,
    pub(super) events: Following,
}

impl AllFollowing {
    pub(super) fn new() -> AllFollowing {
        AllFollowing { streams: Following::new(), channels: Following::new(), events: Following::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_followed_while_it_has_users_and_for_a_while_afterwards() {
        let (following, now, mut number) = (Following::new(), Instant::now(), 0);
        let linger = Duration::from_secs(5);
        assert_eq!(following.steps(now, &mut number), Steps::default());
        following.add(3);
        following.add(3);
        let begun = following.steps(now, &mut number);
        assert_eq!(begun.begin, [(3, 1), (ALL, 2)]);
        assert_eq!(following.steps(now, &mut number), Steps::default(), "once");
        following.remove(3, linger, now);
        following.remove(3, linger, now);
        let lingers = following.steps(now, &mut number);
        assert_eq!((lingers.end.len(), lingers.next), (0, Some(now + linger)));
        following.add(3);
        following.remove(3, linger, now + linger);
        assert_eq!(following.steps(now + linger, &mut number).end, [0; 0], "from the last reader on");
        let later = now + linger + linger;
        assert_eq!(following.steps(later, &mut number).end, [3, ALL]);
        following.add(3);
        assert_eq!(following.steps(later, &mut number).begin, [(3, 3), (ALL, 4)]);
    }

    #[test]
    fn only_the_present_subscription_is_confirmed() {
        let (following, now, mut number) = (Following::new(), Instant::now(), 0);
        following.add(3);
        let first = following.steps(now, &mut number).begin;
        following.remove(3, Duration::ZERO, now);
        following.steps(now, &mut number);
        following.add(3);
        following.steps(now, &mut number);
        let since = following.since(3).unwrap();
        following.confirm(&first, 7);
        assert_eq!(*since.borrow(), None, "the earlier one has ended");
        following.confirm(&following.subscriptions(), 8);
        assert_eq!(*since.borrow(), Some(8));
        assert!(following.lost());
        assert_eq!(*since.borrow(), None);
    }
}
