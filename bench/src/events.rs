//! The event service: events a second from emitters to subscribers, beside a bare hyper server that
//! takes the same requests and writes them to as many streams.
//!
//! Servers, subscribers and emitters are processes of their own. They share the cores of the
//! machine, so that the time of the clients is part of every figure.

pub mod emitter;

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::report::{Report, Row};
use crate::streams::child::Child;
use crate::streams::client::Client;
use crate::streams::server::Server;
use crate::{Effort, machine};
use emitter::Emitters;

/// An event with the marks that the reader of streams counts.
const BODY: &str = r#"{"type":"bench","value":"event xxxxxxxxxxxxxxxxxxxxxxxx"}"#;

const SUBSCRIBERS: usize = 100;

/// The numbers of emitters, and of the events of a round.
const SIZES: [(usize, u64); 2] = [(1, 5_000), (64, 20_000)];

/// The machine of the results has two cores.
const WORKERS: usize = 2;

const BARE: &str = "bare hyper";
const SERVICE: &str = "event service";

enum Service {
    Bare(Server),
    Own(Child, String),
}

/// One round of one server.
struct Round {
    /// Events a second, until each subscriber has each event.
    rate: f64,
    /// The processor time of the server for an event of all subscribers, in microseconds.
    processor: f64,
}

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("events");
    for (emitters, events) in SIZES {
        let events = (events / u64::from(effort.divisor)).max(100);
        let (mut bare, mut own) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            bare.push(round(Service::bare(), emitters, events));
            own.push(round(Service::own(), emitters, events));
        }
        summarise(&mut report, emitters, &bare, &own);
    }
    report
}

fn round(service: Service, emitters: usize, events: u64) -> Round {
    let mut clients = Client::open_path(service.address(), SUBSCRIBERS, "/events");
    let mut emitters = Emitters::start(service.address(), emitters);
    let mut measure = |events: u64| {
        clients.expect(events);
        let begun = emitters.emit(events);
        (clients.last(events) - begun) as f64 / 1e9
    };
    // The first events fill buffers that stay.
    measure(events / 10);
    let before = service.processor();
    let seconds = measure(events);
    let processor = (service.processor() - before) * 1e6 / events as f64;
    Round { rate: events as f64 / seconds, processor }
}

fn summarise(report: &mut Report, emitters: usize, bare: &[Round], own: &[Round]) {
    let plural = if emitters == 1 { "emitter" } else { "emitters" };
    let setting = format!("{emitters} {plural}, {SUBSCRIBERS} subscribers");
    let row = |report: &mut Report, name: &str, what: &str, unit, rounds: &[Round], of: fn(&Round) -> f64| -> Row {
        report.row(format!("{name}, {setting}{what}"), unit, rounds.iter().map(of).collect())
    };
    let theirs = row(report, BARE, "", "events/s", bare, |round| round.rate);
    let ours = row(report, SERVICE, "", "events/s", own, |round| round.rate);
    report.ratio(format!("{SERVICE} / {BARE}, {setting}"), &ours, &theirs, None);
    let what = ", processor time for an event";
    let theirs = row(report, BARE, what, "us", bare, |round| round.processor);
    let ours = row(report, SERVICE, what, "us", own, |round| round.processor);
    report.ratio(format!("{SERVICE} / {BARE}, {setting}{what}"), &ours, &theirs, None);
}

impl Service {
    fn bare() -> Service {
        Service::Bare(Server::start("hyper", WORKERS))
    }

    /// `fanfare events serve`, which keeps as many events as a slow subscriber needs.
    fn own() -> Service {
        let dir = machine::empty_dir("events");
        let history = json!({ "count": 1_000_000, "bytes": "1GiB" });
        let events = json!({ "listen": "127.0.0.1:0", "rate": 10_000_000, "history": history });
        fs::write(dir.join("fanfare.json"), json!({ "workers": WORKERS, "events": events }).to_string()).unwrap();
        let mut command = Command::new(machine::fanfare());
        command.current_dir(&dir).args(["events", "serve"]);
        let mut child = Child::of(command.stderr(fs::File::create(dir.join("log")).unwrap()));
        let line = child.line();
        let address = line.strip_prefix("fanfare events http://").map(str::to_owned);
        let address = address.unwrap_or_else(|| panic!("{line}: see {}", dir.join("log").display()));
        Service::Own(child, address)
    }

    fn address(&self) -> &str {
        match self {
            Service::Bare(server) => &server.address,
            Service::Own(_, address) => address,
        }
    }

    fn processor(&self) -> f64 {
        match self {
            Service::Bare(server) => server.child.processor(),
            Service::Own(child, _) => child.processor(),
        }
    }
}
