//! Receives the messages of a subject that no stream keeps: each at most once, and only while the
//! host is connected. The subscription is told of each interruption.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;

use super::shared::Shared;
use crate::ports::NatsConnection;
use crate::registry::NatsSource;
use crate::triggers::subscriptions::{Message, Subscription, payload_of};

/// The number of the last message, for its id.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Receives until the subscription ends.
pub async fn run(shared: &Shared, connection: &dyn NatsConnection, one: &Subscription, source: &NatsSource) {
    let Some(client) = connection.lasting_client() else { return };
    let mut troubles = connection.troubles();
    let mut interruptions = troubles.borrow_and_update().interruptions;
    let mut messages = match subscribe(&client, source).await {
        Ok(messages) => messages,
        Err(reason) => return one.set_refusal(Some(reason)),
    };
    loop {
        tokio::select! {
            () = one.ended() => break,
            changed = troubles.changed() => {
                if changed.is_err() {
                    break;
                }
                let now = troubles.borrow_and_update().clone();
                if now.interruptions != interruptions {
                    interruptions = now.interruptions;
                    one.missed(None);
                }
                one.set_refusal(now.refused.get(&*source.subject).cloned());
            }
            message = messages.next() => {
                // The client has ended.
                let Some(message) = message else { break };
                offer(shared, one, &message);
            }
        }
    }
    // The only error is that the client has ended.
    _ = messages.unsubscribe().await;
}

/// The client subscribes again after an interruption.
async fn subscribe(client: &Client, source: &NatsSource) -> Result<Subscriber, String> {
    let subject = source.subject.to_string();
    let subscribed = match &source.group {
        Some(group) => client.queue_subscribe(subject, group.to_string()).await,
        None => client.subscribe(subject).await,
    };
    subscribed.map_err(|error| error.to_string())
}

fn offer(shared: &Shared, one: &Subscription, message: &async_nats::Message) {
    if message.payload.len() as u64 > shared.settings.max_payload {
        shared.counts.oversized.inc();
        return one.missed(Some(1));
    }
    shared.counts.received.inc();
    let number = LAST.fetch_add(1, Relaxed) + 1;
    one.offer(Message {
        topic: Arc::from(message.subject.as_str()),
        id: Some(format!("nats-{:x}-{number}", shared.events.epoch).into()),
        payload: payload_of(&message.payload),
    });
}
