//! An HTTP client that sends requests at a fixed rate, in a process of its own. Its one thread
//! never sleeps, so that it measures microseconds.
//!
//! Each request has a time when it is due, and its latency counts from then. So the latency
//! includes the time during which a stalled server kept requests from being sent.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const CONNECTIONS: usize = 32;

/// A keep-alive connection.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// When the running request was due. `None` when no request runs.
    due: Option<Instant>,
}

/// `paced <address> <path> <rate>`: runs until standard input ends, then prints its figures. The
/// rate is in requests a second; 0 sends as many as possible.
pub fn main(arguments: &[String]) {
    let [address, path, rate] = arguments else { panic!("paced <address> <path> <rate>") };
    let rate: f64 = rate.parse().unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    std::thread::spawn(move || {
        // An error ends the input too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopped.store(true, Ordering::Release);
    });
    println!("{}", run(address, request.as_bytes(), rate, &stop));
}

fn run(address: &str, request: &[u8], rate: f64, stop: &AtomicBool) -> Value {
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::open(address)).collect();
    let mut idle: VecDeque<usize> = (0..CONNECTIONS).collect();
    let interval = (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate));
    let (mut latencies, mut failed) = (Vec::new(), 0_u64);
    let begun = Instant::now();
    let mut next = begun;
    loop {
        let stopped = stop.load(Ordering::Acquire);
        while let Some(&index) = idle.front().filter(|_| !stopped) {
            let now = Instant::now();
            let due = if interval.is_some() { next } else { now };
            if due > now {
                break;
            }
            idle.pop_front();
            next = due + interval.unwrap_or_default();
            connections[index].stream.write_all(request).unwrap();
            connections[index].due = Some(due);
        }
        let mut under_way = false;
        for (index, connection) in connections.iter_mut().enumerate() {
            let Some(due) = connection.due else { continue };
            under_way = true;
            let Some(ended) = connection.read() else { continue };
            latencies.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
            idle.push_back(index);
            if !ended {
                failed += 1;
                *connection = Connection::open(address);
            }
        }
        if stopped && !under_way {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    json!({
        "answered": latencies.len() as u64 - failed, "failed": failed, "rate": latencies.len() as f64 / seconds,
        "p50": at(&latencies, 0.5), "p99": at(&latencies, 0.99), "p999": at(&latencies, 0.999), "max": at(&latencies, 1.0),
    })
}

/// The quantile of sorted values.
fn at(sorted: &[u32], part: f64) -> Value {
    let place = (sorted.len().saturating_sub(1)) as f64 * part;
    sorted.get(place as usize).copied().into()
}

impl Connection {
    fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        Connection { stream, received: Vec::new(), due: None }
    }

    /// Returns whether the response is good once it is complete. A closed connection is not.
    fn read(&mut self) -> Option<bool> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Some(false),
            Ok(count) => self.received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(_) => return Some(false),
        }
        let head = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&self.received[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if self.received.len() < head + 4 + length.unwrap_or(0) {
            return None;
        }
        self.received.clear();
        self.due = None;
        Some(text.starts_with("http/1.1 200"))
    }
}

/// This client as a process on the load's core, killed when dropped.
pub struct Load(Child);

impl Load {
    pub fn start(core: &str, address: &str, path: &str, rate: f64) -> Load {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(std::env::current_exe().unwrap()).args([
            "paced",
            address,
            path,
            &rate.to_string(),
        ]);
        Load(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Stops the client and returns its figures.
    pub fn stop(mut self) -> Value {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
