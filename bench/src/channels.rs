//! Channels: messages to many subscribers from a client and from a guest, with and without a route,
//! beside a bare loop of writes; the memory of many channels; and clients that all come back at
//! once and recover what they have missed.
//!
//! Servers and subscribers are processes of their own and share the cores of the machine, so that
//! the subscribers' time is part of every figure.

pub mod members;
mod server;

use std::thread;
use std::time::Duration;

use crate::report::{Report, Row, Target};
use crate::streams::client::Client;
use crate::streams::server::{KEY, Server as StreamServer};
use crate::{Effort, median};
use members::Members;
use server::{Node, Publisher};

/// The subscribers of a channel, and the messages of a round.
const SUBSCRIBERS: usize = 1_000;
const PUBLISHES: u32 = 300;

/// The messages that are published at once. They fit into the queue of a client.
const BURST: u64 = 200;

/// The clients of the benchmark of memory, each with as many channels as a session may have.
const OWNERS: usize = 100;
const CHANNELS: usize = 1_000;

/// The channels with a history, and the messages of each. Together they need more than
/// `hub.history`.
const KEPT_CHANNELS: usize = 10_000;
const KEPT: u64 = 100;

/// The clients that come back, and the messages that each has missed.
const RETURNING: usize = 10_000;
const MISSED: u64 = 100;

/// The time that a server has to settle before its memory is read.
const SETTLE: Duration = Duration::from_millis(300);

/// Who publishes, and on which channel of the test guest.
struct Kind {
    name: &'static str,
    channel: &'static str,
    start: fn(&Node, &'static str) -> Publisher,
    has_route: bool,
}

const KINDS: [Kind; 4] = [
    Kind { name: "client", channel: "channels/bench", start: Publisher::client, has_route: false },
    Kind { name: "client, route", channel: "channels/publish/bench", start: Publisher::client, has_route: true },
    Kind { name: "guest", channel: "channels/bench", start: Publisher::guest, has_route: false },
    Kind { name: "guest, route", channel: "channels/publish/bench", start: Publisher::guest, has_route: true },
];

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("channels");
    publishes(&mut report, effort);
    many_channels(&mut report, effort);
    kept_messages(&mut report, effort);
    recovery(&mut report, effort);
    report
}

/// One round of one publisher.
struct Round {
    /// The time until the last subscriber has a message, in milliseconds.
    p50: f64,
    /// The processor time of the server for a message of one subscriber, in microseconds.
    processor: f64,
    /// Messages that arrive in a second while many are published at once.
    burst: f64,
}

fn publishes(report: &mut Report, effort: Effort) {
    let publishes = (PUBLISHES / effort.divisor).max(2);
    let mut bare = Vec::new();
    let mut rounds: Vec<Vec<Round>> = KINDS.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.rounds {
        let mut server = StreamServer::start("loop", 2);
        let mut client = Client::open(&server.address, SUBSCRIBERS, KEY);
        bare.push(bare_round(&mut server, &mut client, publishes));
        for (rounds, kind) in rounds.iter_mut().zip(&KINDS) {
            rounds.push(round(kind, publishes));
        }
    }
    let to = format!("a message to {SUBSCRIBERS} subscribers");
    let rows = |report: &mut Report, what: &str, unit, part: fn(&Round) -> f64| -> Vec<Row> {
        let all = [("bare loop, 2 threads", &bare)].into_iter().chain(KINDS.iter().map(|kind| kind.name).zip(&rounds));
        let row = |(name, rounds): (&str, &Vec<Round>)| {
            report.row(format!("{name}, {what}"), unit, rounds.iter().map(part).collect())
        };
        all.map(row).collect()
    };
    let p50 = rows(report, &format!("{to}, time to the last, p50"), "ms", |round| round.p50);
    for (kind, ours) in KINDS.iter().zip(p50.iter().skip(1)) {
        let target = (!kind.has_route).then_some(Target::AtMost(1.5));
        report.ratio(format!("{} / bare loop, {to}, p50", kind.name), ours, &p50[0], target);
    }
    rows(report, "processor time for a message of a subscriber", "us", |round| round.processor);
    rows(report, &format!("burst of {BURST} messages"), "messages/s", |round| round.burst);
}

fn bare_round(server: &mut StreamServer, client: &mut Client, publishes: u32) -> Round {
    let mut once = |server: &mut StreamServer, count: u64| {
        client.expect(count);
        let (begun, _) = server.command(&format!("publish {count}"));
        (client.last(count) - begun) as f64 / 1e6
    };
    // The first messages fill buffers that stay.
    (0..3).for_each(|_| _ = once(server, 1));
    let before = server.child.processor();
    let p50 = median((0..publishes).map(|_| once(server, 1)).collect());
    let processor = (server.child.processor() - before) * 1e6 / f64::from(publishes) / SUBSCRIBERS as f64;
    let burst = (SUBSCRIBERS as u64 * BURST) as f64 / once(server, BURST) * 1e3;
    Round { p50, processor, burst }
}

fn round(kind: &Kind, publishes: u32) -> Round {
    let node = Node::start(2);
    let mut members = Members::open(&node.address, SUBSCRIBERS, kind.channel, 0);
    let mut publisher = (kind.start)(&node, kind.channel);
    let mut once = |count: u64| {
        members.expect(count);
        let begun = publisher.publish(count);
        let took = (members.last(count) - begun) as f64 / 1e6;
        publisher.settle();
        took
    };
    (0..3).for_each(|_| _ = once(1));
    let before = node.child.processor();
    let p50 = median((0..publishes).map(|_| once(1)).collect());
    let processor = (node.child.processor() - before) * 1e6 / f64::from(publishes) / SUBSCRIBERS as f64;
    // At most 64 messages of a channel wait for its route.
    let count = if kind.has_route { 50 } else { BURST };
    let burst = (SUBSCRIBERS as u64 * count) as f64 / once(count) * 1e3;
    Round { p50, processor, burst }
}

/// The memory of channels with one subscriber each.
fn many_channels(report: &mut Report, effort: Effort) {
    let owners = OWNERS / effort.divisor as usize;
    let (mut resident, mut subscribes) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let node = Node::start(2);
        let idle = Members::open(&node.address, owners, "channels/idle", 0);
        thread::sleep(SETTLE);
        let calm = node.child.resident();
        let begun = std::time::Instant::now();
        let members = Members::open(&node.address, owners, "channels/own", CHANNELS);
        let took = begun.elapsed().as_secs_f64();
        thread::sleep(SETTLE);
        let channels = (owners * CHANNELS) as f64;
        resident.push((node.child.resident() - calm) / channels / 1024.0);
        subscribes.push(channels / took);
        drop((idle, members));
    }
    let what = format!("{} channels with one subscriber", owners * CHANNELS);
    report.row(format!("{what}, resident memory for a channel"), "KiB", resident);
    report.target(Target::AtMost(2.0));
    report.row(format!("{what}, subscribing"), "channels/s", subscribes);
}

/// How many messages channels keep when `hub.history` is too small for all.
fn kept_messages(report: &mut Report, effort: Effort) {
    let channels = KEPT_CHANNELS / effort.divisor as usize;
    let (mut kept, mut resident, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let mut node = Node::start(2);
        let calm = node.child.resident();
        let name = |index: usize| format!("channels/history/{index}");
        let begun = std::time::Instant::now();
        (0..channels).for_each(|index| node.burst(&name(index), KEPT));
        rates.push((channels as u64 * KEPT) as f64 / begun.elapsed().as_secs_f64());
        thread::sleep(SETTLE);
        resident.push((node.child.resident() - calm) / (1 << 20) as f64);
        kept.push((0..channels).map(|index| node.kept(&name(index))).sum::<usize>() as f64);
    }
    let what = format!("{channels} channels, {KEPT} messages for each");
    report.row(format!("{what}, messages that hub.history keeps"), "messages", kept);
    report.row(format!("{what}, growth of resident memory"), "MiB", resident);
    report.row(format!("{what}, a guest publishes"), "messages/s", rates);
}

/// Many clients are cut at once, come back, and ask for the messages that they have missed.
fn recovery(report: &mut Report, effort: Effort) {
    let wanted = RETURNING / effort.divisor as usize;
    let clients = wanted.min(crate::streams::room_for_sockets());
    let what = format!("{clients} clients come back and recover {MISSED} messages each");
    if clients < wanted {
        report.not_run(
            format!("{wanted} clients come back at once"),
            format!("the hard limit of file descriptors leaves room for {clients}"),
        );
    }
    let channel = "channels/history/recovery";
    let (mut seconds, mut processor) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        let mut node = Node::start(2);
        let mut members = Members::open(&node.address, clients, channel, 0);
        // The first message tells the clients the epoch.
        members.expect(1);
        node.publish(channel, 1);
        members.last(1);
        members.cut();
        node.burst(channel, MISSED);
        node.until_nobody(channel);
        let before = node.child.processor();
        seconds.push(members.recover(MISSED));
        processor.push((node.child.processor() - before) * 1e6 / clients as f64);
    }
    report.row(format!("{what}, time until the last has all"), "s", seconds);
    report.target(Target::AtMost(5.0));
    report.row(format!("{what}, processor time of the server for a client"), "us", processor);
}
