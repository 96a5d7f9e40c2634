//! The contract in Rust with raw bindings, without an SDK.

use std::alloc::{Layout, dealloc};
use std::cell::RefCell;

use futures_channel::oneshot;

wit_bindgen::generate!({
    path: "../../../../wit",
    inline: "
        package guest:rust;
        world guest {
            include fanfare:module/module@0.1.0;
            export fanfare:module/describe@0.1.0;
        }
    ",
    generate_all,
});

use exports::fanfare::module::{describe, handler};
use fanfare::module::types::{
    Call, CallError, CallId, CallOptions, Emission, Failure, Outcome, Passed, Payload, Recipient, Reply, Target,
    Trigger,
};
use fanfare::module::{broadcast, channels, channels_await, events, host, rpc, sessions, sessions_await, sse};

const SLOW: &str = "echo/slow";

thread_local! {
    /// The calls that wait in `hold` until `release`.
    static HELD: RefCell<Vec<oneshot::Sender<()>>> = const { RefCell::new(Vec::new()) };
}

struct Guest;

impl describe::Guest for Guest {
    fn handlers() -> Vec<String> {
        ["echo", "pass", "wait", "emit", "charged", "stream", "tell", "hear", "greet", "channel", "hold", "release"]
            .map(String::from)
            .into()
    }
}

impl handler::Guest for Guest {
    async fn handle(call: Call) -> Result<Outcome, Failure> {
        match call.handler.as_str() {
            "echo" => Ok(reply(call.payload)),
            "pass" => Ok(Outcome::Pass(Passed {
                payload: Some(call.payload),
                extra: vec![("fact".into(), call.id.to_string())],
            })),
            "wait" => {
                let route = match call.payload {
                    Payload::Text(route) => route,
                    Payload::None | Payload::Bytes(_) => SLOW.into(),
                };
                Ok(reply(ask(call.id, &route, Payload::None).await?))
            }
            "emit" => emit(call),
            "charged" => {
                for _ in 0..2 {
                    ask(call.id, SLOW, Payload::Text(call.id.to_string())).await?;
                }
                host::log(Some(call.id), host::Level::Info, "charged", &[]);
                Ok(reply(Payload::Text(call.id.to_string())))
            }
            "stream" => stream(call),
            "tell" => tell(call),
            "hear" => hear(call),
            "greet" => greet(call).await,
            "channel" => channel(call).await,
            "hold" => {
                let (release, released) = oneshot::channel();
                HELD.with_borrow_mut(|held| held.push(release));
                let _ = released.await;
                Ok(reply(Payload::Text("released".into())))
            }
            "release" => {
                let held = HELD.take();
                let count = held.len();
                for call in held {
                    let _ = call.send(());
                }
                Ok(reply(Payload::Text(count.to_string())))
            }
            other => Err(failure("no-such-handler", format!("there is no handler `{other}`"))),
        }
    }
}

/// Calls a route and waits. An error becomes a failure with the name of its kind.
async fn ask(caller: CallId, route: &str, payload: Payload) -> Result<Payload, Failure> {
    let options = CallOptions { timeout_ms: None, subdomain: None, extra: Vec::new() };
    match rpc::call(Some(caller), &Target::Any, route, &payload, &options).await {
        Ok(reply) => Ok(reply.payload),
        Err(error) => Err(refused(error)),
    }
}

fn emit(call: Call) -> Result<Outcome, Failure> {
    let what = Emission { module: None, name: "ping".into(), subdomain: None, extra: Vec::new() };
    let receipt = broadcast::emit(Some(call.id), &what, &call.payload).map_err(refused)?;
    let json = format!(r#"{{"id":{},"seq":{},"accepted":{}}}"#, receipt.id, receipt.seq, receipt.accepted);
    Ok(reply(Payload::Text(json)))
}

/// Publishes to the key in the payload. Returns how many clients it has reached, and how many there
/// are.
fn stream(call: Call) -> Result<Outcome, Failure> {
    let Payload::Text(key) = call.payload else { return Err(failure("no-key", "send a key".into())) };
    let event = sse::Event {
        event: Some("tick".into()),
        id: Some("7".into()),
        retry_ms: Some(1_000),
        ..of_data(Payload::Text("grüße".into()))
    };
    let reached = sse::publish(Some(call.id), &key, &event, sse::Reach::ThisNode).map_err(refused)?;
    Ok(reply(Payload::Text(format!("{reached} of {}", sse::count(Some(&key))))))
}

fn of_data(data: Payload) -> sse::Event {
    sse::Event { data, event: None, id: None, retry_ms: None, comment: None, extra: Vec::new() }
}

/// Emits an event of the type in the payload, or of the type `message`.
fn tell(call: Call) -> Result<Outcome, Failure> {
    let event_type = match &call.payload {
        Payload::Text(event_type) => Some(event_type.as_str()),
        Payload::None | Payload::Bytes(_) => None,
    };
    events::emit(Some(call.id), event_type, &Payload::Text("grüße".into())).map_err(refused)?;
    Ok(reply(Payload::None))
}

/// Publishes the event of a subscription.
fn hear(call: Call) -> Result<Outcome, Failure> {
    let (Trigger::Subscription(from), Payload::Text(value)) = (call.trigger, call.payload) else {
        return Err(failure("not-an-event", "a subscription calls this handler".into()));
    };
    let position = from.id.is_some();
    let line = format!("{} {} {} {value} {position}", from.name, from.source, from.topic);
    let event = of_data(Payload::Text(line));
    sse::publish(Some(call.id), "rust", &event, sse::Reach::Everywhere).map_err(refused)?;
    Ok(reply(Payload::None))
}

/// Handles a message of a connected client: keeps it as a value of the session, sends two messages
/// to the client, and replies.
async fn greet(call: Call) -> Result<Outcome, Failure> {
    let (Trigger::Client(message), Payload::Text(name)) = (call.trigger, call.payload) else {
        return Err(failure("not-a-client", "a client calls this handler".into()));
    };
    let id = Some(call.id);
    let session = sessions::current(call.id).ok_or_else(|| failure("no-session", String::new()))?;
    sessions::set(id, None, &[("name".into(), name)]).map_err(refused)?;
    let own = Recipient::Session(session.id);
    sessions::send(id, &own, "note", &Payload::Text("grüße".into())).map_err(refused)?;
    let to = [own, Recipient::Uid("nobody".into())];
    let pushed = sessions_await::push(id, &to, "note", &Payload::Text("pushed".into())).await.map_err(refused)?;
    let kept = sessions::get(id, None, "name").map_err(refused)?.unwrap_or_default();
    let (reached, unknown, protocol) = (pushed.reached, pushed.unknown.len(), session.protocol);
    Ok(reply(Payload::Text(format!("{} {kept} {reached} {unknown} {protocol}", message.name))))
}

/// Publishes to the channel in the payload, and reads its history and its members.
async fn channel(call: Call) -> Result<Outcome, Failure> {
    let Payload::Text(name) = call.payload else { return Err(failure("no-channel", "send a channel".into())) };
    let id = Some(call.id);
    channels::publish(id, &name, &Payload::Text("first".into())).map_err(refused)?;
    let sent = channels_await::publish(id, &name, &Payload::Text("grüße".into())).await.map_err(refused)?;
    let page = channels_await::history(id, &name, sent.as_ref(), 10).await.map_err(refused)?;
    let all = channels_await::history(id, &name, None, 10).await.map_err(refused)?;
    let members = channels_await::members(id, &name).await.map_err(refused)?;
    let place = sent.map(|place| place.offset).unwrap_or_default();
    let last = match all.messages.last().map(|message| &message.payload) {
        Some(Payload::Text(text)) => text.as_str(),
        _ => "",
    };
    let (rest, kept, count) = (page.messages.len(), all.messages.len(), channels::count(&name));
    Ok(reply(Payload::Text(format!("{place} {last} {rest} {kept} {} {} {count}", page.complete, members.len()))))
}

fn refused(error: CallError) -> Failure {
    let (kind, message) = match error {
        CallError::Failure(failure) => ("failure", failure.message),
        CallError::Timeout => ("timeout", String::new()),
        CallError::NotFound(message) => ("not-found", message),
        CallError::Forbidden(message) => ("forbidden", message),
        CallError::Overloaded(message) => ("overloaded", message),
        CallError::Crashed(message) => ("crashed", message),
        CallError::Unavailable(message) => ("unavailable", message),
        CallError::WouldDeadlock(message) => ("would-deadlock", message),
        CallError::TooDeep(message) => ("too-deep", message),
        CallError::Invalid(message) => ("invalid", message),
        CallError::Other((kind, message)) => return failure(&kind, message),
    };
    failure(kind, message)
}

fn failure(name: &str, message: String) -> Failure {
    Failure { name: name.into(), message, status: 0, data: Payload::None, extra: Vec::new() }
}

fn reply(payload: Payload) -> Outcome {
    Outcome::Reply(Reply { status: 0, headers: Vec::new(), payload, extra: Vec::new() })
}

// Replaces `export!(Guest)`, which leaks: an `async` export of wit-bindgen 0.63 never frees the
// record of its parameters, so each call would leave 152 bytes in an instance that lives on.
describe::__export_fanfare_module_describe_0_1_0_cabi!(Guest with_types_in describe);

/// The size of a `call` in memory, as the canonical ABI lays it out.
const CALL: Layout = match Layout::from_size_align(152, 8) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

#[unsafe(export_name = "[async-lift]fanfare:module/handler@0.1.0#handle")]
unsafe extern "C" fn handle(call: *mut u8) -> i32 {
    unsafe {
        let code = handler::_export_handle_cabi::<Guest>(call);
        // Nothing reads the record after the first poll, which is over.
        dealloc(call, CALL);
        code
    }
}

#[unsafe(export_name = "[callback][async-lift]fanfare:module/handler@0.1.0#handle")]
unsafe extern "C" fn callback(event: u32, first: u32, second: u32) -> u32 {
    unsafe { handler::__callback_handle(event, first, second) }
}
