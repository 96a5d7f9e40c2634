//! Clients of SocketCluster. Each is a user, sends messages that backends run, and receives what
//! the handlers send, push and publish.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::books::{Doors, End, Got, Message, Shared, Stay};
use super::log::{LOGS, Log};
use super::topology::{FRONTENDS, NODES, PATHS};
use crate::harness::websocket::{TEXT, masked};
use crate::harness::{Random, Received, WebSocket};

/// The messages of a client that wait for their acks.
const WINDOW: usize = 4;

/// How long a client waits for an ack.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the clients shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Send,
    /// Receive only.
    Rest,
}

/// What all clients share.
#[derive(Clone)]
pub struct Setting {
    pub shared: Arc<Shared>,
    pub doors: Doors,
    pub order: watch::Receiver<Order>,
    /// Grows when clients shall return to their frontend.
    pub home: watch::Receiver<u64>,
    pub pace: Duration,
    /// Whether a client gets everything from the moment at which it is connected. With several
    /// NATS servers, it begins a moment later.
    pub is_at_once: bool,
}

/// Whether a client is sure to get everything: it has got something of each backend.
#[derive(Default)]
pub struct Heard(BTreeSet<String>);

impl Heard {
    /// Notes a text, whose last word is the node. Returns whether it was the last one missing.
    pub fn note(&mut self, text: &str) -> bool {
        let node = text.rsplit(' ').next().unwrap_or_default();
        self.0.insert(node.to_owned()) && self.0.len() == NODES.len() - FRONTENDS
    }
}

pub struct Member {
    pub index: usize,
    pub members: usize,
    pub setting: Setting,
    pub random: Random,
    connections: u32,
    logs: Vec<Log>,
}

/// An open connection, and what waits on it.
struct Open {
    socket: WebSocket,
    from: String,
    frontend: usize,
    turn: u32,
    sent: u64,
    waiting: BTreeSet<u64>,
    heard: Heard,
    /// From when on it gets everything.
    since: Option<Instant>,
    /// The member leaves of its own accord when nothing waits any more.
    leaves: bool,
    /// How the connection has ended.
    ended: Option<Received>,
}

impl Member {
    pub fn new(index: usize, members: usize, setting: Setting) -> Member {
        Member { index, members, setting, random: Random::new(1_000 + index as u64), connections: 0, logs: Log::all() }
    }

    fn name(&self) -> String {
        format!("m{}", self.index)
    }

    pub async fn run(mut self) {
        loop {
            let Some(open) = self.connect().await else { continue };
            let shared = self.setting.shared.clone();
            let Open { from, waiting, since, .. } = self.live(open).await;
            let mut books = shared.books();
            let now = Instant::now();
            for number in waiting {
                let message = books.said.get_mut(&(from.clone(), number)).unwrap();
                message.ended = Some((now, End::Lost));
            }
            let index = self.index;
            let of = |stay: &&mut Stay| stay.client == index && Some(stay.since) == since;
            if let Some(stay) = books.stays.iter_mut().find(of) {
                stay.until = Some(now);
            }
        }
    }

    /// Connects to a frontend. `None` if it was shut meanwhile.
    async fn connect(&mut self) -> Option<Open> {
        let (frontend, turn, address) = self.setting.doors.enter(self.index % 2).await;
        self.connections += 1;
        let from = format!("{}.{}", self.name(), self.connections);
        let path = PATHS[self.index / 2 % 2];
        let opened = tokio::spawn(async move {
            let mut socket = WebSocket::open(address, path).await;
            let greeted = crate::socketcluster::greet(&mut socket, Value::Null).await;
            assert!(greeted["data"]["id"].is_string(), "{greeted}");
            socket
        });
        let socket = match opened.await {
            Ok(socket) => socket,
            Err(failed) => {
                assert!(self.setting.doors.was_shut(frontend, turn), "{from} cannot connect: {failed}");
                return None;
            }
        };
        let mut open = Open {
            socket,
            from,
            frontend,
            turn,
            sent: 0,
            waiting: BTreeSet::new(),
            heard: Heard::default(),
            since: None,
            leaves: false,
            ended: None,
        };
        if self.enter(&mut open).await.is_none() {
            assert!(self.setting.doors.was_shut(frontend, turn), "{} was closed: {:?}", open.from, open.ended);
            return None;
        }
        if self.setting.is_at_once {
            self.stays(&mut open);
        }
        Some(open)
    }

    /// From now on, this connection gets everything.
    fn stays(&self, open: &mut Open) {
        let since = Instant::now();
        open.since = Some(since);
        let stay = Stay { client: self.index, connection: self.connections, since, until: None };
        self.setting.shared.books().stays.push(stay);
    }

    /// Binds the session and subscribes. `None` if the connection ends.
    async fn enter(&mut self, open: &mut Open) -> Option<()> {
        let uid = format!("u{}", self.index);
        let channel = |name: &str| ("#subscribe", json!({ "channel": name }));
        let logs = LOGS.iter().map(|log| channel(log.name));
        for (name, data) in [("ledger.enter", json!(uid)), channel("ledger/room")].into_iter().chain(logs) {
            loop {
                let packet = json!({ "event": name, "data": data, "cid": 2 });
                if !write(open, &packet.to_string()).await {
                    return None;
                }
                let answer = loop {
                    match packet_of(open).await? {
                        answer if answer["rid"] == 2 => break answer,
                        other => self.receive(open, &other),
                    }
                };
                // A backend may be away at this moment.
                if answer["error"].is_null() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.logs.iter_mut().for_each(Log::begin);
        Some(())
    }

    /// Sends and receives until the connection ends.
    async fn live(&mut self, mut open: Open) -> Open {
        let mut pace = tokio::time::interval(self.setting.pace);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut home = self.setting.home.clone();
        home.mark_unchanged();
        loop {
            let questions: Vec<String> = self.logs.iter_mut().filter_map(Log::question).collect();
            if !questions.is_empty() && !write_all(&mut open, &questions).await {
                break;
            }
            if open.leaves && open.waiting.is_empty() {
                open.socket.close(1000, "").await;
                return open;
            }
            tokio::select! {
                _ = pace.tick() => {
                    let rests = *self.setting.order.borrow() == Order::Rest;
                    if rests {
                        self.logs.iter_mut().for_each(Log::look);
                    }
                    let sends = !rests && !open.leaves;
                    if sends && open.waiting.len() < WINDOW && !self.send(&mut open).await {
                        break;
                    }
                    self.assert_patient(&open);
                }
                _ = home.changed() => open.leaves = open.frontend != self.index % 2,
                packet = packet_of(&mut open) => match packet {
                    Some(packet) => self.receive(&mut open, &packet),
                    None => break,
                },
            }
        }
        let shut = self.setting.doors.was_shut(open.frontend, open.turn);
        assert!(shut, "{} was closed, although its frontend runs: {:?}", open.from, open.ended);
        self.setting.shared.books().closed += 1;
        open
    }

    /// Asserts that no ack is late.
    fn assert_patient(&self, open: &Open) {
        let Some(oldest) = open.waiting.first() else { return };
        let sent = self.setting.shared.books().said[&(open.from.clone(), *oldest)].sent;
        assert!(sent.elapsed() < PATIENCE, "{} has got no ack of {oldest}", open.from);
    }

    async fn send(&mut self, open: &mut Open) -> bool {
        let acts = ["", "", "room", "log", "kept", "news", "durable", "push", "push", "group"];
        let act = acts[self.random.below(acts.len() as u64) as usize];
        let to = self.random.below(self.members as u64) as usize;
        let number = open.sent;
        open.sent += 1;
        open.waiting.insert(number);
        let message = Message { act, to, sent: Instant::now(), ended: None, told: 0 };
        self.setting.shared.books().said.insert((open.from.clone(), number), message);
        let data = json!({ "from": open.from, "number": number, "act": act, "to": format!("u{to}") });
        write(open, &json!({ "event": "ledger.say", "data": data, "cid": number + 10 }).to_string()).await
    }

    fn receive(&mut self, open: &mut Open, packet: &Value) {
        let shared = self.setting.shared.clone();
        let from = open.from.clone();
        let key = |number: u64| (from.clone(), number);
        if let Some(log) = self.logs.iter_mut().find(|log| packet["rid"] == log.channel.asked) {
            return log.answer(self.index, packet, &shared);
        }
        if let Some(number) = packet["rid"].as_u64() {
            let number = number - 10;
            assert!(open.waiting.remove(&number), "{} got a second ack: {packet}", open.from);
            let end = match &packet["error"] {
                Value::Null => End::Acked(packet["data"].clone()),
                error => End::Refused { code: code_of(error), message: error["message"].to_string() },
            };
            let mut books = shared.books();
            let message = books.said.get_mut(&key(number)).unwrap();
            if let End::Acked(reply) = &end {
                let expected = u32::from(reply["told"] == true);
                assert_eq!(message.told, expected, "{} {number}: what is sent arrives before the ack, once", open.from);
                shared.mark(&self.name(), "said");
            }
            message.ended = Some((Instant::now(), end));
            return;
        }
        let got = |text: &Value| Got {
            client: self.index,
            connection: self.connections,
            text: text.as_str().unwrap_or_else(|| panic!("{packet}")).to_owned(),
        };
        match packet["event"].as_str() {
            Some("told") => {
                let mut books = shared.books();
                let message = books.said.get_mut(&key(packet["data"].as_u64().unwrap()));
                let message = message.unwrap_or_else(|| panic!("{} has not said {packet}", open.from));
                message.told += 1;
                assert_eq!(message.told, 1, "{} got it twice: {packet}", open.from);
            }
            Some("pushed") => shared.books().pushed.push(got(&packet["data"])),
            Some("#publish") => {
                let data = &packet["data"];
                if let Some(log) = self.logs.iter_mut().find(|log| data["channel"] == log.channel.name) {
                    return log.message(self.index, data, &shared);
                }
                let got = got(&packet["data"]["data"]);
                let is_last = open.heard.note(&got.text);
                if is_last && !self.setting.is_at_once && open.since.is_none() {
                    self.stays(open);
                }
                match got.text.starts_with("probe") {
                    true => shared.mark(&self.name(), &got.text),
                    false => shared.books().room.push(got),
                }
            }
            _ => assert_eq!(packet["event"], "#removeAuthToken", "{packet}"),
        }
    }
}

fn code_of(error: &Value) -> String {
    let code = error["code"].as_str().or(error["name"].as_str());
    code.unwrap_or_else(|| panic!("no code: {error}")).to_owned()
}

/// Sends a text. Returns whether the connection is still there.
async fn write(open: &mut Open, text: &str) -> bool {
    let frame = masked(true, TEXT, text.as_bytes());
    open.socket.try_raw(&frame).await.is_ok()
}

async fn write_all(open: &mut Open, texts: &[String]) -> bool {
    for text in texts {
        if !write(open, text).await {
            return false;
        }
    }
    true
}

/// The next packet. Answers pings. `None` if the connection has ended.
async fn packet_of(open: &mut Open) -> Option<Value> {
    loop {
        match open.socket.next().await {
            Received::Text(text) if text == "#1" => _ = write(open, "#2").await,
            Received::Text(text) if text.is_empty() => _ = write(open, "").await,
            Received::Text(text) => return Some(serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))),
            other => {
                open.ended = Some(other);
                return None;
            }
        }
    }
}
