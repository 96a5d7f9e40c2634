//! A client of SocketCluster that sorts the packets of the host: answers by their numbers, and
//! events in their order. It answers pings.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use super::PATHS;
use crate::harness::{Started, WebSocket};

pub struct Client {
    pub socket: WebSocket,
    version: usize,
    /// The number of the last event that is to be answered.
    last: u64,
    answers: HashMap<u64, Value>,
    events: VecDeque<Value>,
    /// The id of the session as the client knows it.
    pub id: String,
}

impl Client {
    pub async fn open(host: &Started, version: usize) -> Client {
        Client::at(host.http, version).await
    }

    pub async fn at(address: std::net::SocketAddr, version: usize) -> Client {
        let socket = WebSocket::open(address, PATHS[version - 1]).await;
        let (answers, events) = Default::default();
        let mut client = Client { socket, version, last: 0, answers, events, id: String::new() };
        let greeted = client.ask("#handshake", json!({ "authToken": null })).await;
        client.id = greeted["data"]["id"].as_str().unwrap_or_else(|| panic!("{greeted}")).to_owned();
        client
    }

    /// A client that is subscribed to a channel.
    pub async fn subscribed(host: &Started, version: usize, channel: &str) -> Client {
        let mut client = Client::open(host, version).await;
        client.ok("#subscribe", json!({ "channel": channel })).await;
        client
    }

    /// Sends an event that is to be answered, and returns its number.
    pub async fn send(&mut self, name: &str, data: Value) -> u64 {
        self.last += 1;
        self.socket.send(&json!({ "event": name, "data": data, "cid": self.last }).to_string()).await;
        self.last
    }

    /// Sends an event that nobody answers.
    pub async fn transmit(&mut self, name: &str, data: Value) {
        self.socket.send(&json!({ "event": name, "data": data }).to_string()).await;
    }

    /// Reads the next packet.
    async fn read(&mut self) {
        let (ping, pong) = [("#1", "#2"), ("", "")][self.version - 1];
        let text = self.socket.text().await;
        if text == ping {
            return self.socket.send(pong).await;
        }
        let packet: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
        match packet["rid"].as_u64() {
            Some(rid) => {
                let other = self.answers.insert(rid, packet);
                assert!(other.is_none(), "two answers: {other:?}");
            }
            None => self.events.push_back(packet),
        }
    }

    /// The answer with a number.
    pub async fn answer(&mut self, number: u64) -> Value {
        loop {
            match self.answers.remove(&number) {
                Some(answer) => return answer,
                None => self.read().await,
            }
        }
    }

    /// Sends an event and returns its answer.
    pub async fn ask(&mut self, name: &str, data: Value) -> Value {
        let number = self.send(name, data).await;
        self.answer(number).await
    }

    /// Sends an event and returns the data of its answer, which is not an error.
    pub async fn ok(&mut self, name: &str, data: Value) -> Value {
        let answer = self.ask(name, data).await;
        assert_eq!(answer["error"], Value::Null, "{answer}");
        answer["data"].clone()
    }

    /// Sends an event and returns its error.
    pub async fn error(&mut self, name: &str, data: Value) -> Value {
        let answer = self.ask(name, data).await;
        assert!(answer["error"].is_object(), "{answer}");
        answer["error"].clone()
    }

    pub async fn publish(&mut self, channel: &str, data: Value) {
        self.ok("#publish", json!({ "channel": channel, "data": data })).await;
    }

    /// The next event of the host.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.events.pop_front() {
                Some(event) => return event,
                None => self.read().await,
            }
        }
    }

    /// The next event, which is a message of a channel: `{"channel", "data", "position"}`.
    pub async fn message(&mut self) -> Value {
        let event = self.event().await;
        assert_eq!(event["event"], "#publish", "{event}");
        event["data"].clone()
    }

    /// The data of the next messages.
    pub async fn data(&mut self, count: usize) -> Vec<Value> {
        let mut data = Vec::new();
        for _ in 0..count {
            data.push(self.message().await["data"].clone());
        }
        data
    }

    /// Whether nothing has arrived but what was read, after all that the host has sent so far.
    pub async fn has_nothing(&mut self) -> bool {
        self.ok("#publish", json!({ "channel": format!("nobody/{}", self.id), "data": 0 })).await;
        self.events.is_empty()
    }
}
