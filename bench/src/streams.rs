//! Server-sent events to many streams: the time until the last stream has an event, bursts, streams
//! with keys of their own, and the memory of idle streams.
//!
//! Servers and readers are processes of their own, because each needs a descriptor for each stream.
//! They share the cores of the machine, so that the reader's time is part of every figure.

mod bare;
pub mod child;
pub mod client;
mod embedded;
pub mod guest;
pub mod server;
mod wanted;

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::report::{Report, Row, Target};
use crate::{Effort, median};
use client::Client;
use guest::Guest;
use server::{KEY, Server};
use wanted::{KINDS, Kind, Size};

/// The number of streams that have keys of their own.
const KEYS: usize = 20_000;

/// Descriptors of a host that are no streams: its reserve, its files and its listeners.
const OTHER_DESCRIPTORS: usize = 320;

/// The time that a server has to settle before its memory is read.
const SETTLE: Duration = Duration::from_millis(300);

/// A server that publishes on command.
enum Publisher {
    Own(Server),
    Guest(Guest),
}

/// One round of one server.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// The time until the last stream has an event, in milliseconds.
    p50: f64,
    p99: f64,
    /// The processor time of the server for an event of one stream, in microseconds.
    processor: f64,
    /// The processor time of the reader for it.
    reader: f64,
    /// Events that arrive in a second while many are published at once.
    burst: f64,
    /// The processor time of the server for an event of one stream in a burst, in microseconds.
    burst_processor: f64,
    /// The growth of the server's resident memory for each idle stream, in KiB.
    resident: f64,
}

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("streams");
    for size in wanted::sizes(effort) {
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); KINDS.len()];
        for _ in 0..effort.rounds {
            for (rounds, kind) in rounds.iter_mut().zip(KINDS) {
                rounds.push(round(kind, &size));
            }
        }
        summarise(&mut report, &size, &rounds);
    }
    own_keys(&mut report, effort);
    report
}

fn round(kind: &Kind, size: &Size) -> Round {
    let mut publisher = Publisher::start(kind);
    let calm = publisher.resident();
    let mut client = Client::open(publisher.address(), size.streams, KEY);
    thread::sleep(SETTLE);
    let resident = (publisher.resident() - calm) / size.streams as f64 / 1024.0;

    let streams = size.streams as f64;
    // The first events fill buffers that stay.
    (0..3).for_each(|_| {
        once(&mut publisher, &mut client, 1);
    });
    let before = (publisher.processor(), client.processor());
    let mut times: Vec<f64> = (0..size.publishes).map(|_| once(&mut publisher, &mut client, 1)).collect();
    let each = 1e6 / streams / size.publishes as f64;
    let (processor, reader) = ((publisher.processor() - before.0) * each, (client.processor() - before.1) * each);
    times.sort_by(f64::total_cmp);

    let before = publisher.processor();
    let took = once(&mut publisher, &mut client, size.burst);
    let delivered = streams * size.burst as f64;
    Round {
        p50: at(&times, 0.5),
        p99: at(&times, 0.99),
        processor,
        reader,
        burst: delivered / took * 1e3,
        burst_processor: (publisher.processor() - before) * 1e6 / delivered,
        resident,
    }
}

/// Publishes and returns the milliseconds until the last stream has all events.
fn once(publisher: &mut Publisher, client: &mut Client, events: u64) -> f64 {
    client.expect(events);
    let begun = publisher.publish(events);
    (client.last(events) - begun) as f64 / 1e6
}

fn at(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn summarise(report: &mut Report, size: &Size, rounds: &[Vec<Round>]) {
    let streams = size.name;
    let row = |report: &mut Report, what: &str, unit, of: fn(&Round) -> f64| -> Vec<Row> {
        let rows = KINDS.iter().zip(rounds).map(|(kind, rounds)| {
            report.row(format!("{}, {streams} streams, {what}", kind.name), unit, rounds.iter().map(of).collect())
        });
        rows.collect()
    };
    let p50 = row(report, "time to the last, p50", "ms", |round| round.p50);
    for (kind, ours) in KINDS.iter().zip(&p50).filter(|(kind, _)| kind.ours) {
        for (baseline, theirs) in KINDS.iter().zip(&p50).filter(|(kind, _)| !kind.ours) {
            let target = (size.compared && baseline.compared && kind.compared).then_some(Target::AtMost(1.5));
            report.ratio(format!("{} / {}, {streams} streams, p50", kind.name, baseline.name), ours, theirs, target);
        }
    }
    for (kind, rounds) in KINDS.iter().zip(rounds) {
        let values = rounds.iter().map(|round| round.p99).collect();
        report.row(format!("{}, {streams} streams, time to the last, p99", kind.name), "ms", values);
        if kind.ours && !size.compared {
            report.target(Target::AtMost(100.0));
        }
    }
    row(report, "processor time for an event of a stream", "us", |round| round.processor);
    row(report, "processor time of the reader for it", "us", |round| round.reader);
    for (kind, rounds) in KINDS.iter().zip(rounds) {
        let values = rounds.iter().map(|round| round.burst).collect();
        report.row(format!("{}, {streams} streams, burst", kind.name), "events/s", values);
        if kind.ours {
            report.target(Target::AtLeast(1e6));
        }
    }
    row(report, "processor time for an event of a stream in a burst", "us", |round| round.burst_processor);
    for (kind, rounds) in KINDS.iter().zip(rounds) {
        let values = rounds.iter().map(|round| round.resident).collect();
        report.row(format!("{}, {streams} streams, resident memory for an idle stream", kind.name), "KiB", values);
        if kind.ours && !size.compared {
            report.target(Target::AtMost(3.0));
        }
    }
}

/// Streams with keys of their own, beside as many streams of a baseline.
fn own_keys(report: &mut Report, effort: Effort) {
    let wanted = KEYS / effort.divisor as usize;
    let streams = wanted.min(room_for_sockets());
    if streams < wanted {
        report.not_run(
            format!("{wanted} streams with keys of their own"),
            format!("the hard limit of {} file descriptors leaves room for {streams}", descriptors()),
        );
    }
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| kind.server.is_some()).collect();
    let mut times = vec![Vec::new(); kinds.len()];
    for _ in 0..effort.rounds {
        for (times, kind) in times.iter_mut().zip(&kinds) {
            let mut server = Server::start(kind.server.unwrap_or_default(), kind.threads);
            // The baselines know no keys.
            let key = if kind.ours { format!("{KEY}-") } else { KEY.to_owned() };
            let mut client = Client::open(&server.address, streams, &key);
            let each = (0..5).map(|_| {
                client.expect(1);
                let (begun, _) =
                    server.command(&if kind.ours { format!("each {streams}") } else { "publish 1".into() });
                (client.last(1) - begun) as f64 / 1e6
            });
            times.push(median(each.collect()));
        }
    }
    for (kind, times) in kinds.iter().zip(times) {
        let what = if kind.ours { "an event to each of as many keys" } else { "an event to all" };
        report.row(format!("{}, {streams} streams, {what}, time to the last", kind.name), "ms", times);
    }
}

/// The number of clients that a process can have.
pub fn room_for_sockets() -> usize {
    descriptors().saturating_sub(OTHER_DESCRIPTORS)
}

/// The hard limit of file descriptors of a process.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap_or(usize::MAX)
}

impl Publisher {
    fn start(kind: &Kind) -> Publisher {
        match kind.server {
            Some(server) => Publisher::Own(Server::start(server, kind.threads)),
            None => Publisher::Guest(Guest::start(kind.threads, json!({}))),
        }
    }

    fn address(&self) -> &str {
        match self {
            Publisher::Own(server) => &server.address,
            Publisher::Guest(guest) => &guest.address,
        }
    }

    /// Publishes events and returns when this began.
    fn publish(&mut self, events: u64) -> u64 {
        match self {
            Publisher::Own(server) => server.command(&format!("publish {events}")).0,
            Publisher::Guest(guest) => guest.publish(events),
        }
    }

    fn processor(&self) -> f64 {
        self.child().processor()
    }

    fn resident(&self) -> f64 {
        self.child().resident()
    }

    fn child(&self) -> &child::Child {
        match self {
            Publisher::Own(server) => &server.child,
            Publisher::Guest(guest) => &guest.child,
        }
    }
}
