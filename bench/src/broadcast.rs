//! Broadcasts into the handlers of two workers, from a loop in the host.

use std::thread;
use std::time::{Duration, Instant};

use fanfare::tooling::wit;
use fanfare::tooling::{Actor, Emission, Payload};
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use crate::bare::{self, Message};
use crate::node::Node;
use crate::report::{Report, Target};
use crate::{Effort, interleaved, machine, median};

const WORKERS: u32 = 2;

/// The capacity of a worker's lane: the default of `limits.broadcasts`.
const LANE: usize = 1_024;

/// The emitter pauses while more broadcasts than this wait in a worker, because there are fewer
/// cores than threads.
const AHEAD: usize = 512;
const PAUSE: Duration = Duration::from_micros(50);

/// The number of broadcasts emitted between two checks of the lanes.
const STRIDE: u32 = 64;

const PAYLOAD: &str = "thirty bytes, neither more nor";

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("broadcast");
    let modules = machine::empty_dir("broadcast");
    machine::guest(&modules, "hello", "hello");
    let node = Node::start(&modules, WORKERS);
    let guest = bare::Guest::load(&machine::component("hello"));
    let count = 300_000 / effort.divisor;

    let [bare, host] =
        interleaved(effort.rounds, [&mut || bare_throughput(&guest, count), &mut || throughput(&node, count)]);
    let bare = report.row("bare mpsc + guest call on 2 threads", "runs/s", bare);
    let host = report.row("broadcasts into 2 workers", "runs/s", host);
    report.ratio("broadcasts / bare", &host, &bare, Some(Target::AtLeast(0.8)));

    let count = 10_000 / effort.divisor;
    let [bare, host] = interleaved(effort.rounds, [&mut || bare_latency(&guest, count), &mut || latency(&node, count)]);
    let bare = report.row("bare wake of 2 threads + guest call, replies of both, p50", "us", bare);
    let host = report.row("gather from 2 workers, p50", "us", host);
    report.ratio("gather / bare", &host, &bare, Some(Target::AtMost(1.5)));
    report
}

fn emission() -> Emission {
    Emission { module: Some("hello".to_owned()), name: "hello".to_owned(), ..Emission::default() }
}

fn throughput(node: &Node, count: u32) -> f64 {
    let slots: Vec<_> = node.dispatch.workers().iter().map(|isolate| isolate.slot("hello").unwrap()).collect();
    let begun = Instant::now();
    for number in 0..count {
        if number % STRIDE == 0 {
            while slots.iter().any(|slot| slot.mailbox.waiting().1 > AHEAD) {
                thread::sleep(PAUSE);
            }
        }
        node.dispatch.emit(&Actor::Operator, emission(), Payload::Text(PAYLOAD.to_owned())).unwrap();
    }
    // Broadcasts start in order, so all the others have started when this one has ended.
    gather(node);
    f64::from(count * WORKERS) / begun.elapsed().as_secs_f64()
}

fn gather(node: &Node) {
    let gather = node.dispatch.gather(&Actor::Operator, emission(), Payload::Text(PAYLOAD.to_owned()), None);
    let entries = node.runtime.block_on(gather).unwrap();
    assert!(entries.len() == WORKERS as usize && entries.iter().all(|entry| entry.outcome.is_ok()), "{entries:?}");
}

fn latency(node: &Node, count: u32) -> f64 {
    let one = |_| {
        let begun = Instant::now();
        gather(node);
        begun.elapsed().as_secs_f64() * 1e6
    };
    median((0..count).map(one).collect())
}

/// The call record that each worker receives.
fn record(seq: u64, same_as_caller: bool) -> wit::Call {
    let broadcast = wit::Broadcast { name: "hello".to_owned(), id: seq, seq, same_as_caller };
    bare::call("broadcast", wit::Trigger::Broadcast(broadcast), PAYLOAD.to_owned())
}

fn bare_throughput(guest: &bare::Guest, count: u32) -> f64 {
    let threads: Vec<_> = (0..WORKERS).map(|_| guest.thread(LANE)).collect();
    warm(&threads);
    let begun = Instant::now();
    for number in 0..count {
        if number % STRIDE == 0 {
            while threads.iter().any(|(send, _)| LANE - send.capacity() > AHEAD) {
                thread::sleep(PAUSE);
            }
        }
        for (send, _) in &threads {
            send.try_send(Message { call: record(number.into(), false), reply: None }).ok().unwrap();
        }
    }
    for (send, thread) in threads {
        drop(send);
        thread.join().unwrap();
    }
    f64::from(count * WORKERS) / begun.elapsed().as_secs_f64()
}

type Threads = [(mpsc::Sender<Message>, thread::JoinHandle<()>)];

/// Waits until every thread has its instance.
fn warm(threads: &Threads) {
    bare::runtime().block_on(both(threads, 0));
}

async fn both(threads: &Threads, seq: u64) {
    let replies = threads.iter().map(|(send, _)| {
        let (reply, ended) = oneshot::channel();
        send.try_send(Message { call: record(seq, false), reply: Some(reply) }).ok().unwrap();
        ended
    });
    for ended in join_all(replies.collect::<Vec<_>>()).await {
        ended.unwrap();
    }
}

fn bare_latency(guest: &bare::Guest, count: u32) -> f64 {
    let threads: Vec<_> = (0..WORKERS).map(|_| guest.thread(LANE)).collect();
    warm(&threads);
    let runtime = bare::runtime();
    let one = |number: u32| {
        let begun = Instant::now();
        runtime.block_on(both(&threads, number.into()));
        begun.elapsed().as_secs_f64() * 1e6
    };
    let values = (0..count).map(one).collect();
    for (send, thread) in threads {
        drop(send);
        thread.join().unwrap();
    }
    median(values)
}
