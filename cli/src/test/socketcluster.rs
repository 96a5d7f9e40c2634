//! The protocol of SocketCluster, for the clients of cases: the settings of the host, and the
//! packets.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::expect::Answer;
use super::given::Given;
use super::send::SendError;
use fanfare::settings::{AuthConfig, SocketListener, WebSocketConfig};

/// The versions of the protocol.
pub const VERSIONS: [u8; 2] = [1, 2];

/// Longer than `websocket.ackTimeout`, whose default is ten seconds, and `limits.timeout`.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The status of an event, or a handshake, that the host answers with an error, which has no status
/// in this protocol.
const REFUSED: u16 = 400;

/// Lets the host of a test serve both versions for its module, at the paths of the project if it
/// has them. Tokens have a key of their own, so that a test needs no secret of the project. Writes
/// the key into `dir`.
pub fn serve(config: &mut WebSocketConfig, module: &str, dir: &Path) -> io::Result<()> {
    config.listeners.retain(|listener| listener.module == module);
    for protocol in VERSIONS {
        if path_of(&config.listeners, protocol).is_none() {
            let (path, module) = (format!("/socketcluster/{protocol}/"), module.to_owned());
            config.listeners.push(SocketListener { path, protocol, module });
        }
    }
    let key = dir.join("tokens.txt");
    // Each state has secret keys of its own.
    let parts = [0u8; 2].map(|_| format!("{:016x}", RandomState::new().hash_one(0)));
    fs::write(&key, parts.concat())?;
    let key_file = Some(key.to_string_lossy().into_owned());
    config.auth = AuthConfig { key_file, expiry: config.auth.expiry, ..AuthConfig::default() };
    Ok(())
}

/// The path at which clients of a version connect.
pub fn path_of(listeners: &[SocketListener], protocol: u8) -> Option<&str> {
    listeners.iter().find(|listener| listener.protocol == protocol).map(|listener| listener.path.as_str())
}

/// A message of the host.
#[derive(Debug, PartialEq)]
pub enum Packet {
    /// A ping, and its answer.
    Ping(&'static str),
    Answer(EventAnswer),
    /// An event, or a raw message.
    Message,
}

/// The answer to an event.
#[derive(Debug, PartialEq, Deserialize)]
pub struct EventAnswer {
    rid: u64,
    #[serde(default)]
    data: Given,
    error: Option<Map<String, Value>>,
}

impl Packet {
    pub fn read(message: &[u8], protocol: u8) -> Packet {
        match (message, protocol) {
            (b"#1", 1) => Packet::Ping("#2"),
            (b"", 2) => Packet::Ping(""),
            _ => serde_json::from_slice(message).map_or(Packet::Message, Packet::Answer),
        }
    }
}

impl EventAnswer {
    /// The answer as a case sees it. An event that succeeds has this status.
    pub fn into_answer(self, status: u16) -> Answer {
        match self.error {
            None => {
                let body = self.data.get().map(Value::to_string).unwrap_or_default();
                Answer { status, body, ..Answer::default() }
            }
            Some(error) => {
                let code = error.get("name").and_then(Value::as_str).map(str::to_owned);
                Answer { status: REFUSED, code, body: Value::from(error).to_string(), ..Answer::default() }
            }
        }
    }
}

/// The events of a client that the host answers.
#[derive(Debug)]
pub struct Events {
    answers: mpsc::Receiver<EventAnswer>,
    /// The number of the latest event.
    number: u64,
}

impl Events {
    pub fn new(answers: mpsc::Receiver<EventAnswer>) -> Events {
        Events { answers, number: 0 }
    }

    /// The packet of the next event.
    pub fn packet(&mut self, name: &str, data: Option<&Value>) -> String {
        self.number += 1;
        let mut packet = json!({ "event": name, "cid": self.number });
        if let (Some(fields), Some(data)) = (packet.as_object_mut(), data) {
            fields.insert("data".to_owned(), data.clone());
        }
        packet.to_string()
    }

    /// Waits for the answer to the latest event of the client with this name.
    pub async fn answer(&mut self, client: &str) -> Result<EventAnswer, SendError> {
        let answered = async {
            loop {
                let answer = self.answers.recv().await?;
                if answer.rid == self.number {
                    return Some(answer);
                }
            }
        };
        let answer = timeout(TIMEOUT, answered).await.map_err(|_| SendError::NoAnswer(client.to_owned()))?;
        answer.ok_or_else(|| SendError::ClientClosed(client.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_data_or_the_error_and_its_name() {
        let answer = |text: &str| match Packet::read(text.as_bytes(), 2) {
            Packet::Answer(answer) => answer.into_answer(200),
            other => panic!("{other:?}"),
        };
        for (packet, status, body, code) in [
            (r#"{"rid":1}"#, 200, "", None),
            (r#"{"rid":1,"data":null}"#, 200, "null", None),
            (r#"{"rid":1,"data":{"a":"b"}}"#, 200, r#"{"a":"b"}"#, None),
            (r#"{"rid":1,"error":{"name":"E","message":"m"}}"#, 400, r#"{"name":"E","message":"m"}"#, Some("E")),
            (r#"{"rid":1,"error":{}}"#, 400, "{}", None),
        ] {
            let found = answer(packet);
            assert_eq!((found.status, &*found.body, found.code.as_deref()), (status, body, code), "{packet}");
        }
    }

    #[test]
    fn only_the_ping_of_the_version_is_a_ping() {
        assert_eq!((Packet::read(b"#1", 1), Packet::read(b"", 2)), (Packet::Ping("#2"), Packet::Ping("")));
        for (message, version) in [("#1", 2), ("", 1), ("#2", 1), (r#"{"event":"a","cid":1}"#, 1), ("{", 2), ("5", 2)] {
            assert_eq!(Packet::read(message.as_bytes(), version), Packet::Message, "{message}");
        }
    }
}
