//! What subscriptions need of the rest of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::call::{CallError, IsolateId, Payload, Reply, RouteName, StreamEvent, SubscriptionCall};
use crate::registry::DeclaredSubscription;

/// The modules of a node.
pub trait SubscriptionBackend: Send + Sync + 'static {
    /// The subscriptions of the installed modules.
    fn installed(&self) -> Vec<InstalledSubscriptions>;

    /// Whether a guest's subscription may stay: its module is installed and has the route, or is
    /// still being loaded.
    fn keeps(&self, module: &str, route: &RouteName) -> bool;

    /// The isolates that may receive messages of the subscription, in their order.
    fn places(&self, key: &Key) -> Vec<PlaceState>;

    /// Queues a message, and returns a future that resolves when its handler has ended. An error
    /// means that the message was not queued.
    fn deliver(
        &self,
        module: &str,
        call: MessageCall,
    ) -> Result<BoxFuture<'static, Result<Reply, CallError>>, CallError>;

    /// Publishes an event to the live streams of a key, or of all keys.
    fn feed(&self, key: Option<&str>, event: StreamEvent) -> Result<u32, CallError>;
}

/// The subscriptions of an installed module.
#[derive(Debug, Clone)]
pub struct InstalledSubscriptions {
    pub module: Arc<str>,
    pub subscriptions: BTreeMap<String, DeclaredSubscription>,
}

/// Identifies a subscription.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub module: Arc<str>,
    /// The isolate of the guest that made it. `None` for a subscription of the manifest.
    pub isolate: Option<IsolateId>,
    pub name: Arc<str>,
}

/// An isolate that may receive messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceState {
    pub isolate: IsolateId,
    /// Whether an instance serves.
    pub ready: bool,
    /// Whether no instance will serve until a reload.
    pub failed: bool,
}

/// A message for a handler in one isolate.
#[derive(Debug, Clone)]
pub struct MessageCall {
    pub isolate: IsolateId,
    pub message: SubscriptionCall,
    /// The route, if a guest has named it.
    pub route: Option<RouteName>,
    pub payload: Payload,
}
