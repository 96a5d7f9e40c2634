//! Converts between the plain data of `call` and the types generated from `wit/`.

mod channels;
mod sessions;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::bindings::fanfare::module::types as wit;
use crate::call::{
    Address, Call, CallError, CallOptions, ClientTrigger, Emission, Failure, FilterStage, GatherEntry, Group,
    IsolateId, Origin, Outcome, Passed, Payload, Receipt, Reply, ScheduleRun, Skipped, StartupReason, SubscriptionCall,
    Target, Trigger,
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
            Trigger::Hook(name) => wit::Trigger::Hook(wit::Hook { name: name.to_owned() }),
            Trigger::Stream { key, last_event_id } => {
                let data = serde_json::json!({ "key": &*key, "lastEventId": last_event_id.as_deref() });
                wit::Trigger::Other(("stream".to_owned(), data.to_string()))
            }
            Trigger::Schedule(ScheduleRun { name, due, id }) => {
                wit::Trigger::Schedule(wit::Schedule { name: name.to_string(), due_ms: due, run: id.to_string() })
            }
            Trigger::Subscription(SubscriptionCall { name, declared: _, source, topic, id }) => {
                wit::Trigger::Subscription(wit::Subscription {
                    name: name.to_string(),
                    source: source.to_owned(),
                    topic: topic.to_string(),
                    id: id.map(|id| id.to_string()),
                })
            }
            Trigger::Client(message) | Trigger::Filter(FilterStage::Before(message)) => {
                wit::Trigger::Client(message.into())
            }
            Trigger::Filter(FilterStage::After { route, status }) => {
                let data = serde_json::json!({ "route": &*route, "status": status });
                wit::Trigger::Other(("after".to_owned(), data.to_string()))
            }
            Trigger::Channel(event) => wit::Trigger::Channel(event.into()),
            Trigger::Route { server, event } => {
                let data = serde_json::json!({ "server": &*server, "event": &*event });
                wit::Trigger::Other(("route".to_owned(), data.to_string()))
            }
            Trigger::Middleware(of) => Trigger::clone(&of).into(),
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

impl From<ClientTrigger> for wit::ClientMessage {
    fn from(message: ClientTrigger) -> Self {
        let ClientTrigger { session, name, socket: _, wants_reply } = message;
        wit::ClientMessage { session: session.to_string(), name: name.to_string(), wants_reply }
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
            Origin::Session(id) => wit::Origin::Session(id.to_string()),
            Origin::Guest { module, isolate, node } => wit::Origin::Guest(wit::GuestOrigin {
                module: module.as_ref().to_owned(),
                isolate: (*isolate).into(),
                node: node.as_deref().map(str::to_owned),
            }),
            Origin::Host => wit::Origin::Host,
            Origin::Operator => wit::Origin::Operator,
        }
    }
}

/// Returns the record of a call that starts now and has the time `left` until its deadline.
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
        extra: call.extra,
    }
}

impl From<wit::Outcome> for Outcome {
    fn from(outcome: wit::Outcome) -> Self {
        match outcome {
            wit::Outcome::Reply(reply) => Outcome::Reply(reply.into()),
            wit::Outcome::Pass(passed) => Outcome::Pass(passed.into()),
        }
    }
}

impl From<wit::Passed> for Passed {
    fn from(passed: wit::Passed) -> Self {
        Passed { payload: passed.payload.map(Into::into), extra: passed.extra }
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
            CallError::Timeout(_) => wit::CallError::Timeout,
            CallError::NotFound(why) => wit::CallError::NotFound(why),
            CallError::Forbidden(why) => wit::CallError::Forbidden(why),
            CallError::Overloaded(why) => wit::CallError::Overloaded(why),
            CallError::Crashed(why) => wit::CallError::Crashed(why),
            CallError::Unavailable(why) => wit::CallError::Unavailable(why),
            CallError::WouldDeadlock(why) => wit::CallError::WouldDeadlock(why),
            CallError::TooDeep(why) => wit::CallError::TooDeep(why),
            CallError::Invalid(why) => wit::CallError::Invalid(why),
            CallError::Other(kind, why) => wit::CallError::Other((kind, why)),
        }
    }
}

impl From<GatherEntry> for wit::Entry {
    fn from(entry: GatherEntry) -> Self {
        let outcome = entry.outcome.map(Into::into).map_err(Into::into);
        wit::Entry { isolate: entry.isolate.into(), node: entry.node, outcome }
    }
}

impl From<Skipped> for wit::Skipped {
    fn from(skipped: Skipped) -> Self {
        wit::Skipped { isolate: skipped.isolate.into(), node: skipped.node, reason: skipped.reason }
    }
}

impl From<Receipt> for wit::Receipt {
    fn from(receipt: Receipt) -> Self {
        wit::Receipt {
            id: receipt.id,
            seq: receipt.seq,
            accepted: receipt.accepted,
            skipped: receipt.skipped.into_iter().map(Into::into).collect(),
            extra: receipt.extra,
        }
    }
}

impl From<wit::Emission> for Emission {
    fn from(emission: wit::Emission) -> Self {
        let wit::Emission { module, name, subdomain, extra } = emission;
        Emission { module, name, subdomain, extra }
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
            wit::Target::Channel(name) => Target::Channel(name),
            wit::Target::Session(id) => Target::Session(id),
            wit::Target::Other((kind, name)) => Target::Other(kind, name),
        }
    }
}

impl From<wit::Group> for Group {
    fn from(group: wit::Group) -> Self {
        match group {
            wit::Group::Workers => Group::Workers,
            wit::Group::Brokers => Group::Brokers,
            wit::Group::Servers(server) => Group::Servers(server),
            wit::Group::Nodes => Group::Nodes,
            wit::Group::Cluster => Group::Cluster,
            wit::Group::Other((kind, name)) => Group::Other(kind, name),
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
        let wit::CallOptions { timeout_ms, subdomain, extra } = options;
        CallOptions { timeout: milliseconds(timeout_ms), subdomain, extra }
    }
}

pub fn milliseconds(timeout: Option<u32>) -> Option<Duration> {
    timeout.map(|milliseconds| Duration::from_millis(milliseconds.into()))
}
