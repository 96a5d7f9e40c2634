//! WebSockets beside a bare echo server on tokio-websockets: messages, connects, the memory of idle
//! clients, and pushes to many of them.
//!
//! Servers and clients are processes of their own and share the cores of the machine, so that the
//! client's time is part of every figure.

pub mod client;
pub mod server;

use std::thread;
use std::time::{Duration, Instant};

use crate::report::{Report, Row, Target};
use crate::streams::client::Client;
use crate::streams::server::{KEY, Server as StreamServer};
use crate::{Effort, median};
use server::{KINDS, Kind, Pusher};

/// The messages of a client that wait for their replies, and the number of messages of a round.
const FLIGHTS: [(&str, usize, usize); 2] = [("one at a time", 1, 40_000), ("64 in flight", 64, 400_000)];

/// The number of idle clients.
const IDLE: usize = 5_000;

/// The number of clients that a push reaches, and of pushes in a round.
const REACHED: usize = 1_000;
const PUSHES: u32 = 300;

/// The time that a server has to settle before its memory is read.
const SETTLE: Duration = Duration::from_millis(300);

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("websockets");
    messages(&mut report, effort);
    idle(&mut report, effort);
    pushes(&mut report, effort);
    report
}

/// Runs a measurement with each server in every round. Returns the values of each server.
fn rounds<T>(kinds: &[Kind], effort: Effort, mut each: impl FnMut(&Kind) -> T) -> Vec<Vec<T>> {
    let mut values: Vec<Vec<T>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.rounds {
        for (values, kind) in values.iter_mut().zip(kinds) {
            values.push(each(kind));
        }
    }
    values
}

/// Adds a row for each server, of one part of its values.
fn rows<T>(
    report: &mut Report,
    values: &[Vec<T>],
    what: &str,
    unit: &'static str,
    part: impl Fn(&T) -> f64,
) -> Vec<Row> {
    let row = |(kind, values): (&Kind, &Vec<T>)| {
        report.row(format!("{}, {what}", kind.name), unit, values.iter().map(&part).collect())
    };
    KINDS.iter().zip(values).map(row).collect()
}

fn messages(report: &mut Report, effort: Effort) {
    for (name, in_flight, messages) in FLIGHTS {
        let count = messages / effort.divisor as usize;
        let values = rounds(&KINDS, effort, |kind| client::measure(kind, &kind.start(), in_flight, count));
        let rates = rows(report, &values, name, "messages/s", |(rate, _)| *rate);
        for (kind, rate) in KINDS.iter().zip(&rates).skip(1) {
            let what = format!("{} / {}, {name}", kind.name, KINDS[0].name);
            report.ratio(what, rate, &rates[0], kind.target.map(Target::AtLeast));
        }
        rows(report, &values, &format!("{name}, processor time of the server for a message"), "us", |(_, time)| *time);
    }
}

/// Connects many clients that then send nothing.
fn idle(report: &mut Report, effort: Effort) {
    let clients = IDLE / effort.divisor as usize;
    // Clients of SocketCluster are idle after a handshake, which this reader does not send.
    let values = rounds(&KINDS[..3], effort, |kind| {
        let server = kind.start();
        let calm = (server.child.resident(), server.child.processor());
        let begun = Instant::now();
        let open = Client::open_websockets(&server.address, clients, kind.path);
        let took = begun.elapsed().as_secs_f64();
        let processor = server.child.processor() - calm.1;
        thread::sleep(SETTLE);
        let resident = server.child.resident() - calm.0;
        drop(open);
        let count = clients as f64;
        (count / took, processor / count * 1e6, resident / count / 1024.0)
    });
    rows(report, &values, &format!("{clients} connects"), "connects/s", |(rate, _, _)| *rate);
    rows(report, &values, "processor time of the server for a connect", "us", |(_, time, _)| *time);
    rows(report, &values, "resident memory for an idle client", "KiB", |(_, _, resident)| *resident);
}

/// Pushes to many clients at once, beside a bare loop that writes to as many sockets.
fn pushes(report: &mut Report, effort: Effort) {
    let pushes = (PUSHES / effort.divisor).max(2);
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let mut server = StreamServer::start("loop", 1);
        let mut client = Client::open(&server.address, REACHED, KEY);
        bare.push(times(&mut client, pushes, || server.command("publish 1").0));
        let mut pusher = Pusher::start(2);
        let mut client = Client::open_websockets(&pusher.server.address, REACHED, Pusher::PATH);
        ours.push(times(&mut client, pushes, || pusher.push()));
    }
    let what = format!("a push to {REACHED} clients, time to the last");
    let bare = report.row(format!("bare loop, {what}"), "ms", bare);
    let ours = report.row(format!("guest, 2 workers, {what}"), "ms", ours);
    report.ratio(format!("guest / bare loop, {what}"), &ours, &bare, Some(Target::AtMost(1.5)));
}

/// The median of the milliseconds until the last client has the message.
fn times(client: &mut Client, pushes: u32, mut push: impl FnMut() -> u64) -> f64 {
    // The first ones fill buffers that stay.
    let mut once = || {
        client.expect(1);
        let begun = push();
        (client.last(1) - begun) as f64 / 1e6
    };
    (0..3).for_each(|_| _ = once());
    median((0..pushes).map(|_| once()).collect())
}
