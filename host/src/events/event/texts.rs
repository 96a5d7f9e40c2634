//! The names of the events, and the bounds of their texts.

use super::HostEvent;
use crate::call::text::{MESSAGE, NAME, REPORT, line, lines};

impl HostEvent {
    /// The value of `type` in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            HostEvent::HostReady { .. } => "hostReady",
            HostEvent::Fail { .. } => "fail",
            HostEvent::Warning { .. } => "warning",
            HostEvent::Info { .. } => "info",
            HostEvent::WorkerStart { .. } => "workerStart",
            HostEvent::WorkerExit { .. } => "workerExit",
            HostEvent::BrokerStart { .. } => "brokerStart",
            HostEvent::BrokerExit { .. } => "brokerExit",
            HostEvent::WorkerClusterStart { .. } => "workerClusterStart",
            HostEvent::WorkerClusterReady { .. } => "workerClusterReady",
            HostEvent::WorkerClusterExit { .. } => "workerClusterExit",
            HostEvent::WorkerMessage { .. } => "workerMessage",
            HostEvent::BrokerMessage { .. } => "brokerMessage",
            HostEvent::ModuleLoaded { .. } => "moduleLoaded",
            HostEvent::ModuleRemoved { .. } => "moduleRemoved",
            HostEvent::SwapStarted { .. } => "swapStarted",
            HostEvent::SwapCommitted { .. } => "swapCommitted",
            HostEvent::SwapRejected { .. } => "swapRejected",
            HostEvent::SwapRolledBack { .. } => "swapRolledBack",
            HostEvent::CanaryStarted { .. } => "canaryStarted",
            HostEvent::CanaryEnded { .. } => "canaryEnded",
            HostEvent::ScheduleRun { .. } => "scheduleRun",
            HostEvent::ScheduleGivenUp { .. } => "scheduleGivenUp",
            HostEvent::SubscriptionOverflow { .. } => "subscriptionOverflow",
            HostEvent::SubscriptionSkipped { .. } => "subscriptionSkipped",
            HostEvent::SubscriptionGap { .. } => "subscriptionGap",
            HostEvent::RedisUp { .. } => "redisUp",
            HostEvent::RedisDown { .. } => "redisDown",
            HostEvent::RedisMessageFailed { .. } => "redisMessageFailed",
            HostEvent::InstanceRestarted { .. } => "instanceRestarted",
            HostEvent::ModuleFailed { .. } => "moduleFailed",
            HostEvent::ClientSlow { .. } => "clientSlow",
            HostEvent::EventsUp { .. } => "eventsUp",
            HostEvent::EventsDown { .. } => "eventsDown",
            HostEvent::NatsUp { .. } => "natsUp",
            HostEvent::NatsDown { .. } => "natsDown",
            HostEvent::NatsMessageFailed { .. } => "natsMessageFailed",
            HostEvent::BroadcastParked { .. } => "broadcastParked",
            HostEvent::BroadcastsDropped { .. } => "broadcastsDropped",
            HostEvent::NodeUp { .. } => "nodeUp",
            HostEvent::NodeDown { .. } => "nodeDown",
            HostEvent::ClusterReady { .. } => "clusterReady",
            HostEvent::EventsGap { .. } => "eventsGap",
        }
    }

    /// Cuts and escapes the texts, which guests may have written.
    pub(in crate::events) fn bounded(mut self) -> HostEvent {
        match &mut self {
            HostEvent::SwapRejected { reason, .. } => *reason = lines(reason, REPORT),
            HostEvent::Fail { message, .. } | HostEvent::Warning { message, .. } | HostEvent::Info { message } => {
                *message = line(message, MESSAGE);
            }
            HostEvent::ClientSlow { key, .. } => *key = line(key, NAME),
            HostEvent::SwapRolledBack { reason, .. }
            | HostEvent::ScheduleGivenUp { reason, .. }
            | HostEvent::EventsDown { reason, .. }
            | HostEvent::NatsDown { reason }
            | HostEvent::NodeDown { reason, .. }
            | HostEvent::EventsGap { reason, .. }
            | HostEvent::InstanceRestarted { reason, .. }
            | HostEvent::ModuleFailed { reason, .. } => *reason = line(reason, MESSAGE),
            HostEvent::ScheduleRun { message: Some(message), .. } => *message = line(message, MESSAGE),
            _ => {}
        }
        self
    }
}
