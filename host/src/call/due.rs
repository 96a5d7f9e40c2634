//! What is remembered about a schedule that makes up for missed due times, and the rules for it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How far a time may be in the future before it counts as one of a wrong clock.
pub const MOST_AHEAD: u64 = 3_600_000;

/// What a node knows about a schedule that makes up for missed due times, when it claims one. Times
/// are milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making {
    /// Its times as a text. Another text is another schedule, which owes nothing from before.
    pub times: Arc<str>,
    /// Whether the due time has passed, so that it only runs if it is owed.
    pub is_check: bool,
    /// Whether nothing is owed from before, because the schedule was changed or enabled.
    pub is_anew: bool,
    /// This node has handled every due time up to this one.
    pub done: u64,
}

/// What outlives a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DueRecord {
    /// Every due time up to this one was handled.
    pub done: u64,
    pub times: String,
}

impl DueRecord {
    /// Takes over what a node knows when it claims a due time. A schedule that is new owes nothing
    /// from before. Returns whether the record changed.
    pub fn learn(record: &mut Option<DueRecord>, making: &Making, due: u64, now: u64) -> bool {
        let before = record.clone();
        let most = now.saturating_add(MOST_AHEAD);
        let known = record.take().filter(|record| record.done <= most);
        let mut done = known.as_ref().map_or(0, |record| record.done);
        if making.is_anew || known.is_none_or(|record| record.times != *making.times) {
            done = done.max(if making.is_check { due } else { due.saturating_sub(1) });
        }
        if making.done <= most {
            done = done.max(making.done);
        }
        *record = Some(DueRecord { done, times: making.times.to_string() });
        *record != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn making(times: &str) -> Making {
        Making { times: times.into(), is_check: true, is_anew: false, done: 0 }
    }

    fn learned(record: &mut Option<DueRecord>, making: &Making, due: u64, now: u64) -> (bool, u64) {
        (DueRecord::learn(record, making, due, now), record.as_ref().unwrap().done)
    }

    #[test]
    fn a_new_schedule_and_a_changed_one_owe_nothing_from_before() {
        let mut record = None;
        assert_eq!(learned(&mut record, &making("1s"), 5_000, 5_100), (true, 5_000));
        assert_eq!(learned(&mut record, &making("1s"), 9_000, 9_100), (false, 5_000), "this is owed");
        assert_eq!(learned(&mut record, &making("2s"), 8_000, 9_100), (true, 8_000));
        let due = Making { is_check: false, ..making("3s") };
        assert_eq!(learned(&mut record, &due, 9_000, 9_000), (true, 8_999), "the first one runs");
        let anew = Making { is_anew: true, ..making("3s") };
        assert_eq!(learned(&mut record, &anew, 12_000, 12_500), (true, 12_000));
    }

    #[test]
    fn what_a_node_has_handled_counts_unless_its_clock_is_wrong() {
        let mut record = Some(DueRecord { done: 5_000, times: "1s".to_owned() });
        let done = |done| Making { done, ..making("1s") };
        assert_eq!(learned(&mut record, &done(4_000), 9_000, 9_000), (false, 5_000));
        assert_eq!(learned(&mut record, &done(7_000), 9_000, 9_000), (true, 7_000));
        assert_eq!(learned(&mut record, &done(9_000 + MOST_AHEAD + 1), 9_000, 9_000), (false, 7_000));
        let mut wrong = Some(DueRecord { done: 10_000_000_000, times: "1s".to_owned() });
        assert_eq!(learned(&mut wrong, &making("1s"), 9_000, 9_000), (true, 9_000));
    }
}
