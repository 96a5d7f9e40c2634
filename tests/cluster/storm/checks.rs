//! Compares what has run and arrived with what clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::books::{Books, End, Got, Key, LogBook, Message, SILENCE, Shared, Stay};
use super::log::LOGS;
use super::topology::{FRONTENDS, NODES, Topology};

/// For how long after a fault the NATS servers may choose other leaders.
const SETTLES: Duration = Duration::from_secs(10);

/// The workers of each node.
const WORKERS: usize = 2;

/// How many lines of each file belong to earlier checks, and the messages of unknown end from then.
#[derive(Default)]
pub struct Past {
    lines: BTreeMap<(usize, &'static str, usize), usize>,
    unknown: BTreeSet<Key>,
}

/// The faults that were found.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    pub fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }

    fn end(self) -> Result<(), String> {
        let most = self.0.iter().take(20).map(|fault| format!("\n  {fault}")).collect::<String>();
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} faults:{most}", self.0.len())) }
    }
}

/// The connection, the number and the node in a text.
fn parts(text: &str) -> (Key, String) {
    let mut parts = text.split(' ');
    let mut next = || parts.next().unwrap_or_else(|| panic!("not of the guest: {text}")).to_owned();
    let key = (next(), next().parse().unwrap());
    (key, next())
}

pub struct Checks<'a> {
    pub topology: &'a Topology,
    pub shared: &'a Shared,
    pub members: usize,
    pub readers: usize,
}

impl Checks<'_> {
    /// Checks everything since the last check.
    pub fn run(&self, past: &Past) -> Result<(), String> {
        let (books, mut faults) = (self.shared.books(), Faults::default());
        self.ran("said", &books, past, &mut faults);
        self.ran("noted", &books, past, &mut faults);
        self.durable(&books, past, &mut faults);
        self.errors(&books, &mut faults);
        self.pushes(&books, &mut faults);
        self.room(&books, &mut faults);
        self.news(&books, &mut faults);
        LOGS.iter().for_each(|log| self.log(log, &books, &mut faults));
        faults.end()
    }

    /// Adds the numbers of messages, of what has arrived, and of errors.
    pub fn count(&self, counts: &mut [usize; 3]) {
        let books = self.shared.books();
        let messages = || books.said.values().chain(books.noted.values());
        counts[0] += messages().count();
        counts[1] += books.room.len() + books.pushed.len() + books.news.len();
        counts[1] += books.logs.values().map(|log| log.got.len()).sum::<usize>();
        counts[2] += messages().filter(|message| message.error().is_some()).count();
    }

    pub fn summary(&self, [messages, arrived, errors]: [usize; 3]) -> String {
        let closed = self.shared.books().closed;
        format!("{messages} messages, {errors} errors, {arrived} arrived at others, {closed} connections were closed")
    }

    /// Forgets what was checked.
    pub fn forget(&self, past: &mut Past) {
        let mut books = self.shared.books();
        for (key, message) in books.said.iter().chain(&books.noted) {
            if message.reply().is_none() {
                past.unknown.insert(key.clone());
            }
        }
        for (index, kind, worker) in Self::files() {
            past.lines.insert((index, kind, worker), self.topology.lines(index, kind, worker).len());
        }
        books.stays.retain(|stay| stay.until.is_none());
        books.readings.retain(|stay| stay.until.is_none());
        books.said.clear();
        books.noted.clear();
        books.room.clear();
        books.pushed.clear();
        books.news.clear();
        for log in books.logs.values_mut() {
            *log = LogBook { epochs: std::mem::take(&mut log.epochs), ..LogBook::default() };
        }
        books.resets.clear();
    }

    fn files() -> impl Iterator<Item = (usize, &'static str, usize)> {
        let kinds = ["said", "noted", "heard"];
        (FRONTENDS..NODES.len())
            .flat_map(move |index| kinds.into_iter().map(move |kind| (index, kind)))
            .flat_map(|(index, kind)| (0..WORKERS).map(move |worker| (index, kind, worker)))
    }

    fn lines(&self, past: &Past, file: (usize, &'static str, usize)) -> Vec<String> {
        let skipped = past.lines.get(&file).copied().unwrap_or_default();
        self.topology.lines(file.0, file.1, file.2).split_off(skipped)
    }

    /// Each message that has succeeded ran once, each that was refused never, and all others at
    /// most once. Each worker has run those of a connection in their order.
    fn ran(&self, kind: &str, books: &Books, past: &Past, faults: &mut Faults) {
        let messages = if kind == "said" { &books.said } else { &books.noted };
        let mut runs = BTreeMap::<Key, usize>::new();
        for file in Self::files().filter(|(_, of, _)| *of == kind) {
            let mut order = Order::of(books);
            for line in self.lines(past, file) {
                let (from, number) = line.split_once(' ').unwrap();
                let key = (from.to_owned(), number.parse().unwrap());
                // A plain WebSocket has no order across its calls.
                if kind == "said" {
                    order.take("", &key, || format!("{} ran {line}", NODES[file.0]), faults);
                }
                *runs.entry(key).or_default() += 1;
            }
        }
        for (key, count) in &runs {
            let known = messages.contains_key(key) || past.unknown.contains(key);
            faults.expect(known, || format!("{kind} {key:?} ran {count} times, and was checked before"));
        }
        for (key, message) in messages {
            let count = runs.get(key).copied().unwrap_or_default();
            let right = match (&message.ended, message.error()) {
                (None, _) => false,
                (Some((_, End::Lost)), _) | (_, Some("crashed" | "timeout" | SILENCE)) => count <= 1,
                (Some((_, End::Refused { .. })), Some(_)) => count == 0,
                // The call of `note` was refused.
                (_, Some(_)) if kind == "noted" => count == 0,
                _ => count == 1,
            };
            faults.expect(right, || format!("{kind} {key:?} ran {count} times: {message:?}"));
        }
    }

    /// All workers of all backends have run the same durable broadcasts in one order, all that were
    /// acknowledged among them. Only a kill lets a worker run one again.
    fn durable(&self, books: &Books, past: &Past, faults: &mut Faults) {
        let mut all: Option<Vec<(u64, String)>> = None;
        for file in Self::files().filter(|(_, kind, _)| *kind == "heard") {
            let lines = self.lines(past, file);
            let runs = lines.iter().map(|line| line.split_once(' ').unwrap());
            let Replayed { all: heard, replays, longest } =
                replayed(runs.map(|(seq, text)| (seq.parse().unwrap(), text)));
            let place = format!("worker {} of {}", file.2, NODES[file.0]);
            let (most, several) = self.topology.replays(file.0);
            faults.expect(replays <= most, || format!("{place} began again {replays} times instead of {most}"));
            faults.expect(longest <= 1 || several, || format!("{place} ran {longest} again in a row"));
            let wrong = heard.windows(2).find(|pair| pair[0].0 >= pair[1].0);
            faults.expect(wrong.is_none(), || format!("{place} has not the order of the stream: {wrong:?}"));
            match &all {
                None => all = Some(heard),
                Some(all) => faults.expect(*all == heard, || format!("{place} ran others: {}", differ(all, &heard))),
            }
        }
        let all: BTreeMap<u64, String> = all.unwrap_or_default().into_iter().collect();
        let kept: BTreeMap<&str, u64> = all.iter().map(|(seq, text)| (text.as_str(), *seq)).collect();
        faults.expect(kept.len() == all.len(), || "the stream has a broadcast twice".to_owned());
        let mut order = Order::of(books);
        for text in all.values() {
            let (key, node) = parts(text);
            order.take(&node, &key, || format!("durable {text}"), faults);
        }
        for (key, message) in books.said.iter().filter(|(_, message)| message.act == "durable") {
            let Some(reply) = message.reply() else { continue };
            let text = format!("{} {} {}", key.0, key.1, reply["node"].as_str().unwrap());
            let seq = kept.get(text.as_str()).copied();
            let right = match reply["act"]["error"].as_str() {
                None => reply["act"].as_u64() == seq,
                Some("timeout" | "crashed") => true,
                Some(_) => seq.is_none(),
            };
            faults.expect(right, || format!("durable {text} is at {seq:?}: {message:?}"));
        }
    }

    /// Errors only during faults that allow them.
    fn errors(&self, books: &Books, faults: &mut Faults) {
        for (key, message) in books.said.iter().chain(&books.noted) {
            let Some(error) = message.error() else { continue };
            // Servers that have come back may choose another leader of a stream once more, and then
            // nobody acknowledges what the former one was sent (docs/faults.md).
            let may_settle = error == "timeout" && matches!(message.act, "kept" | "durable");
            let settles = if may_settle { SETTLES } else { Duration::ZERO };
            let (from, until) = message.span();
            let allowed = self.shared.allowed((from - settles, until), |allows| match error {
                "timeout" => allows.timeouts,
                SILENCE => allows.errors || allows.timeouts,
                // While a channel moves, a publish to it fails (docs/channels.md, Several nodes).
                "crashed" | "unavailable" => {
                    allows.errors || allows.moves && LOGS.iter().any(|log| log.act == message.act)
                }
                _ => false,
            });
            faults.expect(allowed, || format!("an error without a fault: {key:?}: {message:?}"));
        }
    }

    /// How often each client has got each text. In the order of each node, and no text twice on one
    /// connection.
    pub fn counted(
        &self,
        what: &str,
        books: &Books,
        all: &[Got],
        faults: &mut Faults,
    ) -> BTreeMap<(usize, String), usize> {
        let mut counts = BTreeMap::<(usize, String), usize>::new();
        let mut seen = BTreeSet::new();
        let mut order = Order::of(books);
        for got in all {
            *counts.entry((got.client, got.text.clone())).or_default() += 1;
            if !seen.insert((got.client, got.connection, &got.text)) {
                faults.expect(false, || format!("{what} arrived twice: {got:?}"));
                continue;
            }
            let (key, node) = parts(&got.text);
            let place = format!("{} {} {node}", got.client, got.connection);
            order.take(&place, &key, || format!("{what} arrived: {got:?}"), faults);
        }
        counts
    }

    /// Whether a client has been connected from before a message until now.
    fn stayed(books: &Books, client: usize, message: &Message) -> bool {
        books.stays.iter().any(|stay| stay.client == client && stay.covers(message.span()))
    }

    fn pushes(&self, books: &Books, faults: &mut Faults) {
        let counts = self.counted("a push", books, &books.pushed, faults);
        for ((client, text), count) in &counts {
            faults.expect(*count == 1, || format!("client {client} got the push {text} {count} times"));
        }
        for (key, message) in books.said.iter().filter(|(_, message)| matches!(message.act, "push" | "group")) {
            let Some(reply) = message.reply() else { continue };
            let text = format!("{} {} {}", key.0, key.1, reply["node"].as_str().unwrap());
            let to: Vec<usize> = if message.act == "push" { vec![message.to] } else { (0..self.members).collect() };
            let got = |client: usize| counts.get(&(client, text.clone())).copied().unwrap_or_default();
            let arrived: usize = (0..self.members).map(got).sum();
            let wanted: usize = to.iter().map(|client| got(*client)).sum();
            faults.expect(arrived == wanted, || format!("others got {text}: {message:?}"));
            let (result, stayed) =
                (&reply["act"], to.iter().filter(|client| Self::stayed(books, **client, message)).count());
            let Some(reached) = result["reached"].as_u64() else { continue };
            let silent = result["silent"].as_array().is_some_and(|silent| !silent.is_empty());
            let disturbed = self.shared.allowed(message.span(), |allows| allows.silence);
            let left = to.len() - stayed;
            let right = match silent {
                true => disturbed,
                // Those that have left since may have been reached.
                false => {
                    let reached = reached as usize;
                    arrived + left >= reached && arrived <= reached && (reached >= stayed || disturbed)
                }
            };
            faults.expect(right, || format!("{text} arrived {arrived} times, {stayed} stayed: {message:?}"));
        }
    }

    fn room(&self, books: &Books, faults: &mut Faults) {
        let counts = self.counted("a message of the channel", books, &books.room, faults);
        for ((client, text), count) in &counts {
            faults.expect(*count == 1, || format!("client {client} got {text} {count} times"));
        }
        for (key, message) in books.said.iter().filter(|(_, message)| message.act == "room") {
            let Some(reply) = message.reply() else { continue };
            let text = format!("{} {} {}", key.0, key.1, reply["node"].as_str().unwrap());
            for client in (0..self.members).filter(|client| Self::stayed(books, *client, message)) {
                let right = counts.contains_key(&(client, text.clone()))
                    || self.shared.allowed(message.span(), |allows| allows.misses);
                faults.expect(right, || format!("client {client} has not got {text}: {message:?}"));
            }
        }
    }

    /// Each reader has got each event, or was told afterwards that it may have missed some.
    fn news(&self, books: &Books, faults: &mut Faults) {
        let counts = self.counted("an event", books, &books.news, faults);
        for (key, message) in books.said.iter().filter(|(_, message)| message.act == "news") {
            let Some(reply) = message.reply() else { continue };
            let node = reply["node"].as_str().unwrap();
            let text = format!("{} {} {node}", key.0, key.1);
            for reader in (0..self.readers).filter(|reader| !counts.contains_key(&(*reader, text.clone()))) {
                let right = self.may_miss(books, reader, message, node);
                faults.expect(right, || format!("reader {reader} has not got {text}, and was not told: {message:?}"));
            }
        }
    }

    /// Whether a reader may have missed an event of a node.
    fn may_miss(&self, books: &Books, reader: usize, message: &Message, node: &str) -> bool {
        let span = message.span();
        let mut stays = books.readings.iter().filter(|stay| stay.client == reader);
        if !stays.clone().any(|stay| stay.since < span.1) {
            return true;
        }
        let told = books.resets.iter().any(|(of, at)| *of == reader && *at >= span.0);
        match stays.find(|stay| stay.contains(span)) {
            // It was published before the answer to the request of the reader, or after its end. A
            // reader that resumes on another frontend is told, and finds what that one keeps. With
            // several NATS servers, what a reader gets begins a moment after the answer.
            None => told || self.topology.nats.len() > 1,
            // What is published last before a stream ends is on its way, unless a later event of
            // the node has arrived: what one node publishes has one order.
            Some(stay) if stay.until.is_some() && !Self::got_later(books, stay, span, node) => told,
            Some(_) => told && self.shared.allowed(span, |allows| allows.misses),
        }
    }

    /// Whether a reader has got an event of a node on a stream that was published after a time.
    fn got_later(books: &Books, stay: &Stay, (_, until): (Instant, Instant), node: &str) -> bool {
        let on_stream = |got: &&Got| got.client == stay.client && got.connection == stay.connection;
        books.news.iter().filter(on_stream).any(|got| {
            let (key, of) = parts(&got.text);
            of == node && books.said.get(&key).is_some_and(|later| later.sent > until)
        })
    }
}

/// The last message of each connection at each place, to see whether they are in order.
struct Order<'a> {
    books: &'a Books,
    last: BTreeMap<(String, String), u64>,
}

impl Order<'_> {
    fn of(books: &Books) -> Order<'_> {
        Order { books, last: BTreeMap::new() }
    }

    fn take(&mut self, place: &str, key: &Key, what: impl FnOnce() -> String, faults: &mut Faults) {
        let last = self.last.entry((place.to_owned(), key.0.clone())).or_insert(key.1);
        let follows = *last <= key.1 || self.books.may_follow(key, *last);
        faults.expect(follows, || format!("{} after {last}", what()));
        *last = key.1.max(*last);
    }
}

/// What a worker has run.
#[derive(Default)]
struct Replayed {
    /// Each once.
    all: Vec<(u64, String)>,
    /// How often it has begun again with earlier ones, and with how many at most.
    replays: usize,
    longest: usize,
}

fn replayed<'a>(runs: impl Iterator<Item = (u64, &'a str)>) -> Replayed {
    let mut replayed = Replayed::default();
    // The next one, while earlier ones run again.
    let mut next = 0;
    for (seq, text) in runs {
        let all = &mut replayed.all;
        match all.iter().rposition(|(ran, _)| *ran == seq) {
            Some(at) => {
                if at != next || next == all.len() {
                    replayed.replays += 1;
                    replayed.longest = replayed.longest.max(all.len() - at);
                }
                next = at + 1;
            }
            None => {
                all.push((seq, text.to_owned()));
                next = all.len();
            }
        }
    }
    replayed
}

fn differ(one: &[(u64, String)], other: &[(u64, String)]) -> String {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) = (one.iter().collect(), other.iter().collect());
    let missing: Vec<_> = one.difference(&other).take(3).collect();
    let further: Vec<_> = other.difference(&one).take(3).collect();
    format!("missing {missing:?}, further {further:?}")
}
