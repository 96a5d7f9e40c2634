//! Limits the memory of a process and its children with a memory cgroup, or by checking the process
//! every few milliseconds if no cgroup can be created.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::project::{Serving, memory_of};
use crate::harness::eventually;

pub struct MemoryLimit {
    bytes: u64,
    group: Option<PathBuf>,
}

impl MemoryLimit {
    pub fn new(bytes: u64) -> MemoryLimit {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("fanfare-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // cgroups v1 has a tree for memory alone. In v2 the file exists if the parent delegates the
        // memory controller.
        let trees = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        let group = trees.iter().find_map(|(tree, file)| limited_group(&Path::new(tree).join(&name), file, bytes));
        if group.is_none() {
            println!("cannot create a memory cgroup: the test checks the process instead");
        }
        MemoryLimit { bytes, group }
    }

    /// Returns a shell script that starts the program `"$@"` within the limit.
    pub fn script(&self) -> String {
        let enter = self.group.as_ref().map(|group| format!("echo $$ > {}/cgroup.procs && ", group.display()));
        format!("{}exec \"$@\"", enter.unwrap_or_default())
    }

    /// Kills the process when it exceeds the limit, if there is no cgroup that does.
    pub fn watch(&self, process: Pid) {
        if self.group.is_some() {
            return;
        }
        let limit = self.bytes;
        tokio::spawn(async move {
            let mut checks = tokio::time::interval(Duration::from_millis(5));
            while let Some(bytes) = memory_of(process, "VmRSS") {
                if bytes > limit {
                    let _ = kill_process(process, Signal::KILL);
                    return;
                }
                checks.tick().await;
            }
        });
    }

    /// Waits for the process, which must have been signalled, and removes the cgroup.
    pub async fn end(self, mut serving: Serving) {
        serving.ended().await;
        if let Some(group) = &self.group {
            // Children that the process left behind end by themselves.
            eventually("the cgroup is empty", || async { fs::remove_dir(group).is_ok() }).await;
        }
    }
}

/// Creates a cgroup and writes the limit to `file`.
fn limited_group(group: &Path, file: &str, bytes: u64) -> Option<PathBuf> {
    fs::create_dir(group).ok()?;
    match fs::write(group.join(file), bytes.to_string()) {
        Ok(()) => Some(group.to_owned()),
        Err(_) => {
            let _ = fs::remove_dir(group);
            None
        }
    }
}
