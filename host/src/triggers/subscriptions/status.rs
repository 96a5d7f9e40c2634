//! The status of a subscription.

use super::subscription::{Receiver, Subscription};
use crate::api::SubscriptionStatus;
use crate::registry::{NatsSource, Source};

impl Subscription {
    pub fn status(&self) -> SubscriptionStatus {
        let (plan, counts, (waiting, bytes)) = (self.plan(), self.counts(), self.waiting());
        let (source, topic) = self.source.described();
        let handled = !matches!(plan.receiver, Receiver::Feed(_));
        SubscriptionStatus {
            module: self.key.module.to_string(),
            name: self.key.name.to_string(),
            isolate: self.key.isolate.map(|isolate| isolate.to_string()),
            source: source.to_owned(),
            topic: topic.to_string(),
            group: self.source.group().map(|group| group.to_string()),
            stream: match &self.source {
                Source::Nats(NatsSource { stream, .. }) => stream.as_deref().map(str::to_owned),
                Source::Redis(_) | Source::Event(_) | Source::Channel(_) => None,
            },
            connection: match &self.source {
                Source::Redis(redis) => Some(redis.connection.to_string()),
                Source::Event(_) | Source::Channel(_) | Source::Nats(_) => None,
            },
            refusal: self.refusal(),
            deliver: handled.then(|| plan.settings.deliver.as_str().to_owned()),
            overflow: handled.then(|| plan.settings.overflow.as_str().to_owned()),
            waiting: waiting as u64,
            waiting_bytes: bytes,
            delivered: counts.delivered(),
            failed: counts.failed(),
            dropped: counts.dropped,
            gaps: counts.gaps,
            missed: counts.missed,
            failure: counts.failure,
        }
    }
}
