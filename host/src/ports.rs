//! The ports: traits through which a guest's imports, and dispatch, use the parts above them. Each
//! port has an implementation for a host without that part.

mod calls;
mod census;
pub mod channel_caller;
mod channel_homes;
mod channels;
mod events;
mod future;
mod histories;
mod master;
mod messages;
mod nats;
mod nodes;
mod peers;
mod reloads;
mod rollouts;
pub mod session_caller;
mod sessions;
mod streams;
mod ticks;
mod topics;

use std::sync::Arc;

pub use calls::{Caller, Calls, NoCalls};
pub use census::{CensusReceiver, Neighbors, NodesSeen};
pub use channel_caller::ChannelCaller;
pub use channel_homes::HomeChannels;
pub use channels::{Channels, NoChannels};
pub use events::{Events, NoEvents};
pub use future::BoxFuture;
pub use histories::{Histories, NoHistories};
pub use master::{Master, NoMaster};
pub use messages::{Messages, NoMessages, check_message};
pub use nats::{NatsConnection, NatsTroubles};
pub use nodes::{KnownNode, NoNodes, Nodes, OneNode};
pub use peers::{Forward, NoPeers, Peers, Reached, Wanted};
pub use reloads::{LateReloads, NoReloads, Reloads, StepResult};
pub use rollouts::{Confirm, Known, NoRollouts, Rejection, Rollouts, Turn, Verdict};
pub use session_caller::SessionCaller;
pub use sessions::{ClientEvent, NoSessions, SessionValues, Sessions};
pub use streams::{NoStreams, Streams};
pub use ticks::{Claim, Tick, Ticks};
pub use topics::{Acted, Followed, NoTopics, Prepared, TopicReceiver, Topics};

/// The ports that imports and instances use. Each instance has a copy.
#[derive(Clone)]
pub struct Ports {
    pub calls: Arc<dyn Calls>,
    pub reloads: Arc<dyn Reloads>,
    pub master: Arc<dyn Master>,
    pub streams: Arc<dyn Streams>,
    pub events: Arc<dyn Events>,
    pub messages: Arc<dyn Messages>,
    pub nodes: Arc<dyn Nodes>,
    pub sessions: Arc<dyn Sessions>,
    pub channels: Arc<dyn Channels>,
}

/// Changes the ports of a host before it loads modules.
pub type ChangePorts = Box<dyn FnOnce(&mut Ports) + Send>;

impl Ports {
    /// The ports of a host that only inspects components. Every use returns `unavailable`, and
    /// there are no options and no nodes.
    pub fn none() -> Ports {
        Ports {
            calls: Arc::new(NoCalls),
            reloads: Arc::new(NoReloads),
            master: Arc::new(NoMaster),
            streams: Arc::new(NoStreams),
            events: Arc::new(NoEvents),
            messages: Arc::new(NoMessages),
            nodes: Arc::new(NoNodes),
            sessions: Arc::new(NoSessions),
            channels: Arc::new(NoChannels),
        }
    }

    /// Returns these ports after a change, if there is one.
    pub fn changed(mut self, change: Option<ChangePorts>) -> Ports {
        if let Some(change) = change {
            change(&mut self);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{
        Address, CallError, CallOptions, Emission, Group, IsolateId, Payload, RouteName, StreamEvent, StreamReach,
        Target,
    };

    #[tokio::test]
    async fn a_port_without_a_part_behind_it_returns_unavailable() {
        let Ports { calls, reloads, master, streams, events, messages, nodes, sessions, channels } = Ports::none();
        let caller = || Caller {
            module: "m".into(),
            isolate: IsolateId::Worker(0),
            capabilities: Arc::default(),
            default_timeout: Duration::ZERO,
            max_payload: 0,
            max_subscriptions: 64,
            context: None,
        };
        let emission = Emission::default;
        let (route, payload, options) = (|| "m/a".to_owned(), || Payload::None, CallOptions::default);
        let address = Address::One(Target::Any);
        let (key, event, reach) = (|| "k".to_owned(), StreamEvent::default, StreamReach::Everywhere);
        let errors = [
            calls.emit(caller(), emission(), payload()).unwrap_err(),
            calls.emit_durable(caller(), emission(), payload()).await.unwrap_err(),
            calls.gather(caller(), emission(), payload(), None).await.unwrap_err(),
            calls.call(caller(), Target::Any, route(), payload(), options()).await.unwrap_err(),
            calls.call_every(caller(), Group::Workers, route(), payload(), options()).await.unwrap_err(),
            calls.notify(caller(), address, route(), payload(), options()).unwrap_err(),
            reloads.request(None).unwrap_err(),
            reloads.renew("m", IsolateId::Worker(0), 1).await.unwrap_err(),
            master.post(caller(), payload()).unwrap_err(),
            master.send(caller(), payload(), None).await.unwrap_err(),
            streams.publish(caller(), key(), event(), reach).unwrap_err(),
            streams.publish_all(caller(), event(), reach).unwrap_err(),
            streams.close(caller(), key(), reach).unwrap_err(),
            streams.close_all(caller(), reach).unwrap_err(),
            events.emit(caller(), None, payload()).unwrap_err(),
            events.subscribe(caller(), None, RouteName::within("m", "a").unwrap()).unwrap_err(),
            events.unsubscribe(caller(), key()).unwrap_err(),
            messages.publish(caller(), key(), key(), payload()).unwrap_err(),
            channels.publish(caller(), key(), payload(), true).err().unwrap(),
            channels.subscribe(caller(), key(), RouteName::within("m", "a").unwrap()).unwrap_err(),
            channels.unsubscribe(caller(), key()).unwrap_err(),
            channels.add(caller(), key(), key()).unwrap_err(),
            channels.kick_out(caller(), key(), key(), key()).unwrap_err(),
            channels.history(caller(), key(), None, 1).await.unwrap_err(),
            channels.members(caller(), key()).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, CallError::Unavailable(_)), "{error:?}");
        }
        assert_eq!((master.option(""), streams.count(None), sessions.count()), (None, 0, (0, 0)));
        assert_eq!(channels.count("c"), 0);
        assert_eq!((nodes.list(None), nodes.get("a")), (Vec::new(), None));
    }
}
