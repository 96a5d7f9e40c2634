//! The subscriptions of the modules: how they reach the workers and the streams, and the methods
//! for embedders.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::RunningHost;
use crate::api::SubscriptionStatus;
use crate::call::text::{NAME, line};
use crate::call::{CallError, Payload, Reply, RouteName, StreamEvent};
use crate::dispatch::{Dispatch, SubscribedCall};
use crate::isolate::Slot;
use crate::registry::{ModuleState, RouteLookup};
use crate::triggers::sse::Publisher;
use crate::triggers::subscriptions::{
    InstalledSubscriptions, Key, Message, MessageCall, PlaceState, SubscriptionBackend,
};

/// The modules of a node, and its streams.
pub(super) struct Receivers {
    pub dispatch: Arc<Dispatch>,
    pub publisher: Arc<Publisher>,
}

impl SubscriptionBackend for Receivers {
    fn installed(&self) -> Vec<InstalledSubscriptions> {
        let mut installed = self.dispatch.roster().installed();
        installed.retain(|generation| !generation.manifest.subscriptions.is_empty());
        let subscriptions = installed.into_iter().map(|generation| InstalledSubscriptions {
            module: generation.module.clone(),
            subscriptions: generation.manifest.subscriptions.clone(),
        });
        subscriptions.collect()
    }

    fn keeps(&self, module: &str, route: &RouteName) -> bool {
        match self.dispatch.roster().state(module) {
            // Its startups may make subscriptions.
            Some(ModuleState::Loading) => true,
            Some(ModuleState::Installed(generation)) => {
                let router = generation.router(&generation.routes(0));
                matches!(router.find_inside(route.method.as_ref(), &route.path), RouteLookup::Route(_))
            }
            Some(ModuleState::Waiting | ModuleState::Refused(_)) | None => false,
        }
    }

    fn places(&self, key: &Key) -> Vec<PlaceState> {
        let slots = match key.isolate {
            None => self.dispatch.subscribed_slots(&key.module, &key.name),
            Some(id) => {
                let isolate = self.dispatch.places().all().find(|isolate| isolate.id == id);
                isolate.and_then(|isolate| isolate.slot(&key.module)).into_iter().collect()
            }
        };
        let state = |slot: Arc<Slot>| PlaceState {
            isolate: slot.isolate,
            ready: slot.is_ready(),
            failed: slot.failed().is_some(),
        };
        slots.into_iter().map(state).collect()
    }

    fn deliver(
        &self,
        module: &str,
        call: MessageCall,
    ) -> Result<BoxFuture<'static, Result<Reply, CallError>>, CallError> {
        let MessageCall { isolate, message, route, payload } = call;
        let call = self.dispatch.deliver_message(module, SubscribedCall { isolate, message, route, payload })?;
        Ok(call.boxed())
    }

    fn feed(&self, key: Option<&str>, event: StreamEvent) -> Result<u32, CallError> {
        match key {
            Some(key) => self.publisher.publish_as_operator(key, event),
            None => self.publisher.publish_all_as_operator(event),
        }
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
