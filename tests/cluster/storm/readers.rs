//! Plain WebSockets, whose frontend calls backends for them or forwards their messages, and readers
//! of a live stream.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::books::{End, Got, Message, SILENCE, Stay};
use super::clients::{Heard, Order, Setting};
use crate::harness::websocket::{TEXT, masked};
use crate::harness::{EventStream, Received, WebSocket};

/// The messages of a client that wait for their answers.
const WINDOW: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// The same of a client whose messages are forwarded. One that fails has no answer
/// (docs/websockets.md): it has failed if a later one was answered this long ago.
const FAR_WINDOW: usize = 256;
const OVERTAKEN: Duration = Duration::from_secs(4);

/// A client with a plain WebSocket.
pub struct Plain {
    pub index: usize,
    pub setting: Setting,
}

/// The messages that wait for their answers, and since when a later one has its answer.
type Waiting = BTreeMap<u64, Option<Instant>>;

impl Plain {
    /// Whether its messages are forwarded.
    fn is_far(&self) -> bool {
        self.index % 2 == 1
    }

    pub async fn run(self) {
        let shared = self.setting.shared.clone();
        for connection in 1_u32.. {
            let (frontend, turn, address) = self.setting.doors.enter(self.index % 2).await;
            let path = if self.is_far() { "/api/gate/far" } else { "/api/gate/relay" };
            let opened = tokio::spawn(async move { WebSocket::open(address, path).await });
            let was_shut = || self.setting.doors.was_shut(frontend, turn);
            let socket = match opened.await {
                Ok(socket) => socket,
                Err(failed) => {
                    assert!(was_shut(), "a plain WebSocket cannot connect: {failed}");
                    continue;
                }
            };
            let from = format!("p{}.{connection}", self.index);
            let (waiting, left) = self.live(socket, &from, frontend).await;
            assert!(left || was_shut(), "{from} was closed, although its frontend runs");
            let mut books = shared.books();
            books.closed += usize::from(!left);
            for number in waiting.into_keys() {
                books.noted.get_mut(&(from.clone(), number)).unwrap().ended = Some((Instant::now(), End::Lost));
            }
        }
    }

    /// Sends and receives until the connection ends. Returns what has got no answer, and whether
    /// the client has left of its own accord.
    async fn live(&self, mut socket: WebSocket, from: &str, frontend: usize) -> (Waiting, bool) {
        let (shared, mut waiting, mut sent, mut leaves) = (&self.setting.shared, Waiting::new(), 0, false);
        let mut pace = tokio::time::interval(self.setting.pace);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut home = self.setting.home.clone();
        home.mark_unchanged();
        loop {
            if leaves && waiting.is_empty() {
                socket.close(1000, "").await;
                return (waiting, true);
            }
            tokio::select! {
                _ = pace.tick() => {
                    if self.is_far() {
                        self.give_up(from, &mut waiting);
                    }
                    let window = if self.is_far() { FAR_WINDOW } else { WINDOW };
                    let sends = *self.setting.order.borrow() == Order::Send && !leaves;
                    // Its answer shows whether the others have failed.
                    let asks = self.is_far() && waiting.values().any(Option::is_none);
                    if (sends || asks) && waiting.len() < window {
                        let message = Message { act: "", to: 0, sent: Instant::now(), ended: None, told: 0 };
                        shared.books().noted.insert((from.to_owned(), sent), message);
                        waiting.insert(sent, None);
                        let text = json!({ "from": from, "number": sent }).to_string();
                        sent += 1;
                        if socket.try_raw(&masked(true, TEXT, text.as_bytes())).await.is_err() {
                            return (waiting, false);
                        }
                    }
                    if let Some(oldest) = waiting.keys().next() {
                        let sent = shared.books().noted[&(from.to_owned(), *oldest)].sent;
                        assert!(sent.elapsed() < PATIENCE, "{from} has got no answer to {oldest}");
                    }
                }
                _ = home.changed() => leaves = frontend != self.index % 2,
                received = socket.next() => match received {
                    Received::Text(text) => {
                        let reply: Value = serde_json::from_str(&text).unwrap();
                        let number = reply["number"].as_u64().unwrap_or_else(|| panic!("{from}: {reply}"));
                        assert!(waiting.remove(&number).is_some(), "{from} got a second answer: {reply}");
                        waiting.range_mut(..number).for_each(|(_, since)| _ = since.get_or_insert_with(Instant::now));
                        if reply["act"].is_null() {
                            shared.mark(&format!("p{}", self.index), "noted");
                        }
                        let mut books = shared.books();
                        let message = books.noted.get_mut(&(from.to_owned(), number)).unwrap();
                        message.ended = Some((Instant::now(), End::Acked(reply)));
                    }
                    _ => return (waiting, false),
                },
            }
        }
    }

    /// Takes messages for failed that were overtaken.
    fn give_up(&self, from: &str, waiting: &mut Waiting) {
        let is_over = |since: &mut Option<Instant>| since.is_some_and(|since| since.elapsed() > OVERTAKEN);
        for (number, _) in waiting.extract_if(.., |_, since| is_over(since)) {
            let mut books = self.setting.shared.books();
            let message = books.noted.get_mut(&(from.to_owned(), number)).unwrap();
            let end = End::Refused { code: SILENCE.to_owned(), message: "there was no answer".to_owned() };
            message.ended = Some((Instant::now(), end));
        }
    }
}

/// A reader of the live stream.
pub struct Reader {
    pub index: usize,
    pub setting: Setting,
}

impl Reader {
    pub async fn run(self) {
        let (shared, mut last) = (self.setting.shared.clone(), String::new());
        for connection in 1_u32.. {
            let (frontend, turn, address) = self.setting.doors.enter(self.index % 2).await;
            let id = last.clone();
            let opened =
                tokio::spawn(async move { EventStream::resume(address, "/stream?connectKey=ledger/news", &id).await });
            let was_shut = || self.setting.doors.was_shut(frontend, turn);
            let mut stream = match opened.await {
                Ok(stream) => stream,
                Err(failed) => {
                    assert!(was_shut(), "a reader cannot connect: {failed}");
                    continue;
                }
            };
            let mut home = self.setting.home.clone();
            home.mark_unchanged();
            let (mut position, entered) = ((String::new(), 0), Instant::now());
            let mut resumes = !last.is_empty();
            let (mut heard, mut since) = (Heard::default(), self.setting.is_at_once.then_some(entered));
            let reads =
                |since| shared.books().readings.push(Stay { client: self.index, connection, since, until: None });
            since.into_iter().for_each(reads);
            let left = loop {
                let block = tokio::select! {
                    block = stream.event_or_cut() => block,
                    _ = home.changed() => match frontend == self.index % 2 {
                        true => continue,
                        false => break true,
                    },
                };
                let Some(block) = block else { break false };
                let text = block.text().to_owned();
                if block.name() == "message" && heard.note(&text) && since.is_none() {
                    since = Some(Instant::now());
                    since.into_iter().for_each(reads);
                }
                match block.name() {
                    "reset" => {
                        // A reader that resumes on another node gets a reset, and then what that
                        // node keeps, which has its earlier gaps (docs/sse.md, Several nodes).
                        let now = Instant::now();
                        assert!(resumes || shared.may_tell(now), "reader {} is told of a gap: {block:?}", self.index);
                        shared.books().resets.push((self.index, now));
                    }
                    "message" if text.starts_with("probe") => shared.mark(&format!("r{}", self.index), &text),
                    "message" => {
                        let (epoch, number) = block.id.as_deref().and_then(|id| id.rsplit_once('-')).unwrap();
                        let number: u64 = number.parse().unwrap();
                        let follows = position.0 != epoch || position.1 < number;
                        assert!(follows, "reader {}: {block:?} after {position:?}", self.index);
                        position = (epoch.to_owned(), number);
                        let sent = shared.sent(&text);
                        resumes &= sent.is_none_or(|sent| sent < entered);
                        let got = Got { client: self.index, connection, text };
                        shared.books().news.push(got);
                    }
                    // The last words of a frontend that stops.
                    "full" => {}
                    _ => panic!("reader {}: {block:?}", self.index),
                }
            };
            assert!(left || was_shut(), "the stream of reader {} was closed, although its frontend runs", self.index);
            if !stream.last_id().is_empty() {
                last = stream.last_id().to_owned();
            }
            let mut books = shared.books();
            let of = |stay: &&mut Stay| stay.client == self.index && Some(stay.since) == since;
            if let Some(reading) = books.readings.iter_mut().find(of) {
                reading.until = Some(Instant::now());
            }
            books.closed += usize::from(!left);
        }
    }
}
