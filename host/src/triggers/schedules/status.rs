//! The status of a schedule as a document.

use super::plan::{Entry, Key};
use crate::api::{ScheduleState, ScheduleStatus};
use crate::config::Overlap;

pub fn status_of(key: &Key, entry: &Entry) -> ScheduleStatus {
    let schedule = &entry.schedule;
    let (timing, counts) = (&schedule.timing, &entry.counts);
    ScheduleStatus {
        module: key.module.to_string(),
        name: key.name.to_string(),
        subdomain: key.subdomain.as_deref().map(str::to_owned),
        kind: schedule.kind.as_str().to_owned(),
        interval: timing.interval(),
        cron: timing.cron().map(str::to_owned),
        tz: timing.cron().map(|_| timing.zone().to_owned()),
        end_date: timing.end(),
        immediate: schedule.immediate,
        overlap: if schedule.overlap == Overlap::Skip { "skip" } else { "allow" }.to_owned(),
        state: match (schedule.off, entry.next()) {
            (Some(_), _) => ScheduleState::Disabled,
            (None, Some(_)) => ScheduleState::Active,
            (None, None) => ScheduleState::Done,
        },
        reason: schedule.off.map(|off| off.to_string()),
        next: entry.next(),
        running: entry.running(),
        succeeded: counts.succeeded(),
        failed: counts.failed(),
        skipped: counts.skipped,
        missed: counts.missed,
        makes_up: schedule.durable.is_some(),
        made_up: counts.made_up,
        given_up: counts.given_up,
        last: counts.last.clone(),
    }
}
