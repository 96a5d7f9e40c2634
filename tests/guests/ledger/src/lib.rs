//! Writes each message into a file before it does anything else, so that a test can compare what
//! has run with what clients were told. The files survive each end of the process.

use std::io::Write;
use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::{self, Recipient, WhenTaken};
use fanfare_sdk::types::{Identity, Target};

/// The channels and the stream key that this module publishes to. `LOG` has a history, and `KEPT`
/// one that the cluster keeps.
const LOG: &str = "ledger/log";
const KEPT: &str = "ledger/kept";
const ROOM: &str = "ledger/room";
const NEWS: &str = "ledger/news";
const GROUP: &str = "all";

/// A message of a client: `from` is its connection, `number` increases with each message of it.
#[derive(Clone, Serialize, Deserialize)]
struct Said {
    from: String,
    number: u64,
    /// What it causes: `room`, `log`, `kept`, `news`, `durable`, `push`, `group`, or nothing else.
    #[serde(default)]
    act: String,
    /// The user that a push is for.
    #[serde(default)]
    to: String,
}

impl Said {
    fn text(&self) -> String {
        format!("{} {}", self.from, self.number)
    }

    /// The text, and the node that publishes it.
    fn signed(&self) -> String {
        format!("{} {}", self.text(), host::whoami().node)
    }
}

/// Adds a line to the file of this worker: `/seen/<kind>-<worker>`.
fn record(kind: &str, line: &str) -> Result<()> {
    let Identity { isolate, .. } = host::whoami();
    let Isolate::Worker(worker) = isolate else { return Err("only workers run it".into()) };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(format!("/seen/{kind}-{worker}"))?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

fn result(of: Result<Value, CallError>) -> Value {
    of.unwrap_or_else(|error| json!({ "error": error.kind(), "message": error.to_string() }))
}

/// Binds the session to the user in the body, and adds it to the group of all.
#[handler]
fn enter(session: Session, uid: Json<String>) -> Result<()> {
    session.bind(&uid, WhenTaken::Share)?;
    session.join(GROUP)?;
    Ok(())
}

/// Records a message, sends its number back to its client, and does what it says. The reply names
/// the node, its version, whether the number was sent, and the result of the act, or the error if
/// the number was not sent.
#[handler]
async fn say(session: Session, said: Json<Said>) -> Result<Json<Value>> {
    record("said", &said.text())?;
    let told = session.send("told", json!(said.number));
    let is_told = told.is_ok();
    let act = match said.act.as_str() {
        _ if !is_told => result(told.map(Value::from)),
        "room" => result(channels::publish(ROOM, json!(said.signed())).map(|()| Value::Null)),
        "log" => publish(LOG, &said).await,
        "kept" => publish(KEPT, &said).await,
        "news" => result(sse::publish(NEWS, said.signed()).map(Value::from)),
        "durable" => result(broadcast::emit_durable("told", said.signed()).await.map(|receipt| json!(receipt.seq))),
        "push" => result(push(Recipient::Uid(said.to.clone()), &said).await),
        "group" => result(push(Recipient::Group(GROUP.to_owned()), &said).await),
        _ => Value::Null,
    };
    Ok(Json(
        json!({ "node": host::whoami().node, "version": config::get::<u64>("/version")?, "told": is_told, "act": act }),
    ))
}

/// Publishes to a channel with a history, and returns the position.
async fn publish(channel: &str, said: &Said) -> Value {
    let published = channels::publish_and_wait(channel, json!(said.signed())).await;
    result(published.map(|position| json!(position.map(|position| position.to_string()))))
}

async fn push(to: Recipient, said: &Said) -> Result<Value, CallError> {
    let pushed = sessions::push([to], "pushed", json!(said.signed())).await?;
    Ok(json!({ "reached": pushed.reached, "unknown": pushed.unknown.len(), "silent": pushed.silent }))
}

/// A message over a plain WebSocket: calls `note` on a node of the type `chat`, and replies with
/// the outcome.
#[handler]
async fn relay(said: Json<Said>) -> Json<Value> {
    let (from, number) = (said.from.clone(), said.number);
    // The client of a call that times out itself gets no answer.
    let chat = rpc::to(Target::Server("chat".to_owned())).timeout(Duration::from_secs(3));
    let noted = chat.call("ledger.note", said).await;
    Json(json!({ "from": from, "number": number, "act": result(noted.map(|_| Value::Null)) }))
}

/// A message over a plain WebSocket that a frontend forwards: records it, and replies like `relay`.
#[handler]
fn receive(said: Json<Said>) -> Result<Json<Value>> {
    record("noted", &said.text())?;
    Ok(Json(json!({ "from": said.from, "number": said.number, "act": null })))
}

/// Records a message of `relay`.
#[handler]
fn note(said: Json<Said>) -> Result<()> {
    record("noted", &said.text())
}

/// Publishes the body to the channel and to the stream key.
#[handler]
fn probe(body: Text) -> Result<()> {
    channels::publish(ROOM, json!(*body))?;
    sse::publish(NEWS, &*body)?;
    Ok(())
}

/// Records a durable broadcast and its place in the stream.
#[handler]
fn hear(body: Text, cx: Context) -> Result<()> {
    let broadcast = cx.broadcast().ok_or("the trigger is not a broadcast")?;
    record("heard", &format!("{} {}", broadcast.seq, *body))
}

fanfare_sdk::module!(enter, say, relay, receive, note, probe, hear);
