//! A call and its outcome, as plain data that every part may use. Nothing here does I/O or spawns
//! tasks.

use std::sync::Arc;
use std::time::Duration;

mod address;
mod assigned;
pub mod bounds;
mod broadcast;
mod census;
pub mod channel;
mod channel_call;
mod channel_record;
mod channel_request;
mod client;
mod context;
mod due;
mod envelope;
mod error;
mod event;
pub mod event_type;
mod exchange;
mod forward;
pub mod hook;
mod middleware;
mod name;
mod outcome;
mod panic;
mod payload;
pub mod position;
mod post;
mod problem;
mod problem_code;
mod request;
mod rollout;
pub mod session;
mod session_values;
mod shares;
pub mod size;
mod stream;
pub mod stream_key;
pub mod text;
pub mod time;
pub mod topic;
mod trace;
mod trigger;
mod written;

pub use address::{Address, Group, IsolateId, Target};
pub use assigned::{CallEnd, MessageCall, RunCall};
pub use broadcast::{Emission, Receipt, Skipped, weight_of_broadcast};
pub use census::{CensusBatch, CensusMember, CensusPage, CensusStep, MemberStep};
pub use channel::{
    ChannelAction, ChannelActions, ChannelHome, ChannelKeep, ChannelMember, ChannelMessage, ChannelPage, ChannelPlace,
    ChannelPosition, ChannelSettings, ChannelTrigger,
};
pub use channel_call::{ChannelCall, ChannelRule, DeclaredChannel};
pub use channel_record::{ChannelRecord, RecordPlaces, WriteError, WrittenChannel};
pub use channel_request::{ChannelAnswer, ChannelAsk, ChannelRequest, HomeCall};
pub use client::{ClientHook, ClientMessage};
pub use context::{Context, Deadline, RequestHead};
pub use due::{DueRecord, MOST_AHEAD, Making};
pub use envelope::{Envelope, Link, Peer, PeerBroadcast, PeerCall, VERSION};
pub use error::{Blame, CallError, Failure};
pub use event::Event;
pub use exchange::{BodyError, Exchange, ExchangeRequest, StreamedBody};
pub use forward::{Acted, Applied, AppliedValues, CallSession, PeerMessage, SessionAct, SessionCopy, SessionHome};
pub use middleware::MiddlewareCall;
pub use name::{MAX_PATH, MAX_SEGMENTS, METHODS, RouteName};
pub use outcome::{CallResult, GatherEntry, Outcome, Passed, Reply, facts_before, sizes};
pub use panic::panic_text;
pub use payload::Payload;
pub use post::{Post, PostAbout, TopicKind};
pub use problem::{Problem, ProblemDocument};
pub use problem_code::ProblemCode;
pub use request::{Admission, HttpRequest, StreamRequest};
pub use rollout::{NodeReload, ReloadOutcome, RolloutStep};
pub use session::{Pushed, Recipient, SessionInfo, WhenTaken};
pub use session_values::{ChangeError, Values};
pub use shares::{Amount, Shares};
pub use stream::{StreamEvent, StreamReach};
pub use trace::Trace;
pub use trigger::{
    Broadcast, ClientTrigger, FilterStage, Origin, ScheduleRun, StartupReason, SubscriptionCall, Trigger, TriggerKind,
};

/// Name and value pairs that later versions may add. A version ignores the names that it does not
/// know.
pub type Extra = Vec<(String, String)>;

/// A route of one deployment, as its calls carry it.
#[derive(Debug)]
pub struct Route {
    /// The number of the deployment in its isolate.
    pub deployment: u64,
    pub handler: Arc<str>,
    /// The route as the manifest writes it: `POST test/feat/emit`.
    pub text: Arc<str>,
    /// The routes that run before the handler, in this order. Each names its module.
    pub chain: Vec<RouteName>,
}

/// A call on its way to a mailbox.
#[derive(Debug)]
pub struct Call {
    pub context: Arc<Context>,
    pub route: Arc<Route>,
    pub trigger: Trigger,
    pub params: Vec<(String, String)>,
    pub query: String,
    pub payload: Payload,
    /// Facts that middlewares passed on, named `<module>.<name>`.
    pub extra: Extra,
    /// The request, if the call is one for the `wasi:http` export of the component. It then has no
    /// parameters and no payload.
    pub exchange: Option<Box<Exchange>>,
}

/// Memory that a call uses in the host in addition to its text, in bytes: its record, its context,
/// its place in a lane and its reply.
const FIXED: usize = 1_024;

/// Memory that a header or a parameter uses in addition to its text, in bytes.
const ENTRY: usize = 104;

impl Call {
    /// The size of the text besides the payload, in bytes: parameters, query, names, subdomain and
    /// facts.
    pub fn text_len(&self) -> usize {
        pairs(&self.params)
            + pairs(&self.extra)
            + self.query.len()
            + self.trigger.name().len()
            + self.context.subdomain_len()
    }

    /// The size of its facts in bytes.
    pub fn facts_len(&self) -> usize {
        pairs(&self.extra)
    }

    /// Memory that the call uses while it waits, in bytes: all its data, and the calls that wait
    /// for it, because it keeps them alive.
    pub fn weight(&self) -> u64 {
        let listed = [&self.params, &self.extra].map(|list| pairs(list) + ENTRY * list.len());
        let listed = listed.iter().sum::<usize>() + self.exchange.as_ref().map_or(0, |exchange| exchange.weight());
        (self.context.weight() + listed + self.query.len() + self.trigger.name().len() + self.payload.len()) as u64
    }
}

/// The size of all names and values in bytes.
fn pairs(list: &[(String, String)]) -> usize {
    list.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Options of a call.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// How long to wait. The default and the maximum is the time that the caller has left.
    pub timeout: Option<Duration>,
    /// The subdomain of the call. `None` means the caller's subdomain.
    pub subdomain: Option<String>,
    /// This version ignores it.
    pub extra: Extra,
}

impl CallOptions {
    /// The size of all its text in bytes.
    pub fn text_len(&self) -> usize {
        self.subdomain.as_ref().map_or(0, String::len) + pairs(&self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_text_includes_every_text_that_a_guest_sends() {
        let text = || "x".repeat(5);
        let extra = || vec![(text(), text())];
        let emission = Emission { module: Some(text()), name: text(), subdomain: Some(text()), extra: extra() };
        assert_eq!(emission.text_len(), 25);
        let options = CallOptions { subdomain: Some(text()), extra: extra(), ..CallOptions::default() };
        assert_eq!(options.text_len(), 15);
    }
}
