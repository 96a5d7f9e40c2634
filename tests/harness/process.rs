//! Processes of other programs.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{not_run, program};

/// Starts a process that its drop kills, and prints what it writes to stderr.
///
/// The process gets a pipe, and does not inherit stderr: Node.js makes it non-blocking, for all who
/// write to it, and leaves it so when it is killed. Their writes would fail while the pipe is full.
pub fn spawn(command: &mut Command) -> Child {
    let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut errors = child.stderr.take().unwrap();
    tokio::spawn(async move {
        let mut chunk = vec![0; 4096];
        while let Ok(read @ 1..) = errors.read(&mut chunk).await {
            eprint!("{}", String::from_utf8_lossy(&chunk[..read]));
        }
    });
    child
}

#[tokio::test]
async fn a_killed_program_leaves_stderr_as_it_was() {
    let Some(node) = program(&["node"]) else { return not_run("node: install it with apt-get install nodejs") };
    let flags = || std::fs::read_to_string("/proc/self/fdinfo/2").unwrap().lines().nth(1).unwrap().to_owned();
    let before = flags();
    let mut child = spawn(Command::new(node).args(["-e", WRITES]).stdin(Stdio::null()).stdout(Stdio::piped()));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("written"));
    child.kill().await.unwrap();
    assert_eq!(flags(), before);
}

/// Writes to stderr, then waits.
const WRITES: &str = "process.stderr.write('\\n', () => { console.log('written'); setInterval(() => {}, 1000) })";
