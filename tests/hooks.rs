//! Hooks of host events, messages between the master and guests, and the hook `stop`.

mod events;
mod guests;
pub mod messages;
pub mod stop;

use fanfare::tooling::CallError;
use fanfare::{EventItem, Payload};
use serde_json::{Value, json};

use crate::harness::{Started, TestHost, json_of};

/// A host with the guest `master`, and these hooks in its manifest.
fn hooked(hooks: Value) -> TestHost {
    TestHost::with("master").manifest("master", json!({ "hooks": hooks }))
}

impl Started {
    /// The host events that the guest `master` has recorded in the master isolate.
    async fn recorded(&self) -> Vec<Value> {
        let calls = self.call("master", "master", "hooks", "").await;
        json_of(&calls).as_array().unwrap().clone()
    }

    /// The types of the host events that the guest `master` has recorded.
    async fn recorded_types(&self) -> Vec<String> {
        let calls = self.recorded().await;
        calls.iter().map(|call| call["payload"]["type"].as_str().unwrap().to_owned()).collect()
    }

    /// All host events so far, as JSON.
    fn raised(&self) -> Vec<Value> {
        let mut reader = self.running().swapper().services.events.read_after(0);
        let events = std::iter::from_fn(|| match reader.try_next()? {
            EventItem::Event(event) => Some(serde_json::to_value(&*event).unwrap()),
            EventItem::Missed(count) => panic!("missed {count} events"),
        });
        events.collect()
    }

    /// All host events of this type so far.
    fn raised_of(&self, kind: &str) -> Vec<Value> {
        self.raised().into_iter().filter(|event| event["type"] == kind).collect()
    }

    /// The status of the guest `master` in one isolate.
    async fn place(&self, isolate: &str) -> Value {
        let status = self.status().await;
        let modules = status["modules"].as_array().unwrap();
        let master = modules.iter().find(|listed| listed["name"] == "master").unwrap();
        let places = master["isolates"].as_array().unwrap();
        places.iter().find(|place| place["isolate"] == isolate).cloned().unwrap_or_default()
    }

    /// Reloads the guest `echo`, which raises the event `swapCommitted`.
    async fn cause_swap(&self) {
        self.running().reload("echo").await.unwrap();
    }
}

/// The JSON of a reply.
fn parsed(reply: Result<Payload, CallError>) -> Value {
    serde_json::from_slice(reply.unwrap().as_bytes()).unwrap()
}
