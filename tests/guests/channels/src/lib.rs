//! Decides about actions on channels as their payloads say, and calls each function of `channels`
//! as a test asks.

mod blocking;

use std::cell::RefCell;

use common::{gate, hold, holding, release, who};
use fanfare_sdk::caller;
use fanfare_sdk::channels::{ChannelMember, ChannelPage, Position};
use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::WhenTaken;
use fanfare_sdk::types::Target;
use fanfare_sdk::wit::{channels as raw, channels_await as raw_await, sessions};

thread_local! {
    /// The facts of each call of `decide`, in order.
    static SEEN: RefCell<Vec<Value>> = RefCell::default();
    /// The facts of each call of `on_message`, in order.
    static RECEIVED: RefCell<Vec<Value>> = RefCell::default();
}

/// What `decide` and `on_message` do: the field `do` of a payload that is a JSON object. Everything
/// else passes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
enum Order {
    /// Passes with the value of `to` in place of the payload.
    Change { on: Option<String>, to: Value },
    /// Passes with the id of the session of the call around the payload: `{"for", "was"}`.
    Tag { on: Option<String> },
    /// Fails. With `silent` the host logs no warning.
    Refuse { on: Option<String>, name: String, message: String, status: Option<u16> },
    /// Replies with this status.
    Reply { on: Option<String>, status: u16 },
    /// Waits until `release` runs in this isolate, records the session of the call, then passes.
    Hold { on: Option<String> },
    /// Traps.
    Panic { on: Option<String> },
    /// Publishes to another channel and waits, then passes with the outcome.
    Publish { on: Option<String>, channel: String, payload: Value },
}

impl Order {
    /// The action that it is for. `None` for all.
    fn on(&self) -> Option<&str> {
        match self {
            Order::Change { on, .. }
            | Order::Tag { on }
            | Order::Refuse { on, .. }
            | Order::Reply { on, .. }
            | Order::Hold { on }
            | Order::Panic { on }
            | Order::Publish { on, .. } => on.as_deref(),
        }
    }

    async fn run(self, session: Option<&str>, body: &Payload) -> Result<Outcome> {
        match self {
            Order::Change { to, .. } => Outcome::pass_with(to),
            Order::Tag { .. } => Outcome::pass_with(json!({ "for": session, "was": body.json::<Value>()? })),
            Order::Refuse { name, message, status, .. } => {
                Err(Failure::new(name, message).with_status(status.unwrap_or(403)))
            }
            Order::Reply { status, .. } => (status, "").into_outcome(),
            Order::Hold { .. } => {
                gate().await;
                let own = caller().and_then(sessions::current).map(|session| session.id);
                SEEN.with_borrow_mut(|seen| seen.push(json!({ "released": session, "own": own })));
                Ok(Outcome::pass())
            }
            Order::Panic { .. } => panic!("this call traps on request"),
            Order::Publish { channel, payload, .. } => {
                let published = channels::publish_and_wait(&channel, payload).await;
                Outcome::pass_with(match published {
                    Ok(place) => json!({ "published": place.map(|place| place.to_string()) }),
                    Err(error) => json!({ "error": error.kind(), "message": error.to_string() }),
                })
            }
        }
    }
}

/// The order in a payload, if it is for this action.
fn order(body: &Payload, action: &str) -> Option<Order> {
    let order: Order = body.json().ok()?;
    order.on().is_none_or(|on| on == action).then_some(order)
}

/// The route of the channels: records its facts, then does what the payload says.
#[handler]
async fn decide(event: ChannelEvent, session: Option<Session>, cx: Context, body: Payload) -> Result<Outcome> {
    let action = event.action.as_str();
    let facts = json!({
        "channel": event.channel, "action": action, "session": event.session, "body": body.json::<Value>().ok(),
        "bytes": body.as_bytes(), "own": session.as_ref().map(|session| session.id()),
        "uid": session.as_ref().and_then(|session| session.uid()), "origin": format!("{:?}", cx.origin()),
        "isolate": host::isolate(), "version": config::get::<u32>("/version")?,
    });
    SEEN.with_borrow_mut(|seen| seen.push(facts));
    match order(&body, action) {
        Some(order) => order.run(event.session.as_deref(), &body).await,
        None => Ok(Outcome::pass()),
    }
}

/// The route of subscriptions to channels: records its facts, then does what the payload says for
/// the action `message`.
#[handler]
async fn on_message(from: Subscription, cx: Context, body: Payload) -> Result<Outcome> {
    let facts = json!({
        "name": from.name, "source": from.source, "topic": from.topic, "id": from.id,
        "body": body.json::<Value>().ok(), "bytes": body.as_bytes(), "origin": format!("{:?}", cx.origin()),
        "isolate": host::isolate(), "version": config::get::<u32>("/version")?,
    });
    RECEIVED.with_borrow_mut(|received| received.push(facts));
    match order(&body, "message") {
        Some(order) => order.run(None, &body).await,
        None => Ok(Outcome::pass()),
    }
}

/// Replies with the message itself.
#[handler]
fn echo(body: Payload) -> Payload {
    body
}

/// Binds the session to the user in the body, and replies with the id of the session.
#[handler]
fn sign_in(session: Session, uid: Json<String>) -> Result<Json<String>> {
    session.bind(&uid, WhenTaken::Share)?;
    Ok(Json(session.id().to_owned()))
}

/// Returns what `decide` has recorded in this instance, and those before it in swaps.
#[handler]
fn seen() -> Json<Vec<Value>> {
    Json(SEEN.with_borrow(Clone::clone))
}

/// Returns what `on_message` has recorded in this instance, and those before it in swaps.
#[handler]
fn received() -> Json<Vec<Value>> {
    Json(RECEIVED.with_borrow(Clone::clone))
}

/// Removes what this instance has recorded, and returns the numbers of `seen` and `received`.
#[handler]
fn forget() -> Json<(usize, usize)> {
    Json((SEEN.take().len(), RECEIVED.take().len()))
}

/// Traps.
#[handler]
fn panics() -> Result<()> {
    panic!("this call traps on request")
}

/// Calls a route of this module in a broker, and replies with its reply.
#[handler]
async fn in_broker(index: Path<u32>, route: Path<String>, body: Payload) -> Result<Reply> {
    Ok(rpc::to(Target::Broker(*index)).call(&format!("/{}", *route), body).await?)
}

/// Calls a route of this module in the home of the channel that the query names: `?channel=..`.
#[handler]
async fn at_home(channel: Query<String>, route: Path<String>, body: Payload) -> Result<Reply> {
    Ok(rpc::to(Target::Channel(channel.0)).call(&format!("/{}", *route), body).await?)
}

/// Many messages to one channel.
#[derive(Deserialize)]
struct Burst {
    channel: String,
    from: u32,
    to: u32,
}

/// Publishes the numbers `from` to `to` without waiting. Replies with how many the host accepted.
#[handler]
fn burst(burst: Json<Burst>) -> Json<usize> {
    let Burst { channel, from, to } = &*burst;
    let published = (*from..=*to).filter(|number| channels::publish(channel, json!(number)).is_ok());
    Json(published.count())
}

/// One use of a function of `channels`: its name, and its arguments.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
enum Use {
    Publish { channel: String, payload: Body },
    PublishAndWait { channel: String, payload: Body },
    Subscribe { channel: String, route: String },
    Unsubscribe { subscription: String },
    Add { channel: String, session: String },
    KickOut { channel: String, session: String, message: String },
    Count { channel: String },
    History { channel: String, after: Option<Place>, most: u32 },
    Members { channel: String },
}

#[derive(Deserialize)]
struct Place {
    epoch: String,
    offset: u64,
}

impl From<Place> for Position {
    fn from(place: Place) -> Self {
        Position { epoch: place.epoch, offset: place.offset }
    }
}

/// `{"text": ..}`, `{"bytes": [..]}`, `{"json": ..}`, `{"size": n}`, or null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Content {
    Text(String),
    Bytes(Vec<u8>),
    Json(Value),
    /// A text of this many bytes.
    Size(usize),
}

type Body = Option<Content>;

fn payload(body: Body) -> Payload {
    match body {
        Some(Content::Text(text)) => Payload::Text(text),
        Some(Content::Bytes(bytes)) => Payload::Bytes(bytes),
        Some(Content::Json(value)) => Payload::Text(value.to_string()),
        Some(Content::Size(size)) => Payload::Text("x".repeat(size)),
        None => Payload::None,
    }
}

fn place(place: Option<Position>) -> Value {
    place.map(|place| place.to_string()).into()
}

fn page(page: ChannelPage) -> Value {
    let messages = page.messages.into_iter().map(|message| {
        json!({
            "offset": message.offset, "atMs": message.at_ms, "session": message.session,
            "text": message.payload.as_text(), "bytes": message.payload.as_bytes(),
        })
    });
    let messages: Vec<Value> = messages.collect();
    json!({ "epoch": page.epoch, "messages": messages, "latest": page.latest, "complete": page.complete })
}

fn member(member: ChannelMember) -> Value {
    json!({ "session": member.session, "uid": member.uid, "info": member.info })
}

/// Calls the function that the body names. Replies with its result, or with `{"error": <kind>,
/// "message": .., "failure": <name>}`.
#[handler]
async fn use_channels(what: Json<Use>) -> Json<Value> {
    shown(run(what.0).await)
}

/// Like `use_channels`, with the functions of `channels-blocking`.
#[handler]
fn use_blocking(what: Json<Use>) -> Json<Value> {
    shown(blocking::run(what.0))
}

fn shown(result: Result<Value, fanfare_sdk::wit::types::CallError>) -> Json<Value> {
    Json(result.unwrap_or_else(|error| {
        let error = CallError::from(error);
        let failure = error.failure().map(|failure| json!({ "name": failure.name, "status": failure.status }));
        json!({ "error": error.kind(), "message": error.to_string(), "failure": failure })
    }))
}

async fn run(what: Use) -> Result<Value, fanfare_sdk::wit::types::CallError> {
    let call = caller();
    Ok(match what {
        Use::Publish { channel, payload: body } => json!(raw::publish(call, &channel, &payload(body))?),
        Use::PublishAndWait { channel, payload: body } => {
            place(raw_await::publish(call, &channel, &payload(body)).await?)
        }
        Use::Subscribe { channel, route } => json!(raw::subscribe(call, &channel, &route)?),
        Use::Unsubscribe { subscription } => json!(raw::unsubscribe(call, &subscription)?),
        Use::Add { channel, session } => json!(raw::add(call, &channel, &session)?),
        Use::KickOut { channel, session, message } => json!(raw::kick_out(call, &channel, &session, &message)?),
        Use::Count { channel } => json!(raw::count(&channel)),
        Use::History { channel, after, most } => {
            let after = after.map(Position::from);
            page(raw_await::history(call, &channel, after.as_ref(), most).await?)
        }
        Use::Members { channel } => raw_await::members(call, &channel).await?.into_iter().map(member).collect(),
    })
}

#[derive(Serialize, Deserialize)]
struct Saved {
    seen: Vec<Value>,
    received: Vec<Value>,
}

impl State for Saved {
    async fn save() -> Self {
        Saved { seen: SEEN.with_borrow(Clone::clone), received: RECEIVED.with_borrow(Clone::clone) }
    }

    async fn load(self, _from: &str) -> Result<()> {
        SEEN.with_borrow_mut(|seen| seen.splice(0..0, self.seen).for_each(drop));
        RECEIVED.with_borrow_mut(|received| received.splice(0..0, self.received).for_each(drop));
        Ok(())
    }
}

fanfare_sdk::module! {
    handlers: [
        decide, on_message, echo, sign_in, use_channels, use_blocking, burst, seen, received, forget, hold, release,
        holding, who, panics, in_broker, at_home,
    ],
    snapshot: Saved,
}
