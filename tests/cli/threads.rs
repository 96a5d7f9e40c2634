//! Systems that allow the host only a few threads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Signal, getuid, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::Project;
use super::project::pid_of;
use crate::harness::not_run;

/// Longer than a start takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Allows a process and its children a number of threads. The tests share a user, so that the limit
/// of a user (`ulimit -u`) would count all of them.
enum ThreadLimit {
    /// A control group of its own, which only root can make.
    Group(PathBuf),
    /// A user namespace of its own, in which `ulimit -u` counts from 0. It does not apply to root.
    Namespace(u32),
}

impl ThreadLimit {
    async fn of(threads: u32) -> Option<ThreadLimit> {
        if !getuid().is_root() {
            let made = Command::new("unshare").args(["--user", "true"]).stderr(Stdio::null()).status().await;
            return made.is_ok_and(|made| made.success()).then_some(ThreadLimit::Namespace(threads));
        }
        for root in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
            let group = Path::new(root).join(format!("fanfare-{}-{threads}", std::process::id()));
            if fs::create_dir(&group).is_ok() {
                let limit = ThreadLimit::Group(group);
                if limit.set(threads) {
                    return Some(limit);
                }
            }
        }
        None
    }

    fn set(&self, threads: u32) -> bool {
        match self {
            ThreadLimit::Group(group) => fs::write(group.join("pids.max"), threads.to_string()).is_ok(),
            ThreadLimit::Namespace(_) => false,
        }
    }

    fn command(&self, project: &Project, args: &[&str]) -> Command {
        let script = match self {
            ThreadLimit::Group(group) => format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.display()),
            ThreadLimit::Namespace(threads) => {
                format!("exec unshare --user sh -c 'ulimit -u {threads} && exec \"$@\"' sh \"$@\"")
            }
        };
        project.shell(&script, args)
    }
}

impl Drop for ThreadLimit {
    fn drop(&mut self) {
        if let ThreadLimit::Group(group) = self {
            let group = &*group;
            // The kernel removes the last process of the group a moment after its end.
            let is_busy =
                |_: &u32| fs::remove_dir(group).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound);
            (0..10_000).take_while(is_busy).for_each(|_| std::thread::yield_now());
        }
    }
}

#[tokio::test]
async fn with_too_few_threads_serve_ends_with_an_error_that_names_the_limits() {
    let project = Project::with(&["echo"]).config(json!({ "swap": { "watch": true } }));
    // The artefact exists, so that the start needs no other process.
    project.serve(&[]).await.stop().await;
    let (mut failed, mut served) = (0, 0);
    for threads in 1..=12 {
        let Some(limit) = ThreadLimit::of(threads).await else {
            return not_run("the number of threads cannot be limited: this needs a pids control group or unshare");
        };
        let mut command = limit.command(&project, &["serve"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (pid, mut log) = (pid_of(&child), child.stderr.take().unwrap());
        let read = tokio::spawn(async move {
            let mut text = String::new();
            log.read_to_string(&mut text).await.map(|_| text)
        });
        // A host that serves prints its addresses, one that does not serve ends.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let serves = timeout(TIMEOUT, lines.next_line()).await.expect("it serves or ends").unwrap().is_some();
        if serves {
            kill_process(pid, Signal::TERM).unwrap();
        }
        let code = timeout(TIMEOUT, child.wait()).await.expect("it ends").unwrap().code();
        let text = read.await.unwrap().unwrap();
        assert!(!text.contains("panic"), "{threads} threads: {text}");
        if serves {
            assert_eq!(code, Some(0), "{threads} threads: {text}");
            served += 1;
        } else {
            assert_eq!(code, Some(1), "{threads} threads: {text}");
            assert!(text.contains("raise `ulimit -u`, TasksMax"), "{threads} threads: {text}");
            failed += 1;
        }
    }
    assert!(failed >= 5 && served >= 1, "{failed} {served}");
}
