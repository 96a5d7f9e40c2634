//! What subscriptions need of the rest of the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::call::{CallEnd, CallError, IsolateId, MessageCall, RouteName, StreamEvent, StreamReach};
use crate::registry::DeclaredSubscription;

/// The modules of a node.
pub trait SubscriptionBackend: Send + Sync + 'static {
    /// The subscriptions of the installed modules.
    fn installed(&self) -> Vec<InstalledSubscriptions>;

    /// Where the route of a guest's subscription is.
    fn route(&self, key: &Key, route: &RouteName) -> RouteState;

    /// The isolates that may receive messages of the subscription, in their order.
    fn places(&self, key: &Key) -> Vec<PlaceState>;

    /// Queues a message, and returns a future that resolves when the isolate is done with it. An
    /// error means that the message was not queued.
    fn deliver(&self, module: &str, call: MessageCall) -> Result<BoxFuture<'static, CallEnd>, CallError>;

    /// Publishes an event to the live streams of a key, or of all keys.
    fn feed(&self, key: Option<&str>, event: StreamEvent, reach: StreamReach) -> Result<u32, CallError>;
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

/// Where the route of a guest's subscription is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteState {
    /// A generation that serves has it.
    Serves,
    /// The generation with this digest serves, and does not have it.
    Missing(String),
    /// The module is not installed in the isolate.
    Absent,
}
