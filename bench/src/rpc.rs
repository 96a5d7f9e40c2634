//! Calls from a guest handler to a guest in another worker and back.

use std::time::Instant;

use fanfare::tooling::Payload;
use fanfare::tooling::wit;
use tokio::sync::oneshot;

use crate::bare::{self, Message};
use crate::node::{self, Node};
use crate::report::{Report, Target};
use crate::{Effort, interleaved, machine};

const PAYLOAD: &str = "thirty bytes, neither more nor";

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("rpc");
    let modules = machine::empty_dir("rpc");
    machine::guest(&modules, "caller", "caller");
    let node = Node::start(&modules, 2);
    let guest = bare::Guest::load(&machine::component("hello"));
    let (few, many) = (50_000 / effort.divisor, 300_000 / effort.divisor);

    let [bare, one, in_64, same] = interleaved(
        effort.rounds,
        [
            &mut || bare_there_and_back(&guest, few),
            &mut || rate(&node, 1, few, 1),
            &mut || rate(&node, 1, many, 64),
            &mut || rate(&node, 0, many, 64),
        ],
    );
    let bare =
        report.row("bare: to a thread with a guest and back, one at a time, called from a host loop", "calls/s", bare);
    let one = report.row("guest to guest in another worker, one at a time", "calls/s", one);
    report.target(Target::AtLeast(25_000.0));
    report.ratio("one at a time / bare", &one, &bare, None);
    report.row("guest to guest in another worker, 64 in flight", "calls/s", in_64);
    report.target(Target::AtLeast(150_000.0));
    report.row("guest to guest in the same worker, 64 in flight", "calls/s", same);
    report
}

/// The number of calls that one run of the handler makes.
const PART: u32 = 10_000;

/// The calls a second from one handler in worker 0 to `worker`.
fn rate(node: &Node, worker: u32, calls: u32, in_flight: u32) -> f64 {
    let run = node::route("caller/run");
    let once = |calls: u32| {
        // One run of the handler at a time, each short enough to stay below limits.cpu.
        let payload = Payload::Text(format!("{worker} {calls} {in_flight}"));
        node.runtime.block_on(node::call(&node.dispatch, 0, &run, payload));
    };
    once(PART);
    let begun = Instant::now();
    let parts = calls.div_ceil(PART);
    (0..parts).for_each(|_| once(PART));
    f64::from(parts * PART) / begun.elapsed().as_secs_f64()
}

fn bare_there_and_back(guest: &bare::Guest, calls: u32) -> f64 {
    let (send, thread) = guest.thread(64);
    let elapsed = bare::runtime().block_on(async {
        let mut begun = Instant::now();
        for number in 0..calls + calls / 20 {
            if number == calls / 20 {
                begun = Instant::now();
            }
            let (reply, ended) = oneshot::channel();
            let call = bare::call("hello", wit::Trigger::Rpc, PAYLOAD.to_owned());
            send.try_send(Message { call, reply: Some(reply) }).ok().unwrap();
            ended.await.unwrap();
        }
        begun.elapsed()
    });
    drop(send);
    thread.join().unwrap();
    f64::from(calls) / elapsed.as_secs_f64()
}
