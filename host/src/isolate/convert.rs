//! Between the plain data of `call` and the generated types.

use std::time::Duration;

use crate::bindings::fanfare::module::types as wit;
use crate::call::{
    Address, Call, CallError, CallOptions, Emission, Entry, Failure, Group, IsolateId, Origin, Outcome, Payload,
    Receipt, Reply, Skipped, StartupReason, Target, Trigger,
};

impl From<Payload> for wit::Payload {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::None => wit::Payload::None,
            Payload::Text(text) => wit::Payload::Text(text),
            Payload::Bytes(bytes) => wit::Payload::Bytes(bytes),
        }
    }
}

impl From<wit::Payload> for Payload {
    fn from(payload: wit::Payload) -> Self {
        match payload {
            wit::Payload::None => Payload::None,
            wit::Payload::Text(text) => Payload::Text(text),
            wit::Payload::Bytes(bytes) => Payload::Bytes(bytes),
        }
    }
}

impl From<IsolateId> for wit::Isolate {
    fn from(isolate: IsolateId) -> Self {
        match isolate {
            IsolateId::Worker(index) => wit::Isolate::Worker(index),
            IsolateId::Broker(index) => wit::Isolate::Broker(index),
            IsolateId::Master => wit::Isolate::Master,
        }
    }
}

impl From<Trigger> for wit::Trigger {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Http(method) => wit::Trigger::Http(wit::HttpRequest { method: method_of(&method) }),
            Trigger::Broadcast(broadcast) => wit::Trigger::Broadcast(wit::Broadcast {
                name: broadcast.name.as_ref().to_owned(),
                id: broadcast.id,
                seq: broadcast.seq,
                same_as_caller: broadcast.same_as_caller,
            }),
            Trigger::Rpc => wit::Trigger::Rpc,
            Trigger::Startup { name, reason } => wit::Trigger::Startup(wit::Startup {
                name: name.as_ref().to_owned(),
                reason: match reason {
                    StartupReason::Start => wit::StartupReason::Start,
                    StartupReason::Swap => wit::StartupReason::Swap,
                    StartupReason::Restart => wit::StartupReason::Restart,
                },
            }),
        }
    }
}

fn method_of(method: &http::Method) -> wit::Method {
    match *method {
        http::Method::GET | http::Method::HEAD => wit::Method::Get,
        http::Method::POST => wit::Method::Post,
        http::Method::PUT => wit::Method::Put,
        http::Method::PATCH => wit::Method::Patch,
        http::Method::DELETE => wit::Method::Delete,
        ref other => wit::Method::Other(other.as_str().to_owned()),
    }
}

impl From<&Origin> for wit::Origin {
    fn from(origin: &Origin) -> Self {
        match origin {
            Origin::Client => wit::Origin::Client,
            Origin::Guest { module, isolate } => wit::Origin::Guest(wit::GuestOrigin {
                module: module.as_ref().to_owned(),
                isolate: (*isolate).into(),
                node: None,
            }),
            Origin::Host => wit::Origin::Host,
            Origin::Operator => wit::Origin::Operator,
        }
    }
}

/// The record of a call that starts now and has so much time left.
pub fn call(call: Call, left: Duration) -> wit::Call {
    let context = &call.context;
    wit::Call {
        id: context.id,
        handler: call.route.handler.as_ref().to_owned(),
        origin: (&context.origin).into(),
        subdomain: context.subdomain.as_deref().map(str::to_owned),
        deadline_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        trigger: call.trigger.into(),
        params: call.params,
        query: call.query,
        payload: call.payload.into(),
        extra: Vec::new(),
    }
}

impl From<wit::Outcome> for Outcome {
    fn from(outcome: wit::Outcome) -> Self {
        match outcome {
            wit::Outcome::Reply(reply) => Outcome::Reply(reply.into()),
            wit::Outcome::Pass(payload) => Outcome::Pass(payload.map(Into::into)),
        }
    }
}

impl From<wit::Reply> for Reply {
    fn from(reply: wit::Reply) -> Self {
        Reply { status: reply.status, headers: reply.headers, payload: reply.payload.into(), extra: reply.extra }
    }
}

impl From<Reply> for wit::Reply {
    fn from(reply: Reply) -> Self {
        wit::Reply { status: reply.status, headers: reply.headers, payload: reply.payload.into(), extra: reply.extra }
    }
}

impl From<wit::Failure> for Failure {
    fn from(failure: wit::Failure) -> Self {
        let wit::Failure { name, message, status, data, extra } = failure;
        Failure { name, message, status, data: data.into(), extra }
    }
}

impl From<Failure> for wit::Failure {
    fn from(failure: Failure) -> Self {
        let Failure { name, message, status, data, extra } = failure;
        wit::Failure { name, message, status, data: data.into(), extra }
    }
}

impl From<CallError> for wit::CallError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failure(failure) => wit::CallError::Failure(failure.into()),
            CallError::Timeout => wit::CallError::Timeout,
            CallError::NotFound(why) => wit::CallError::NotFound(why),
            CallError::Forbidden(why) => wit::CallError::Forbidden(why),
            CallError::Overloaded(why) => wit::CallError::Overloaded(why),
            CallError::Crashed(why) => wit::CallError::Crashed(why),
            CallError::Unavailable(why) => wit::CallError::Unavailable(why),
            CallError::WouldDeadlock(why) => wit::CallError::WouldDeadlock(why),
            CallError::TooDeep(why) => wit::CallError::TooDeep(why),
            CallError::Invalid(why) => wit::CallError::Invalid(why),
        }
    }
}

impl From<Entry> for wit::Entry {
    fn from(entry: Entry) -> Self {
        let outcome = entry.outcome.map(Into::into).map_err(Into::into);
        wit::Entry { isolate: entry.isolate.into(), node: None, outcome }
    }
}

impl From<Receipt> for wit::Receipt {
    fn from(receipt: Receipt) -> Self {
        let skipped =
            |skipped: Skipped| wit::Skipped { isolate: skipped.isolate.into(), node: None, reason: skipped.reason };
        wit::Receipt {
            id: receipt.id,
            seq: receipt.seq,
            accepted: receipt.accepted,
            skipped: receipt.skipped.into_iter().map(skipped).collect(),
        }
    }
}

impl From<wit::Emission> for Emission {
    fn from(emission: wit::Emission) -> Self {
        Emission { module: emission.module, name: emission.name, subdomain: emission.subdomain }
    }
}

impl From<wit::Target> for Target {
    fn from(target: wit::Target) -> Self {
        match target {
            wit::Target::Any => Target::Any,
            wit::Target::Worker(index) => Target::Isolate(IsolateId::Worker(index)),
            wit::Target::Broker(index) => Target::Isolate(IsolateId::Broker(index)),
            wit::Target::Master => Target::Isolate(IsolateId::Master),
            wit::Target::Node(id) => Target::Node(id),
            wit::Target::Server(server) => Target::Server(server),
        }
    }
}

impl From<wit::Group> for Group {
    fn from(group: wit::Group) -> Self {
        match group {
            wit::Group::Workers => Group::Workers,
            wit::Group::Brokers => Group::Brokers,
            wit::Group::Servers(server) => Group::Servers(server),
        }
    }
}

impl From<wit::Address> for Address {
    fn from(address: wit::Address) -> Self {
        match address {
            wit::Address::One(target) => Address::One(target.into()),
            wit::Address::Every(group) => Address::Every(group.into()),
        }
    }
}

impl From<wit::CallOptions> for CallOptions {
    fn from(options: wit::CallOptions) -> Self {
        CallOptions { timeout: milliseconds(options.timeout_ms), subdomain: options.subdomain }
    }
}

pub fn milliseconds(timeout: Option<u32>) -> Option<Duration> {
    timeout.map(|milliseconds| Duration::from_millis(milliseconds.into()))
}
