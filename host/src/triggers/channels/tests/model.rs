//! Random interleavings of requests, outcomes of calls, kills, swaps and recoveries, checked
//! against a simple model of a channel.

use futures_util::FutureExt;
use std::collections::BTreeSet;

use super::*;
use crate::triggers::channels::lines::WAITING;

/// The runs, each with another seed.
const RUNS: u64 = 2_000;

/// The requests and outcomes of one run.
const STEPS: usize = 120;

const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Request {
    Publish,
    Subscribe(usize),
    Unsubscribe(usize),
}

/// What the route decides.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decision {
    Pass,
    Change,
    Refuse,
    Crash,
}

/// A request, in the order of arrival.
#[derive(Debug)]
struct Asked {
    request: Request,
    /// `None` if the route is not asked.
    decision: Option<Decision>,
    /// Whether it was rejected because too many waited.
    is_rejected: bool,
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

struct Run {
    bench: Bench,
    random: Random,
    clients: Vec<(Arc<Session>, Wire)>,
    asked: Vec<Asked>,
    /// The requests whose calls have not ended, in the order of the calls.
    pending: Vec<usize>,
    /// What routes decide about: changes with every swap.
    on: Vec<ChannelAction>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let bench = Bench::new();
        let clients = (0..3).map(|_| bench.client()).collect();
        let mut run =
            Run { bench, random: Random(seed), clients, asked: Vec::new(), pending: Vec::new(), on: Vec::new() };
        run.swap();
        run
    }

    /// Installs a generation whose route decides about other actions.
    fn swap(&mut self) {
        let all = [ChannelAction::Publish, ChannelAction::Subscribe, ChannelAction::Unsubscribe];
        self.on = all.into_iter().filter(|_| self.random.below(4) > 0).collect();
        // More than a run publishes.
        let settings = ChannelSettings { count: 1_000, age: HOUR, bytes: 1 << 20, ..published() };
        self.bench.route(&self.on, settings);
    }

    fn ask(&mut self) {
        let index = self.asked.len();
        let (calls, waiting) = (self.bench.calls().len(), self.bench.service.waiting());
        let client = self.random.below(self.clients.len());
        let request = match self.random.below(5) {
            0 => Request::Subscribe(client),
            1 => Request::Unsubscribe(client),
            _ => Request::Publish,
        };
        let name = index.to_string();
        let session = self.clients[client].0.clone();
        let action = match request {
            Request::Publish => {
                self.bench.publish(&name);
                ChannelAction::Publish
            }
            Request::Subscribe(_) => {
                self.bench.subscribe(&name, &session, Payload::None);
                ChannelAction::Subscribe
            }
            Request::Unsubscribe(_) => {
                self.bench.unsubscribe(&name, &session);
                ChannelAction::Unsubscribe
            }
        };
        let is_called = self.bench.calls().len() > calls;
        if is_called {
            self.pending.push(index);
        }
        // A client that is not a member has nothing to end, so its request waits for nobody.
        let is_rejected = waiting >= WAITING;
        assert!(!is_called || (self.on.contains(&action) && !is_rejected));
        self.asked.push(Asked { request, decision: None, is_rejected });
    }

    /// Ends one of the calls that run, whichever.
    fn end(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let decision = match self.random.below(6) {
            0 => Decision::Refuse,
            1 => Decision::Crash,
            2 => Decision::Change,
            _ => Decision::Pass,
        };
        self.end_as(decision);
    }

    fn end_as(&mut self, decision: Decision) {
        let at = self.random.below(self.pending.len());
        let index = self.pending.remove(at);
        let result = match decision {
            Decision::Refuse => failure(),
            Decision::Crash => Err(CallError::Crashed("trap".to_owned())),
            Decision::Change => pass(Some(&format!("changed {index}"))),
            Decision::Pass => pass(None),
        };
        self.bench.end(at, result);
        self.asked[index].decision = Some(decision);
    }

    /// Ends the instance of the route, with all calls that run there.
    fn kill(&mut self) {
        while !self.pending.is_empty() {
            self.end_as(Decision::Crash);
        }
    }

    /// A client that has received some of the messages asks for the others.
    fn resume(&mut self) {
        let heard = self.bench.heard.0.lock().clone();
        let reader = Actor::reader(HOUR);
        let read = |after| {
            let page = self.bench.service.history(&CHANNEL.into(), after, usize::MAX, u64::MAX, &reader);
            // This node has the history, so that the future waits for nothing.
            page.now_or_never().unwrap().unwrap()
        };
        let epoch = read(None).epoch;
        let received = self.random.below(heard.len() + 1);
        let page = read(Some(ChannelPosition { epoch, offset: received as u64 }));
        let missed: Vec<_> = page.messages.iter().map(|one| (one.offset, one.payload.to_text().into_owned())).collect();
        let expected: Vec<_> = (1..).zip(heard).skip(received).collect();
        assert_eq!((page.complete, missed), (true, expected));
    }

    /// What must have happened: the outcome of each request, what listeners hear, and what each
    /// client receives.
    fn expected(&self) -> (Vec<String>, Vec<String>, Vec<String>) {
        let (mut outcomes, mut heard, mut members) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut received = vec![String::new(); self.clients.len()];
        for (index, Asked { request, decision, is_rejected }) in self.asked.iter().enumerate() {
            let outcome = match (request, decision) {
                _ if *is_rejected => "overloaded",
                (Request::Publish | Request::Subscribe(_), Some(Decision::Crash)) => "crashed",
                (_, Some(Decision::Refuse)) => "failure",
                (Request::Publish, _) => {
                    let text = match decision {
                        Some(Decision::Change) => format!("changed {index}"),
                        _ => index.to_string(),
                    };
                    for member in &members {
                        let wire: &mut String = &mut received[*member];
                        wire.push_str(&format!("[{text}]"));
                    }
                    heard.push(text);
                    "ok"
                }
                (Request::Subscribe(client), _) => {
                    members.insert(*client);
                    "ok"
                }
                (Request::Unsubscribe(client), _) if members.remove(client) => "ok",
                (Request::Unsubscribe(_), _) => "not-found",
            };
            outcomes.push(format!("{index}: {outcome}"));
        }
        (outcomes, heard, received)
    }
}

/// The frames on a wire, each in brackets.
fn frames(wire: &Wire) -> String {
    let text = wire.lock().clone();
    let frames = text.split('\u{fffd}').filter(|frame| !frame.is_empty());
    frames.map(|frame| format!("[{}]", frame.chars().skip(1).collect::<String>())).collect()
}

#[tokio::test]
async fn random_interleavings_end_as_in_a_simple_model() {
    for seed in 0..RUNS {
        let mut run = Run::new(seed);
        // Some runs fill the line, and some empty it after each request.
        let bias = run.random.below(9);
        for _ in 0..STEPS {
            match (run.random.below(10), run.random.below(8)) {
                (0, 0 | 1) => run.swap(),
                (0, 2) => run.kill(),
                (0, 3 | 4) => run.resume(),
                (step, _) if step > bias => run.end(),
                _ => run.ask(),
            }
            for _ in 0..run.random.below(4) {
                tokio::task::yield_now().await;
            }
        }
        while !run.pending.is_empty() {
            run.end();
        }
        until("the end of the line", || !run.bench.service.is_busy(CHANNEL)).await;
        run.resume();
        let (outcomes, heard, received) = run.expected();
        let mut done = run.bench.done();
        done.sort_by_key(|line| line.split(':').next().unwrap().parse::<usize>().unwrap());
        assert_eq!(done, outcomes, "run {seed}");
        assert_eq!(run.bench.heard(), heard, "run {seed}");
        for (expected, (_, wire)) in received.iter().zip(&run.clients) {
            until("all messages", || frames(wire).len() >= expected.len()).await;
            assert_eq!(frames(wire), *expected, "run {seed}");
        }
    }
}
