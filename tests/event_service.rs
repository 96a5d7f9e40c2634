//! The event service: real hosts and processes, and real clients over HTTP.

pub mod access;
mod browser;
mod clients;
pub mod connect;
pub mod fake;
pub mod limits;
mod post;
pub mod process;
pub mod resume;

use serde_json::{Value, json};

use crate::harness::{Answer, Connection, EventStream, Started, TestHost};

/// Starts a host with an event service.
pub async fn service(events: Value) -> Started {
    let host = TestHost::empty().config(json!({ "events": { "listen": "127.0.0.1:0" } }));
    host.config(json!({ "events": events })).start().await
}

/// What tests ask of a service.
pub trait Client {
    fn events(&self) -> std::net::SocketAddr;

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        Connection::open(self.events()).await.send(method, path, headers, body).await
    }

    /// Sends a body of JSON to `/events`.
    async fn send_json(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.ask("POST", "/events", &[("content-type", "application/json")], body).await
    }

    /// Emits an event, and returns its position.
    async fn event(&self, kind: &str, value: Value) -> String {
        let answer = self.send_json(json!({ "type": kind, "value": value }).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["position"].as_str().unwrap().to_owned()
    }

    /// The position of the last event.
    async fn position(&self) -> String {
        self.ask("GET", "/", &[], "").await.json()["position"].as_str().unwrap().to_owned()
    }

    async fn subscribe(&self, query: &str) -> EventStream {
        EventStream::open(self.events(), &format!("/events?{query}")).await
    }

    async fn resume(&self, query: &str, id: &str) -> EventStream {
        EventStream::resume(self.events(), &format!("/events?{query}"), id).await
    }
}

impl Client for Started {
    fn events(&self) -> std::net::SocketAddr {
        self.events.expect("the host has an event service")
    }
}

/// Waits for the next event, and returns it as JSON.
pub async fn next(stream: &mut EventStream) -> Value {
    serde_json::from_str(&stream.data().await).unwrap()
}

/// Waits for the next event, and returns its value.
pub async fn value(stream: &mut EventStream) -> Value {
    next(stream).await["value"].clone()
}
