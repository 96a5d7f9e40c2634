//! The contract in Rust, on raw bindings: no SDK.

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
    Call, CallError, CallId, CallOptions, Emission, Failure, Outcome, Payload, Reply, Target,
};
use fanfare::module::{broadcast, host, rpc};

const SLOW: &str = "echo/slow";

thread_local! {
    /// The calls that `hold` keeps until `release`.
    static HELD: RefCell<Vec<oneshot::Sender<()>>> = const { RefCell::new(Vec::new()) };
}

struct Guest;

impl describe::Guest for Guest {
    fn handlers() -> Vec<String> {
        ["echo", "wait", "emit", "charged", "hold", "release"].map(String::from).into()
    }
}

impl handler::Guest for Guest {
    async fn handle(call: Call) -> Result<Outcome, Failure> {
        match call.handler.as_str() {
            "echo" => Ok(reply(call.payload)),
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

/// Calls a route and waits; an error becomes a failure of its kind's name.
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

export!(Guest);
