//! A program and its state.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;

use fanfare_sdk::caller;
use fanfare_sdk::prelude::*;
use fanfare_sdk::types::{Passed, Recipient};
use fanfare_sdk::wit::types::{Address, CallError, CallId, Group, Target};

use crate::act::Act;

thread_local! {
    /// The number of the next act of this instance, for names.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// Futures that nobody reads.
    static HELD: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// A part of a program.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// Repeats its steps, without end if `times` is null.
    Repeat {
        times: Option<u64>,
        steps: Vec<Step>,
    },
    Act(Box<Act>),
}

/// A text. `{n}` stands for a number that differs each time.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Name {
    Text(String),
    /// A text of this many bytes.
    Long {
        long: usize,
    },
    /// Bytes that need not be UTF-8.
    Bytes(Vec<u8>),
}

impl Name {
    pub fn text(&self) -> String {
        match self {
            Name::Text(text) => text.replace("{n}", &number().to_string()),
            Name::Long { long } => "x".repeat(*long),
            // SAFETY: not a valid `String`, on purpose: the host has to notice it. The guest only
            // passes it on.
            Name::Bytes(bytes) => unsafe { String::from_utf8_unchecked(bytes.clone()) },
        }
    }
}

fn number() -> u64 {
    NUMBER.set(NUMBER.get() + 1);
    NUMBER.get()
}

/// A payload.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// The payload of the call.
    #[default]
    Own,
    None,
    /// A text of this many bytes.
    Size(usize),
    /// This many bytes.
    Bytes(usize),
    Text(String),
    Json(Value),
}

/// What happens with a future.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub enum How {
    #[default]
    Await,
    /// It is dropped without having been read.
    Drop,
    /// The instance keeps it, and never reads it.
    Hold,
}

/// Where a call or a broadcast goes: `any`, `master`, `workers`, `brokers`, `nodes`, `cluster`,
/// `worker:<n>`, `broker:<n>`, `channel:<name>`, `session:<id>`.
pub fn address(text: &str) -> Address {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    let index = name.parse().unwrap_or_default();
    match kind {
        "any" => Address::One(Target::Any),
        "master" => Address::One(Target::Master),
        "worker" => Address::One(Target::Worker(index)),
        "broker" => Address::One(Target::Broker(index)),
        "channel" => Address::One(Target::Channel(name.to_owned())),
        "session" => Address::One(Target::Session(name.to_owned())),
        "workers" => Address::Every(Group::Workers),
        "brokers" => Address::Every(Group::Brokers),
        "nodes" => Address::Every(Group::Nodes),
        "cluster" => Address::Every(Group::Cluster),
        _ => Address::One(Target::Other((kind.to_owned(), name.to_owned()))),
    }
}

/// Whom a message is for: `everyone`, `bound`, `uid:<user>`, `group:<name>`, or the id of a
/// session. An empty text is the session of the call.
pub fn recipient(text: &str) -> Recipient {
    match text.split_once(':') {
        Some(("uid", uid)) => Recipient::Uid(uid.to_owned()),
        Some(("group", group)) => Recipient::Group(group.to_owned()),
        _ if text == "everyone" => Recipient::Everyone,
        _ if text == "bound" => Recipient::Bound,
        _ => Recipient::Session(if text.is_empty() { own_session() } else { text.to_owned() }),
    }
}

/// The id of the session of the call, or an empty text.
pub fn own_session() -> String {
    let session = caller().and_then(fanfare_sdk::wit::sessions::current);
    session.map(|session| session.id).unwrap_or_default()
}

/// The kinds of outcomes of one act, how often each happened, and the last result or error.
#[derive(Default, Serialize)]
struct Tally {
    #[serde(flatten)]
    kinds: BTreeMap<String, u64>,
    last: Value,
}

/// A program that runs.
pub struct Run<'a> {
    own: &'a Payload,
    pub caller: Option<CallId>,
    tallies: BTreeMap<&'static str, Tally>,
    end: Option<Result<Outcome>>,
}

impl<'a> Run<'a> {
    pub fn new(own: &'a Payload) -> Run<'a> {
        Run { own, caller: caller(), tallies: BTreeMap::new(), end: None }
    }

    /// Runs the steps in their order, until one ends the call.
    pub async fn all(mut self, steps: &[Step]) -> Run<'a> {
        self.steps(steps).await;
        self
    }

    fn steps<'b>(&'b mut self, steps: &'b [Step]) -> Pin<Box<dyn Future<Output = ()> + 'b>> {
        Box::pin(async move {
            for step in steps {
                match step {
                    Step::Act(act) => self.act(act).await,
                    Step::Repeat { times, steps } => {
                        for _ in 0..times.unwrap_or(u64::MAX) {
                            self.steps(steps).await;
                            if self.end.is_some() {
                                return;
                            }
                        }
                    }
                }
                if self.end.is_some() {
                    return;
                }
            }
        })
    }

    pub fn payload(&self, content: &Content) -> Payload {
        match content {
            Content::Own => self.own.clone(),
            Content::None => Payload::None,
            Content::Size(size) => Payload::Text("x".repeat(*size)),
            Content::Bytes(size) => Payload::Bytes(vec![0; *size]),
            Content::Text(text) => Payload::Text(text.replace("{n}", &number().to_string())),
            Content::Json(value) => Payload::Text(value.to_string()),
        }
    }

    /// Reads a future, or not.
    pub async fn future<T: 'static>(
        &mut self,
        act: &'static str,
        how: How,
        future: impl IntoFuture<Output = Result<T, CallError>> + 'static,
        shown: impl FnOnce(T) -> Value,
    ) {
        match how {
            How::Await => {
                let result = future.await;
                self.count(act, result.map(shown));
            }
            How::Drop => {
                drop(future);
                self.count(act, Ok(Value::Null));
            }
            How::Hold => {
                HELD.with_borrow_mut(|held| held.push(Box::new(future)));
                self.count(act, Ok(Value::Null));
            }
        }
    }

    pub fn count(&mut self, act: &'static str, result: Result<Value, CallError>) {
        let tally = self.tallies.entry(act).or_default();
        let (kind, last) = match result {
            Ok(value) => ("ok".to_owned(), value),
            Err(error) => {
                let error = fanfare_sdk::prelude::CallError::from(error);
                (error.kind().to_owned(), json!(error.to_string()))
            }
        };
        *tally.kinds.entry(kind).or_default() += 1;
        if !last.is_null() {
            tally.last = last;
        }
    }

    /// Ends the call.
    pub fn end(&mut self, end: Result<Outcome>) {
        self.end = Some(end);
    }

    pub fn reply(self) -> Result<Outcome> {
        match self.end {
            Some(end) => end,
            None => Json(self.tallies).into_outcome(),
        }
    }

    pub fn outcome(self) -> Result<Outcome> {
        self.end.unwrap_or_else(|| Ok(Outcome::Pass(Passed { payload: None, extra: Vec::new() })))
    }
}
