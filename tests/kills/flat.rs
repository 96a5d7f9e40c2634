//! Killed instances leave nothing behind. `bench soak-kills` does the same a thousand times.

use std::fs;

use rustix::process::Pid;
use serde_json::json;

use crate::cli::project::{Project, memory_of};
use crate::harness::eventually;

/// The threads, descriptors and mappings of a process.
fn resources(process: Pid) -> [usize; 3] {
    let proc = format!("/proc/{}", process.as_raw_nonzero());
    let entries = |name: &str| fs::read_dir(format!("{proc}/{name}")).unwrap().count();
    [entries("task"), entries("fd"), fs::read_to_string(format!("{proc}/maps")).unwrap().lines().count()]
}

#[tokio::test]
async fn a_hundred_kills_leave_threads_descriptors_and_memory_as_they_were() {
    let project = Project::with(&["echo", "snapshot"]).config(json!({ "workers": 2 }));
    let serving = project.serve(&[]).await;
    let (admin, pid) = (serving.admin(), serving.pid());
    let kill = async |more: &[&str]| {
        let killed = project.run(&[&["workers", "kill", "--admin", &admin][..], more].concat()).await;
        assert_eq!(killed.code, 0, "{}", killed.err);
        assert_eq!(serving.get("/api/echo/who").await.status, 200);
    };
    // The first ones allocate what later ones use again.
    for _ in 0..5 {
        kill(&[]).await;
        kill(&["--immediate"]).await;
    }
    let (before, memory) = (resources(pid), memory_of(pid, "VmRSS").unwrap());
    for _ in 0..20 {
        kill(&[]).await;
        kill(&["--immediate"]).await;
    }
    eventually("as many threads, descriptors and mappings as before", || async {
        let now = resources(pid);
        now[0] <= before[0] && now[1] <= before[1] && now[2] <= before[2] + 8
    })
    .await;
    let grown = memory_of(pid, "VmRSS").unwrap().saturating_sub(memory);
    assert!(grown < 8 << 20, "{grown} bytes more after 80 kills of an isolate");
    assert_eq!(serving.stop().await.0, Some(0));
}
