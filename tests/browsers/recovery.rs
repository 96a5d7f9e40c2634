//! The clients in `docs/channels.md`: the packages of both lines of SocketCluster, and plain
//! JavaScript. Each recovers what it missed during a cut, or says that it cannot.

use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Proxy, Started, TempDir, TestHost, eventually, not_run, program, root};

/// What the channel keeps.
const KEPT: usize = 5;

/// Returns the file that a block of the page is, from its first line.
fn file(name: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/channels.md")).unwrap();
    let begin = format!("```js\n// {name}\n");
    let (_, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("the page has no block {name}"));
    rest.split_once("\n```\n").unwrap().0.to_owned()
}

/// A client that prints each message as a line. Dropping it kills its process.
struct Reader {
    name: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
    proxy: Proxy,
    _dir: TempDir,
    _child: Child,
}

impl Reader {
    /// Starts a client of the page, with a package from npm if it needs one. It tries again sooner
    /// than on the page, and reaches the host through a proxy.
    async fn start(name: &'static str, package: Option<&str>, host: &Started) -> Option<Reader> {
        let Some(node) = program(&["node"]) else {
            not_run("the clients of channels: install node");
            return None;
        };
        let (dir, proxy) = (TempDir::new(), Proxy::to(host.http).await);
        if let Some(package) = package {
            let installed = root().join("target/readers/npm/node_modules").join(package);
            if !installed.exists() {
                not_run("the clients of channels: run tests/readers/install");
                return None;
            }
            std::fs::create_dir_all(dir.path().join("node_modules")).unwrap();
            symlink(installed, dir.path().join("node_modules/socketcluster-client")).unwrap();
        }
        let port = proxy.address.port();
        let soon = "autoReconnectOptions: { initialDelay: 300, randomness: 0, multiplier: 1, maxDelay: 300 }";
        let code = file(name)
            .replace("port: 8080,", &format!("port: {port}, {soon},"))
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
        dir.write("recover.mjs", file("recover.mjs"));
        let main = dir.write(name, code);

        let mut command = Command::new(node);
        // Node.js 20 has a WebSocket only with this option.
        command.arg("--experimental-websocket").arg(main);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = collect(child.stdout.take().unwrap());
        let errors = collect(child.stderr.take().unwrap());
        Some(Reader { name, lines, errors, proxy, _dir: dir, _child: child })
    }

    async fn until(&self, expected: &[String]) {
        eventually(&format!("{} prints {expected:?}", self.name), || async { *self.lines.lock().unwrap() == expected })
            .await;
    }
}

/// The lines that a process writes.
fn collect(output: impl AsyncRead + Send + Unpin + 'static) -> Arc<Mutex<Vec<String>>> {
    let mut output = BufReader::new(output).lines();
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let into = lines.clone();
    tokio::spawn(async move {
        while let Ok(Some(line)) = output.next_line().await {
            into.lock().unwrap().push(line);
        }
    });
    lines
}

/// The paths of the page's clients.
fn listeners() -> Value {
    json!({ "websocket": { "listeners": [
        { "path": "/socketcluster/", "protocol": 2, "module": "echo" },
        { "path": "/socketcluster/1/", "protocol": 1, "module": "echo" },
    ] } })
}

/// Publishes the next numbers.
async fn publish(host: &Started, next: &mut usize, count: usize) -> Vec<String> {
    let numbers: Vec<String> = (*next..*next + count).map(|number| number.to_string()).collect();
    for number in &numbers {
        host.running().publish_to_channel("news", number.clone()).await.unwrap();
    }
    *next += count;
    numbers
}

#[tokio::test]
async fn the_clients_of_the_page_recover_what_they_missed_or_say_that_they_cannot() {
    let host = TestHost::with("echo")
        .manifest("echo", json!({ "channels": { "news": { "history": KEPT } } }))
        .grant("echo", json!({ "channels": ["news"] }))
        .config(listeners())
        .start()
        .await;
    let mut next = 1;
    for (name, package) in [("reader.mjs", Some("sc20")), ("reader.cjs", Some("sc14")), ("plain.mjs", None)] {
        // A new client begins with what the channel keeps.
        let first = publish(&host, &mut next, KEPT).await;
        let Some(reader) = Reader::start(name, package, &host).await else { continue };
        let mut expected = first;
        reader.until(&expected).await;
        expected.extend(publish(&host, &mut next, 2).await);
        reader.until(&expected).await;

        for missed in [KEPT, 2 * KEPT] {
            reader.proxy.cut();
            let left = || async { host.running().channel_count("news") == 0 };
            eventually("the client has left", left).await;
            let published = publish(&host, &mut next, missed).await;
            if missed > KEPT {
                expected.push("some messages are lost".to_owned());
            }
            expected.extend_from_slice(&published[missed - KEPT..]);
            reader.until(&expected).await;
        }
        expected.extend(publish(&host, &mut next, 1).await);
        reader.until(&expected).await;
        drop(reader);
        eventually("the client has left", || async { host.running().channel_count("news") == 0 }).await;
    }
}

#[tokio::test]
async fn a_client_of_the_page_says_that_its_channel_has_no_history() {
    let host = TestHost::with("echo").config(listeners()).start().await;
    let Some(reader) = Reader::start("plain.mjs", None, &host).await else { return };
    let says = || async { reader.errors.lock().unwrap().iter().any(|line| line == "the channel news has no history") };
    eventually("the client says that its channel has no history", says).await;
}
