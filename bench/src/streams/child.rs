//! A child process of a benchmark: this executable again, or `fanfare`. It reads commands and
//! writes results as lines.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Child {
    child: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Nanoseconds of the wall clock, which all processes share.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// The processor time that all threads of a process have used, in seconds.
pub fn processor(process: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let nanoseconds = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    nanoseconds.sum::<u64>() as f64 / 1e9
}

impl Child {
    /// Starts this executable with arguments.
    pub fn start(arguments: &[&str]) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments);
        Child::of(&mut command)
    }

    pub fn of(command: &mut Command) -> Child {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Child { child, input, output: BufReader::new(output) }
    }

    pub fn send(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// Reads a line. Fails when the process has ended.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let count = self.output.read_line(&mut line).unwrap();
        assert!(count > 0, "the process has ended: {:?}", self.child.wait());
        line.trim_end().to_owned()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that all threads have used, in seconds.
    pub fn processor(&self) -> f64 {
        processor(self.id())
    }

    /// The resident memory, in bytes.
    pub fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
