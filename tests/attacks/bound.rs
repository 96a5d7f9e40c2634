//! A bound on the memory of a process and its children: a memory cgroup where one can be made, else
//! a look at the process every few milliseconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::project::{Serving, memory_of};
use crate::harness::eventually;

pub struct Bound {
    most: u64,
    group: Option<PathBuf>,
}

impl Bound {
    pub fn of(most: u64) -> Bound {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("fanfare-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // Version 1 has a tree for memory alone; in version 2 the file appears where the parent
        // hands the controller down.
        let trees = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let group = trees.iter().find_map(|(tree, limit)| limited(&Path::new(tree).join(&name), limit, most));
        if group.is_none() {
            println!("no memory cgroup can be made here: the process is looked at instead");
        }
        Bound { most, group }
    }

    /// Starts the program, `"$@"`, within the bound.
    pub fn script(&self) -> String {
        let enter = self.group.as_ref().map(|group| format!("echo $$ > {}/cgroup.procs && ", group.display()));
        format!("{}exec \"$@\"", enter.unwrap_or_default())
    }

    /// Ends a process that is found beyond the bound, where no cgroup does.
    pub fn watch(&self, process: Pid) {
        if self.group.is_some() {
            return;
        }
        let most = self.most;
        tokio::spawn(async move {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while let Some(bytes) = memory_of(process, "VmRSS") {
                if bytes > most {
                    let _ = kill_process(process, Signal::KILL);
                    return;
                }
                looks.tick().await;
            }
        });
    }

    /// Waits for the process that was signalled, and removes the group.
    pub async fn end(self, mut serving: Serving) {
        serving.ended().await;
        if let Some(group) = &self.group {
            // Children that it left behind end by themselves.
            eventually("the group is empty", || async { fs::remove_dir(group).is_ok() }).await;
        }
    }
}

fn limited(group: &Path, limit: &str, most: u64) -> Option<PathBuf> {
    fs::create_dir(group).ok()?;
    match fs::write(group.join(limit), most.to_string()) {
        Ok(()) => Some(group.to_owned()),
        Err(_) => {
            let _ = fs::remove_dir(group);
            None
        }
    }
}
