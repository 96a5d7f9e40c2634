//! Ten thousand idle streams. The host and the clients are processes of their own, each with as
//! many descriptors as the system allows.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::cli::project::{Project, Serving, memory_of};
use crate::harness::eventually;

/// The wanted number of streams. `FANFARE_TEST_STREAMS` sets another.
const STREAMS: usize = 10_000;

/// The descriptors of the host that are no streams.
const OTHERS: usize = 320;

/// A generous bound on the memory of an idle stream in bytes. The benchmark `streams` measures it.
const MOST_MEMORY: f64 = 6_000.0;

const ADDRESS: &str = "FANFARE_TEST_CLIENTS_OF";

/// The process of the clients: this test program again.
struct Clients {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Clients {
    fn start(address: SocketAddr, streams: usize) -> Clients {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", "streams::idle::the_clients_in_a_process_of_their_own"]);
        command.env(ADDRESS, format!("{address} {streams}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Clients { child, input, output: BufReader::new(output) }
    }

    /// Waits for a line that begins with a word, and returns the number after it.
    fn number(&mut self, word: &str) -> usize {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the clients have ended");
            // The test program prints lines of its own.
            if let Some(number) = line.split(' ').skip_while(|part| *part != word).nth(1) {
                return number.trim().parse().unwrap();
            }
        }
    }

    /// Lets every client read until it has `text`. Returns how many have.
    fn read(&mut self, text: &str) -> usize {
        writeln!(self.input, "{text}").unwrap();
        self.number("received")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing unless [`Clients`] has started this process.
#[test]
fn the_clients_in_a_process_of_their_own() {
    let Ok(wanted) = std::env::var(ADDRESS) else { return };
    fanfare::raise_descriptor_limit();
    let (address, streams) = wanted.split_once(' ').unwrap();
    let streams: usize = streams.parse().unwrap();
    let mut open: Vec<TcpStream> = (0..streams).map(|number| connect(address, number)).collect();
    println!("\nopen {streams}");
    for text in std::io::stdin().lock().lines() {
        let text = text.unwrap();
        let received = open.iter_mut().filter_map(|stream| read_until(stream, &text)).count();
        println!("\nreceived {received}");
    }
}

fn connect(address: &str, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // A tenth of the clients share a key, the others have one each.
    let key = if number.is_multiple_of(10) { "shared".to_owned() } else { format!("own-{number}") };
    write!(stream, "GET /stream?connectKey=streams/{key} HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n")
        .unwrap();
    read_until(&mut stream, ": connected").unwrap_or_else(|| panic!("stream {number} is not open"));
    stream
}

/// Reads until `text` has arrived. `None` if the stream ends before, or nothing arrives.
fn read_until(stream: &mut TcpStream, text: &str) -> Option<()> {
    let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    while !received.windows(text.len()).any(|part| part == text.as_bytes()) {
        // Only the end of what was searched can be the beginning of the text.
        received.drain(..received.len().saturating_sub(text.len()));
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        received.extend_from_slice(&buffer[..count]);
    }
    Some(())
}

/// The number of streams that fit, at most the wanted one.
fn streams() -> usize {
    let wanted = std::env::var("FANFARE_TEST_STREAMS").ok().and_then(|text| text.parse().ok()).unwrap_or(STREAMS);
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let hard = line.split_whitespace().nth(1).unwrap().parse().unwrap_or(usize::MAX);
    wanted.min(hard.saturating_sub(OTHERS))
}

fn host() -> Project {
    let manifest = fs::read_to_string(crate::harness::source_of("streams").join("module.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["capabilities"] = json!({ "sse": ["*"] });
    let project = Project::with(&["streams"]).config(json!({
        "http": { "listen": "127.0.0.1:0", "maxConnections": 1_000_000 },
        "sse": { "maxClients": 1_000_000, "pingInterval": 0 },
        "modules": { "streams": { "grants": { "sse": ["*"] } } },
    }));
    project.dir.write("modules/streams/module.json", manifest.to_string());
    project
}

async fn post(serving: &Serving, route: &str, body: serde_json::Value) -> u64 {
    let mut connection = crate::harness::Connection::open(serving.http).await;
    let answer = connection.send("POST", &format!("/api/streams/{route}"), &[], body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_u64().unwrap()
}

async fn count(serving: &Serving) -> u64 {
    post(serving, "count", json!(null)).await
}

/// The resident memory of the host.
fn resident(serving: &Serving) -> f64 {
    memory_of(serving.pid(), "VmRSS").unwrap() as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_streams_cost_little_and_leave_nothing() {
    let streams = streams();
    let serving = host().serve(&[]).await;
    assert_eq!(count(&serving).await, 0);
    let before = resident(&serving);
    let mut after_rounds = Vec::new();
    for round in 0..3 {
        let begun = Instant::now();
        let mut clients = Clients::start(serving.http, streams);
        let open = tokio::task::block_in_place(|| clients.number("open"));
        assert_eq!((open, count(&serving).await), (streams, streams as u64));
        let each = (resident(&serving) - before) / streams as f64;
        println!("{streams} idle streams after {:?}: {each:.0} bytes of memory each", begun.elapsed());
        assert!(each < MOST_MEMORY, "{each} bytes for each stream");
        // The host serves requests as before.
        let asked = Instant::now();
        count(&serving).await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());

        let data = format!("to all in round {round}");
        assert_eq!(post(&serving, "publish-all", json!({ "data": data })).await, streams as u64);
        assert_eq!(tokio::task::block_in_place(|| clients.read(&data)), streams);
        let shared = post(&serving, "publish", json!({ "key": "streams/shared", "data": "x" })).await;
        assert_eq!(shared, streams.div_ceil(10) as u64);
        // All of them leave at once.
        clients.signal(Signal::KILL);
        eventually("all have left", || async { count(&serving).await == 0 }).await;
        drop(clients);
        after_rounds.push(resident(&serving));
        println!("round {round} took {:?}", begun.elapsed());
    }
    // The allocator keeps more memory after the second round than after the first one, and then no
    // more.
    let [_, second, third] = after_rounds[..] else { panic!() };
    assert!(third < second * 1.1 + 1e6, "memory grows: {second} bytes, then {third}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_clients_are_cut_and_hold_up_nobody() {
    let serving = host().serve(&[]).await;
    let mut stopped = Clients::start(serving.http, 100);
    let mut others = Clients::start(serving.http, 100);
    tokio::task::block_in_place(|| (stopped.number("open"), others.number("open")));
    stopped.signal(Signal::STOP);
    // The default of `sse.queue.bytes` is 1 MiB, and the sockets hold some more.
    let data = "x".repeat(200_000);
    let mut round = 0;
    while count(&serving).await > 190 {
        assert!(round < 200, "the stopped clients of `shared` are not cut");
        let (last, data) = (format!("end {round}."), format!("{data} end {round}."));
        post(&serving, "publish", json!({ "key": "streams/shared", "data": data })).await;
        post(&serving, "publish-all", json!({ "data": last })).await;
        assert_eq!(tokio::task::block_in_place(|| others.read(&last)), 100);
        round += 1;
    }
    stopped.signal(Signal::CONT);
    // The others of the stopped process are small, and alive.
    assert_eq!(count(&serving).await, 190);
    post(&serving, "publish-all", json!({ "data": "after that" })).await;
    assert_eq!(tokio::task::block_in_place(|| stopped.read("after that")), 90);
}
