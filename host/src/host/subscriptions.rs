//! The subscriptions of the modules: how they reach the workers and the streams, and the methods
//! for embedders.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::RunningHost;
use crate::api::SubscriptionStatus;
use crate::call::text::{NAME, line};
use crate::call::{CallEnd, CallError, MessageCall, Payload, RouteName, StreamEvent, StreamReach};
use crate::dispatch::Dispatch;
use crate::isolate::Slot;
use crate::registry::ModuleState;
use crate::triggers::sse::Publisher;
use crate::triggers::subscriptions::{
    InstalledSubscriptions, Key, Message, PlaceState, RouteState, SubscriptionBackend,
};

/// The modules of a node, and its streams.
pub(super) struct Receivers {
    pub dispatch: Arc<Dispatch>,
    pub publisher: Arc<Publisher>,
    /// The subscriptions of other environments do not exist.
    pub environment: String,
}

impl Receivers {
    /// The slot of the guest that made a subscription at run time.
    fn guest_slot(&self, key: &Key) -> Option<Arc<Slot>> {
        let isolate = self.dispatch.places().all().find(|isolate| Some(isolate.id) == key.isolate)?;
        isolate.slot(&key.module)
    }
}

impl SubscriptionBackend for Receivers {
    fn installed(&self) -> Vec<InstalledSubscriptions> {
        let installed = self.dispatch.roster().installed().into_iter().map(|generation| {
            let mut subscriptions = generation.manifest.subscriptions.clone();
            subscriptions.retain(|_, one| one.is_in(&self.environment));
            InstalledSubscriptions { module: generation.module.clone(), subscriptions }
        });
        installed.filter(|module| !module.subscriptions.is_empty()).collect()
    }

    fn route(&self, key: &Key, route: &RouteName) -> RouteState {
        let Some(ModuleState::Installed(installed)) = self.dispatch.roster().state(&key.module) else {
            return RouteState::Absent;
        };
        // During a canary, the isolate may run another generation.
        let slot = self.guest_slot(key);
        let Some(slot) = slot.filter(|slot| !slot.is_stopping()) else { return RouteState::Absent };
        match installed.has_route(route) || slot.deployment().generation.has_route(route) {
            true => RouteState::Serves,
            false => RouteState::Missing(installed.digest.clone()),
        }
    }

    fn places(&self, key: &Key) -> Vec<PlaceState> {
        let slots = match key.isolate {
            None => self.dispatch.subscribed_slots(&key.module, &key.name),
            Some(_) => self.guest_slot(key).into_iter().collect(),
        };
        let state = |slot: Arc<Slot>| PlaceState {
            isolate: slot.isolate,
            ready: slot.is_ready(),
            failed: slot.failed().is_some(),
        };
        slots.into_iter().map(state).collect()
    }

    fn deliver(&self, module: &str, call: MessageCall) -> Result<BoxFuture<'static, CallEnd>, CallError> {
        Ok(self.dispatch.deliver_message(module, call)?.boxed())
    }

    fn feed(&self, key: Option<&str>, event: StreamEvent, reach: StreamReach) -> Result<u32, CallError> {
        self.publisher.publish_as_operator(key, event, reach)
    }
}

impl RunningHost {
    /// Delivers a message to a subscription as its source does, and waits until its handler has
    /// ended: in each worker with `"deliver": "all"`. For `fanfare test`.
    #[doc(hidden)]
    pub async fn deliver(
        &self,
        module: &str,
        name: &str,
        topic: &str,
        id: Option<&str>,
        payload: Payload,
    ) -> Result<(), CallError> {
        let all = self.subscriptions.all();
        let Some((_, one)) = all.into_iter().find(|(key, _)| (&*key.module, &*key.name) == (module, name)) else {
            let name = line(name, NAME);
            return Err(CallError::NotFound(format!("the module `{module}` has no subscription `{name}`")));
        };
        one.run(Message { topic: topic.into(), id: id.map(Arc::from), payload }).await
    }

    /// Returns the subscriptions of all modules, as `fanfare subscriptions` shows them.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// for subscription in host.subscriptions() {
    ///     println!("{}:{} has {} messages waiting", subscription.module, subscription.name, subscription.waiting);
    /// }
    /// # }
    /// ```
    pub fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        self.subscriptions.status()
    }
}
