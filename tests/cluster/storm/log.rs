//! The channels with a history: what a client recovers, as the page about channels describes it,
//! and what it must have got.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::{Value, json};

use super::books::{Books, Got, LogBook, Loss, Shared};
use super::checks::{Checks, Faults};

/// A channel with a history.
pub struct Channel {
    pub name: &'static str,
    /// The act that publishes to it.
    pub act: &'static str,
    /// The `cid` of a question for the history. Those of messages are larger.
    pub asked: u64,
    /// Whether the cluster keeps it, so that clients are never told of losses or of another epoch.
    is_kept: bool,
}

pub const LOGS: [Channel; 2] = [
    Channel { name: "ledger/log", act: "log", asked: 3, is_kept: false },
    Channel { name: "ledger/kept", act: "kept", asked: 4, is_kept: true },
];

type Place = (String, u64);

fn place(text: &Value) -> Place {
    let (epoch, number) =
        text.as_str().and_then(|text| text.rsplit_once('-')).unwrap_or_else(|| panic!("no position: {text}"));
    (epoch.to_owned(), number.parse().unwrap())
}

/// What a client knows of a channel, over all its connections.
pub struct Log {
    pub channel: &'static Channel,
    last: Option<Place>,
    /// The last number of each epoch.
    seen: BTreeMap<String, u64>,
    /// What has arrived while the client recovers.
    early: Option<Vec<Value>>,
    /// Whether an answer is on its way.
    waits: bool,
    /// When it was sure the last time that nothing is missing.
    whole: Option<Instant>,
}

impl Log {
    /// The channels, of which a client knows nothing.
    pub fn all() -> Vec<Log> {
        let log = |channel| Log { channel, last: None, seen: BTreeMap::new(), early: None, waits: false, whole: None };
        LOGS.iter().map(log).collect()
    }

    /// The client has subscribed.
    pub fn begin(&mut self) {
        (self.early, self.waits) = (Some(Vec::new()), false);
    }

    /// Asks again, because no further message shows whether something is missing: a client learns
    /// by the next position that the channel has begun anew (docs/channels.md, Several nodes).
    pub fn look(&mut self) {
        if self.early.is_none() {
            self.begin();
        }
    }

    /// The question to send, if the client recovers and waits for no answer.
    pub fn question(&mut self) -> Option<String> {
        if self.early.is_none() || std::mem::replace(&mut self.waits, true) {
            return None;
        }
        let mut data = json!({ "channel": self.channel.name });
        if let Some((epoch, number)) = &self.last {
            data["after"] = json!(format!("{epoch}-{number}"));
        }
        Some(json!({ "event": "#history", "data": data, "cid": self.channel.asked }).to_string())
    }

    /// A message has arrived.
    pub fn message(&mut self, client: usize, data: &Value, shared: &Shared) {
        let (epoch, number) = place(&data["position"]);
        match &mut self.early {
            Some(early) => early.push(data.clone()),
            None if self.last.as_ref().is_some_and(|last| last.0 != epoch || number > last.1 + 1) => self.begin(),
            None => self.take(client, data, shared),
        }
    }

    /// The answer to the question has arrived. After an error, the client asks again.
    pub fn answer(&mut self, client: usize, answer: &Value, shared: &Shared) {
        self.waits = false;
        if !answer["error"].is_null() {
            return;
        }
        let page = &answer["data"];
        if let Some(last) = self.last.clone().filter(|_| page["complete"] != true) {
            let (whole, at) = (self.whole.unwrap_or_else(Instant::now), Instant::now());
            let mut books = shared.books();
            let log = books.logs.entry(self.channel.name).or_default();
            log.losses.push(Loss { client, at, whole, last });
        }
        let messages = page["messages"].as_array().unwrap_or_else(|| panic!("{answer}"));
        messages.iter().for_each(|message| self.take(client, message, shared));
        assert!(page["position"].is_string(), "a channel with a history has a position: {answer}");
        let newest = place(&page["position"]);
        if !messages.is_empty() && self.last.as_ref() != Some(&newest) {
            return;
        }
        (self.last, self.whole) = (Some(newest), Some(Instant::now()));
        for message in self.early.take().into_iter().flatten() {
            self.take(client, &message, shared);
        }
    }

    fn take(&mut self, client: usize, message: &Value, shared: &Shared) {
        let place = place(&message["position"]);
        if self.seen.get(&place.0).is_some_and(|seen| place.1 <= *seen) {
            return;
        }
        self.seen.insert(place.0.clone(), place.1);
        let text = message["data"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned();
        let mut books = shared.books();
        let log = books.logs.entry(self.channel.name).or_default();
        log.got.push(Got { client, connection: 0, text: text.clone() });
        log.places.entry(place.clone()).or_default().insert(text);
        log.epochs.insert(place.0.clone());
        drop(books);
        (self.last, self.whole) = (Some(place), Some(Instant::now()));
    }
}

impl Checks<'_> {
    /// Each client has got each message of a channel once, over all its connections, or was told
    /// afterwards that it has lost some. It is told only if the channel may have moved, and never
    /// if the cluster keeps the history. No place has two messages.
    pub fn log(&self, channel: &Channel, books: &Books, faults: &mut Faults) {
        let &Channel { name, act, is_kept, .. } = channel;
        let none = LogBook::default();
        let log = books.logs.get(name).unwrap_or(&none);
        let counts = self.counted(name, books, &log.got, faults);
        for ((client, text), count) in &counts {
            faults.expect(*count == 1, || format!("client {client} got {text} of {name} {count} times"));
        }
        for (place, texts) in log.places.iter().filter(|(_, texts)| texts.len() != 1) {
            faults.expect(false, || format!("{place:?} of {name} has {texts:?}"));
        }
        for loss in &log.losses {
            let moved = !is_kept && self.shared.allowed((loss.whole, loss.at), |allows| allows.moves);
            faults.expect(moved, || format!("messages of {name} were lost without a fault: {loss:?}"));
        }
        faults.expect(!is_kept || log.epochs.len() <= 1, || format!("{name} has the epochs {:?}", log.epochs));
        let all: BTreeSet<&String> = log.places.values().flatten().collect();
        for (key, message) in books.said.iter().filter(|(_, message)| message.act == act) {
            let Some(reply) = message.reply() else { continue };
            let text = format!("{} {} {}", key.0, key.1, reply["node"].as_str().unwrap());
            if let Some(error) = message.error() {
                let right = !is_kept || error != "unavailable" || !all.contains(&text);
                faults.expect(right, || format!("{text} was refused, and is in {name}: {message:?}"));
                continue;
            }
            let at = place(&reply["act"]);
            let same = log.places.get(&at).is_none_or(|texts| *texts == BTreeSet::from([text.clone()]));
            faults.expect(same, || format!("{text} is not at {at:?} of {name}"));
            for client in (0..self.members).filter(|client| !counts.contains_key(&(*client, text.clone()))) {
                let got =
                    |texts: &BTreeSet<String>| texts.iter().any(|one| counts.contains_key(&(client, one.clone())));
                let places = log.places.iter().filter(|(place, texts)| place.0 == at.0 && got(texts));
                let begins_later = places.map(|(place, _)| place.1).min().is_none_or(|first| first > at.1);
                let mut losses = log.losses.iter().filter(|loss| loss.client == client && loss.at >= message.sent);
                // Before it lost the rest of an epoch, it had all from its first place up to one.
                let told = losses.any(|Loss { last, .. }| match last.0 == at.0 {
                    true => last.1 < at.1,
                    false => begins_later,
                });
                faults.expect(told, || format!("client {client} has not got {text} of {name}: {message:?}"));
            }
        }
    }
}
