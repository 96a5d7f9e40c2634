//! The delay of schedules: from the time when a run is due until a client has the event that the
//! run publishes, beside a bare tokio interval that writes to a socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::report::{Report, Row, Target};
use crate::streams::child::now;
use crate::streams::guest::{Guest, MODULE};
use crate::{Effort, bare};

const INTERVAL: Duration = Duration::from_millis(100);

/// The runs of a round.
const RUNS: u32 = 100;

/// The delays of one round in milliseconds, sorted.
type Delays = Vec<f64>;

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("schedules");
    let runs = (RUNS / effort.divisor).max(10) as usize;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    let guest = Guest::start(2, json!({ "schedules": { "tick": { "interval": "100ms", "path": "tick" } } }));
    for _ in 0..effort.rounds {
        // Both at once, so that other load on the machine affects both.
        let interval = thread::spawn(move || delays(bare_interval(), runs));
        ours.push(delays(scheduled(&guest), runs));
        bare.push(interval.join().unwrap());
    }
    let row = |report: &mut Report, name: &str, rounds: &[Delays], what: &str, part: f64| -> Row {
        report.row(format!("{name}, delay {what}"), "ms", rounds.iter().map(|delays| at(delays, part)).collect())
    };
    for (what, part) in [("p50", 0.5), ("p99", 0.99)] {
        let bare = row(&mut report, "bare tokio interval of 100 ms", &bare, what, part);
        let ours = row(&mut report, "schedule of 100 ms through a guest and a stream", &ours, what, part);
        report.derived(format!("difference, {what}"), "ms", &[&ours, &bare], |parts| parts[0] - parts[1], None);
    }
    // A tick that is late by a whole interval would be a missed one.
    let worst = ours.iter().map(|delays| at(delays, 1.0)).collect();
    report.row("schedule of 100 ms, longest delay", "ms", worst);
    report.target(Target::AtMost(INTERVAL.as_secs_f64() * 1e3));
    report
}

fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

/// Reads lines of the form `data: <due>`, with the due time in milliseconds since 1970, and returns
/// how late each arrived.
fn delays(mut stream: TcpStream, runs: usize) -> Delays {
    let (mut delays, mut received) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4_096];
    while delays.len() < runs {
        let count = stream.read(&mut buffer).unwrap();
        let arrived = now() as f64 / 1e6;
        assert!(count > 0, "the stream has ended");
        received.extend_from_slice(&buffer[..count]);
        while let Some(end) = received.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = received.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&event);
            let due = text.lines().find_map(|line| line.strip_prefix("data: ")?.parse::<f64>().ok());
            delays.extend(due.map(|due| arrived - due));
        }
    }
    delays.sort_by(f64::total_cmp);
    delays
}

/// A stream with the ticks of the schedule.
fn scheduled(guest: &Guest) -> TcpStream {
    let mut stream = TcpStream::connect(&guest.address).unwrap();
    write!(stream, "GET /stream?connectKey={MODULE}/tick HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n")
        .unwrap();
    stream
}

/// A thread with an interval, which writes each tick to a socket.
fn bare_interval() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_nodelay(true).unwrap();
    thread::spawn(move || {
        bare::runtime().block_on(async {
            let (wall, instant) = (now() as f64 / 1e6, Instant::now());
            let mut ticks = interval_at(instant + INTERVAL, INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                let due = ticks.tick().await;
                let due = wall + (due - instant).as_secs_f64() * 1e3;
                // The reader ends when it has enough.
                if write!(socket, "data: {due}\n\n").is_err() {
                    return;
                }
            }
        });
    });
    stream
}
