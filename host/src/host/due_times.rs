//! What the schedules of a node without a cluster have run: the port [`Ticks`] over files.
//!
//! `<stateDir>/schedules/<module>.json` has the due time up to which each schedule that makes up
//! for missed ones has handled all. It is written when a run has ended, so that a host that is
//! killed meanwhile owes it at its next start.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::blocking::run_blocking;
use crate::call::{CallError, DueRecord};
use crate::files::{self, PRIVATE, ReadError, make_private, write_durable};
use crate::ports::{BoxFuture, Claim, Tick, Ticks};

/// The most bytes of a file that are read.
const MOST: u64 = 16 << 20;

/// The due times of a node.
pub(super) struct DueTimes(Arc<Files>);

struct Files {
    dir: PathBuf,
    modules: Mutex<HashMap<Arc<str>, Arc<Mutex<Module>>>>,
}

/// The due times of a module.
#[derive(Default)]
struct Module {
    is_read: bool,
    /// Whether the file has this state.
    is_saved: bool,
    /// Whether the log says that the file cannot be written.
    is_warned: bool,
    /// By name and subdomain.
    schedules: BTreeMap<(String, Option<String>), DueRecord>,
}

/// The record of a schedule in the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    schedule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subdomain: Option<String>,
    #[serde(flatten)]
    record: DueRecord,
}

impl DueTimes {
    pub(super) fn new(state_dir: &Path) -> DueTimes {
        DueTimes(Arc::new(Files { dir: state_dir.join("schedules"), modules: Mutex::default() }))
    }
}

impl Files {
    /// Changes the record of a schedule, and writes it if it changed.
    fn change<R>(&self, tick: &Tick, change: impl FnOnce(&mut Option<DueRecord>) -> (bool, R)) -> (io::Result<()>, R) {
        let module = self.modules.lock().entry(tick.module.clone()).or_default().clone();
        let mut module = module.lock();
        let file = self.dir.join(format!("{}.json", tick.module));
        module.read(&file);
        let key = (tick.name.to_string(), tick.subdomain.as_deref().map(str::to_owned));
        let mut record = module.schedules.remove(&key);
        let (changed, result) = change(&mut record);
        module.schedules.extend(record.map(|record| (key, record)));
        module.is_saved &= !changed;
        (module.save(&file), result)
    }

    fn claim(&self, tick: &Tick, now: u64) -> Claim {
        let (_, claim) = self.change(tick, |record| {
            let changed = tick.making.as_ref().is_some_and(|making| DueRecord::learn(record, making, tick.due, now));
            let after = record.as_ref().map_or(0, |record| record.done);
            let claim = if after >= tick.due { Claim::Taken { runs: false } } else { Claim::Granted { after } };
            (changed, claim)
        });
        claim
    }

    fn ended(&self, tick: &Tick, done: u64) -> io::Result<()> {
        let (saved, ()) = self.change(tick, |record| {
            let record = record.get_or_insert_default();
            let changed = record.done < done;
            record.done = record.done.max(done);
            (changed, ())
        });
        saved
    }
}

impl Module {
    fn read(&mut self, file: &Path) {
        if std::mem::replace(&mut self.is_read, true) {
            return;
        }
        self.is_saved = true;
        let read: Result<Vec<Stored>, String> = match files::read(file, MOST) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(schedules) => {
                let records = schedules.into_iter().map(|one| ((one.schedule, one.subdomain), one.record));
                self.schedules = records.collect();
            }
            Err(error) => {
                let path = file.display();
                tracing::warn!(%path, %error, "cannot read which due times of schedules were handled; none is owed from before");
            }
        }
    }

    fn save(&mut self, file: &Path) -> io::Result<()> {
        if self.is_saved {
            return Ok(());
        }
        let saved = file.parent().map_or(Ok(()), make_private).and_then(|()| {
            let stored = self.schedules.iter().map(|((schedule, subdomain), record)| {
                let (schedule, subdomain) = (schedule.clone(), subdomain.clone());
                Stored { schedule, subdomain, record: record.clone() }
            });
            let text = serde_json::to_vec_pretty(&stored.collect::<Vec<_>>()).map_err(io::Error::other)?;
            write_durable(file, &text, PRIVATE)
        });
        self.is_saved = saved.is_ok();
        if let Err(error) = &saved
            && !self.is_warned
        {
            let path = file.display();
            tracing::warn!(%path, %error, "cannot write which due times of schedules were handled, so the next start may make up for too few or too many; set stateDir to a folder that can be written");
        }
        self.is_warned = saved.is_err();
        saved
    }
}

impl Ticks for DueTimes {
    fn claim(&self, tick: Tick, now: u64) -> BoxFuture<Result<Claim, CallError>> {
        let times = self.0.clone();
        Box::pin(async move { Ok(run_blocking(move || times.claim(&tick, now)).await) })
    }

    fn ended(&self, tick: Tick, done: Option<u64>) -> BoxFuture<Result<(), CallError>> {
        let times = self.0.clone();
        Box::pin(async move {
            let Some(done) = done else { return Ok(()) };
            let ended = run_blocking(move || times.ended(&tick, done)).await;
            ended.map_err(|error| CallError::Unavailable(format!("stateDir: {error}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Making;
    use crate::files::faults::{Fault, with};

    fn tick(module: &str, subdomain: Option<&str>, due: u64) -> Tick {
        let making = Some(Making { times: "t".into(), is_check: true, is_anew: false, done: 0 });
        let subdomain = subdomain.map(Arc::from);
        Tick { module: module.into(), name: "s".into(), subdomain, due, immediate: false, overlaps: false, making }
    }

    const HANDLED: Claim = Claim::Taken { runs: false };

    #[test]
    fn a_start_owes_what_was_due_after_the_last_end() {
        let temp = tempfile::tempdir().unwrap();
        let open = || DueTimes::new(temp.path()).0;
        let times = open();
        assert_eq!(times.claim(&tick("m", None, 1_000), 1_000), HANDLED, "it is new");
        assert_eq!(times.claim(&tick("m", Some("acme"), 1_500), 1_500), HANDLED);
        // It is killed in its run.
        assert_eq!(times.claim(&tick("m", None, 2_000), 2_000), Claim::Granted { after: 1_000 });
        let times = open();
        assert_eq!(times.claim(&tick("m", None, 5_000), 5_000), Claim::Granted { after: 1_000 });
        times.ended(&tick("m", None, 5_000), 5_000).unwrap();
        let times = open();
        assert_eq!(times.claim(&tick("m", None, 5_000), 5_000), HANDLED);
        assert_eq!(times.claim(&tick("m", Some("acme"), 5_000), 5_000), Claim::Granted { after: 1_500 });
        assert_eq!(times.claim(&tick("other", None, 5_000), 5_000), HANDLED);
    }

    #[test]
    fn a_file_that_cannot_be_written_or_read_stops_no_schedule() {
        let temp = tempfile::tempdir().unwrap();
        let times = DueTimes::new(temp.path()).0;
        times.claim(&tick("m", None, 1_000), 1_000);
        let (ended, _) = with(Fault::Full { at: 0 }, || times.ended(&tick("m", None, 2_000), 2_000));
        ended.unwrap_err();
        assert_eq!(times.claim(&tick("m", None, 2_000), 2_000), HANDLED, "it is known, and written now");
        let file = temp.path().join("schedules/m.json");
        assert!(std::fs::read_to_string(&file).unwrap().contains("\"done\": 2000"));
        std::fs::write(&file, "{").unwrap();
        let times = DueTimes::new(temp.path()).0;
        assert_eq!(times.claim(&tick("m", None, 3_000), 3_000), HANDLED);
    }
}
