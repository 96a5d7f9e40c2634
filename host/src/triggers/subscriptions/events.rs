//! The source `event`: reads the event log of the node.
//!
//! Each subscription has a reader of its own. So a subscription that waits for its handler
//! (`"overflow": "wait"`) holds up no other one.
//!
//! A swap that changes the settings neither skips nor repeats an event. Readers take their entries
//! from the log, so they use no memory for what they have not read; an event costs one comparison
//! for each subscription.

use std::sync::Arc;

use super::message::Message;
use super::subscription::Subscription;
use crate::call::{Payload, event_type};
use crate::hub::{LogItem, LogReader, Logged};
use crate::registry::Overflow;

/// The events that a reader takes before other tasks run.
const TURN: usize = 64;

/// Brings the events whose types match the pattern to a subscription, until it ends.
pub(super) async fn read(subscription: Arc<Subscription>, pattern: Arc<str>, mut reader: LogReader) {
    let mut taken = 0;
    loop {
        let item = tokio::select! {
            () = subscription.ended() => return,
            item = reader.next() => item,
        };
        taken += 1;
        match item {
            LogItem::Missed(count) => subscription.missed(count),
            LogItem::Event(logged) => match subscription.overflow() {
                Overflow::DropOldest => {
                    // All that exist at once, because a guest may emit faster than single events
                    // could be read, and the log would drop those of others.
                    let more = reader.take(TURN);
                    taken += more.len();
                    for logged in std::iter::once(&logged).chain(&more) {
                        if logged.is_gap() {
                            subscription.missed(None);
                        } else if covers(&pattern, logged) {
                            subscription.offer(message(logged));
                        }
                    }
                }
                Overflow::Wait if covers(&pattern, &logged) => tokio::select! {
                    () = subscription.ended() => return,
                    // It fails only when the subscription has ended.
                    _ = subscription.send(message(&logged)) => {}
                },
                Overflow::Wait => {}
            },
        }
        if taken >= TURN {
            taken = 0;
            tokio::task::yield_now().await;
        }
    }
}

fn covers(pattern: &str, logged: &Logged) -> bool {
    event_type::covers(pattern, &logged.event.kind)
}

fn message(logged: &Logged) -> Message {
    let Logged { event, position, .. } = logged;
    Message {
        topic: event.kind.clone(),
        id: Some(position.to_string().into()),
        payload: Payload::Text(event.value.to_string()),
    }
}
