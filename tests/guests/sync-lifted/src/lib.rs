//! Exports the `async func` of `handler` lifted synchronously: the host sends one call at a time,
//! and the whole instance waits for an import.

use std::cell::Cell;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "fanfare:module/module-serial@0.1.0",
    sync: true,
});

use exports::fanfare::module::handler::Guest;
use fanfare::module::types::{
    Call, CallError, CallOptions, Emission, Failure, Isolate, Outcome, Payload, Reply, Target,
};
use fanfare::module::{broadcast_blocking, host, rpc_blocking};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Component;

impl Guest for Component {
    fn handle(call: Call) -> Result<Outcome, Failure> {
        let caller = Some(call.id);
        match call.handler.as_str() {
            "echo" => Ok(reply(call.payload)),
            "who" => {
                COUNT.set(COUNT.get() + 1);
                let isolate = match host::whoami().isolate {
                    Isolate::Worker(index) => format!("worker-{index}"),
                    Isolate::Broker(index) => format!("broker-{index}"),
                    Isolate::Master => "master".to_owned(),
                };
                Ok(text(format!(r#"{{"isolate":"{isolate}","count":{}}}"#, COUNT.get())))
            }
            // Calls the route in the body. The whole instance waits for it.
            "nested" => {
                let Payload::Text(route) = call.payload else { return Err(failure("no-route")) };
                let options = CallOptions { timeout_ms: None, subdomain: None, extra: Vec::new() };
                match rpc_blocking::call(caller, &Target::Any, &route, &Payload::None, &options) {
                    Ok(reply) => Ok(Outcome::Reply(reply)),
                    Err(CallError::Failure(failure)) => Err(failure),
                    Err(error) => Err(failure(kind(&error))),
                }
            }
            "gather" => match broadcast_blocking::gather(caller, &wave(), &call.payload, None) {
                Ok(entries) => {
                    let ends = entries.iter().map(|entry| match &entry.outcome {
                        Ok(_) => r#""ok""#.to_owned(),
                        Err(error) => format!(r#""{}""#, kind(error)),
                    });
                    Ok(text(format!("[{}]", ends.collect::<Vec<_>>().join(","))))
                }
                Err(error) => Err(failure(kind(&error))),
            },
            "emit" => match broadcast_blocking::emit(caller, &wave(), &call.payload) {
                Ok(receipt) => Ok(text(receipt.accepted.to_string())),
                Err(error) => Err(failure(kind(&error))),
            },
            _ => Err(failure("no-such-handler")),
        }
    }
}

fn wave() -> Emission {
    Emission { module: None, name: "wave".to_owned(), subdomain: None, extra: Vec::new() }
}

fn reply(payload: Payload) -> Outcome {
    Outcome::Reply(Reply { status: 0, headers: Vec::new(), payload, extra: Vec::new() })
}

fn text(text: String) -> Outcome {
    reply(Payload::Text(text))
}

fn failure(name: &str) -> Failure {
    let message = format!("the guest failed: {name}");
    Failure { name: name.to_owned(), message, status: 500, data: Payload::None, extra: Vec::new() }
}

fn kind(error: &CallError) -> &str {
    match error {
        CallError::Failure(_) => "failure",
        CallError::Timeout => "timeout",
        CallError::NotFound(_) => "not-found",
        CallError::Forbidden(_) => "forbidden",
        CallError::Overloaded(_) => "overloaded",
        CallError::Crashed(_) => "crashed",
        CallError::Unavailable(_) => "unavailable",
        CallError::WouldDeadlock(_) => "would-deadlock",
        CallError::TooDeep(_) => "too-deep",
        CallError::Invalid(_) => "invalid",
        CallError::Other((kind, _)) => kind,
    }
}

export!(Component);
