//! Foreign readers of streams, each a process that prints what it receives. `tests/readers` has
//! their scripts.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::{not_run, program, root};

/// An event as a reader reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    pub id: String,
    pub event: String,
    pub data: String,
}

/// A reader of one stream. Dropping it kills its process.
pub struct Reader {
    pub name: &'static str,
    seen: Arc<Mutex<Seen>>,
    child: Option<Child>,
    task: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    events: Vec<Received>,
    opened: usize,
}

impl Reader {
    /// The npm package `eventsource`, which implements the browser's interface. It reports the
    /// events with these names.
    pub fn npm(url: &str, names: &[&str]) -> Option<Reader> {
        let installed = root().join("target/readers/npm/node_modules/eventsource");
        let (Some(node), true) = (program(&["node"]), installed.exists()) else {
            not_run("the reader eventsource: install node, then run tests/readers/install");
            return None;
        };
        let mut command = Command::new(node);
        command.arg(root().join("tests/readers/eventsource.mjs")).arg(url).args(names);
        Some(Reader::printing("eventsource", command))
    }

    /// The Python package sseclient-py.
    pub fn pypi(url: &str) -> Option<Reader> {
        let python = root().join("target/readers/python/bin/python");
        if !python.exists() {
            not_run("the reader sseclient-py: install python3-venv, then run tests/readers/install");
            return None;
        }
        let mut command = Command::new(python);
        command.arg(root().join("tests/readers/sseclient_reader.py")).arg(url);
        Some(Reader::printing("sseclient-py", command))
    }

    /// `curl -N`, started again with the last id when its stream ends.
    pub fn curl(url: &str) -> Option<Reader> {
        let Some(curl) = program(&["curl"]) else {
            not_run("curl: install it with apt-get install curl");
            return None;
        };
        let (seen, url) = (Arc::<Mutex<Seen>>::default(), url.to_owned());
        let task = tokio::spawn(curl_again_and_again(curl, url, seen.clone()));
        Some(Reader { name: "curl", seen, child: None, task: Some(task) })
    }

    /// A reader that prints lines of JSON.
    fn printing(name: &'static str, mut command: Command) -> Reader {
        let (child, stdout) = spawn(&mut command);
        let seen = Arc::<Mutex<Seen>>::default();
        let into = seen.clone();
        let task = tokio::spawn(async move {
            let mut lines = stdout.lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{name} prints {line}"));
                let mut seen = into.lock().unwrap();
                match line.get("state").and_then(Value::as_str) {
                    Some("open") => seen.opened += 1,
                    Some(_) => {}
                    None => {
                        let field = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                        seen.events.push(Received { id: field("id"), event: field("event"), data: field("data") });
                    }
                }
            }
        });
        Reader { name, seen, child: Some(child), task: Some(task) }
    }

    /// Returns the events so far.
    pub fn events(&self) -> Vec<Received> {
        self.seen.lock().unwrap().events.clone()
    }

    /// Returns how often the reader has connected.
    pub fn opened(&self) -> usize {
        self.seen.lock().unwrap().opened
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.start_kill();
        }
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn spawn(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

async fn curl_again_and_again(curl: impl AsRef<Path>, url: String, seen: Arc<Mutex<Seen>>) {
    let mut last = String::new();
    loop {
        let mut command = Command::new(curl.as_ref());
        command.args(["--silent", "--no-buffer", "--fail", &url]);
        if !last.is_empty() {
            command.args(["--header", &format!("Last-Event-ID: {last}")]);
        }
        let (_child, mut lines) = spawn(&mut command);
        let (mut line, mut block) = (String::new(), Vec::new());
        while let Ok(1..) = lines.read_line(&mut line).await {
            let ended = line.trim_end_matches(['\r', '\n']).to_owned();
            line.clear();
            if !ended.is_empty() {
                block.push(ended);
                continue;
            }
            let mut seen = seen.lock().unwrap();
            if block.first().is_some_and(|line| line == ": connected") {
                seen.opened += 1;
            }
            seen.events.extend(event_of(&block, &mut last));
            block.clear();
        }
    }
}

/// Reads the lines of one event. An event without data only sets the last id.
fn event_of(lines: &[String], last: &mut String) -> Option<Received> {
    let (mut event, mut data) = ("message".to_owned(), Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => *last = value.to_owned(),
            "event" => event = value.to_owned(),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Received { id: last.clone(), event, data: data.join("\n") })
}
