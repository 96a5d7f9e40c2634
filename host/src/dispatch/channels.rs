//! Calls of the routes of channels, and the brokers where they run.
//!
//! The home of a channel is the broker with the highest hash of the name and its index (rendezvous
//! hashing), so that another number of brokers moves few channels. If the module has failed there,
//! the broker with the next hash is the home.

use std::cmp::Reverse;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::assigned::declared_route;
use super::rendezvous::weight;
use super::{CallSpec, Dispatch};
use crate::call::text::{NAME, line};
use crate::call::{
    CallError, CallResult, ChannelAction, ChannelActions, ChannelCall, ChannelRule, ChannelSettings, Deadline,
    DeclaredChannel, IsolateId, Trigger, TriggerKind, channel,
};
use crate::isolate::Slot;
use crate::registry::{KeyOwner, ModuleState};

impl Dispatch {
    /// Returns what applies to a channel. A channel that announces the members of another one has
    /// the rule of that one.
    pub fn channel_rule(&self, name: &str) -> ChannelRule {
        let announced = channel::announced(name);
        let declared = announced.unwrap_or(name);
        if channel::announced(declared).is_some() {
            // Such a channel has no presence, so that nothing is ever announced about its members.
            return ChannelRule::Undeclared;
        }
        let DeclaredChannel { module, settings, on } = match self.declared_channel(declared) {
            Ok(Some(declared)) => declared,
            Ok(None) => return ChannelRule::Undeclared,
            Err(error) => return ChannelRule::Unavailable(error),
        };
        let (settings, on) = match announced {
            None => (settings, on),
            // The host alone publishes there, and only who may subscribe is the module's decision.
            Some(_) => {
                let asks = on.has(ChannelAction::Subscribe);
                let settings = ChannelSettings { envelope: settings.envelope, ..ChannelSettings::default() };
                (settings, asks.then_some(ChannelAction::Subscribe).into_iter().collect::<ChannelActions>())
            }
        };
        match on.is_empty() {
            false => ChannelRule::Routed { module, settings, on },
            true => ChannelRule::Open(settings),
        }
    }

    /// What a module declares about a channel: one of this node, or else of another one.
    fn declared_channel(&self, name: &str) -> Result<Option<DeclaredChannel>, CallError> {
        let module = match self.roster.owner_of_channel(name) {
            KeyOwner::Nobody => return self.peers.declared(name).transpose(),
            KeyOwner::Installed(module) => module,
            // The module may want to decide about the channel, so it must not be open meanwhile.
            KeyOwner::Claimed(module) => return Err(not_yet(&module)),
            KeyOwner::Absent(module) => return Err(self.missing(&module)),
        };
        let Some(ModuleState::Installed(generation)) = self.roster.state(&module) else {
            return Err(self.missing(&module));
        };
        let (_, channel) = generation.manifest.channels.find(name).ok_or_else(|| not_yet(&module))?;
        // Without a route, nothing is asked.
        let on = channel.route.map(|_| channel.on).unwrap_or_default();
        Ok(Some(DeclaredChannel { module, settings: channel.settings, on }))
    }

    /// Queues a call of a channel's route in the home of the channel before it returns. Returns the
    /// runtime of the home, and a future that resolves with the outcome.
    pub fn call_channel(
        &self,
        call: ChannelCall,
    ) -> Result<(Handle, impl Future<Output = CallResult> + Send + use<>), CallError> {
        let ChannelCall { module, trigger, origin, parent, awaited, remote, payload, timeout } = call;
        let slot = self.home_slot(&module, &trigger.channel)?;
        let refused = |error: &CallError| slot.refused(TriggerKind::Channel, error, None);
        let waits = parent.as_ref().filter(|_| awaited);
        if let Some(error) = Self::deadlock(&slot, waits) {
            refused(&error);
            return Err(error);
        }
        let deployment = slot.deployment();
        let Some((_, channel)) = deployment.generation.manifest.channels.find(&trigger.channel) else {
            // A swap is about to install the generation that declares the channel.
            return Err(not_yet(&module)).inspect_err(refused);
        };
        let what = format!("route of the channel `{}`", line(&trigger.channel, NAME));
        let matched = declared_route(&slot, &deployment, channel.route, TriggerKind::Channel, &what);
        let matched = matched.inspect_err(refused)?;
        let until = self.call_deadline(&slot, waits, timeout, deployment.generation.limits.timeout);
        drop(deployment);
        let session = trigger.session.clone().map(Into::into);
        let spec = CallSpec {
            origin,
            parent,
            awaited,
            remote,
            session,
            ..CallSpec::of_host(Trigger::Channel(trigger), Deadline::At(until), payload)
        };
        let pending = self.send_to(&slot, matched, spec)?;
        let runtime = self.isolate(slot.isolate)?.runtime().clone();
        Ok((runtime, pending.outcome_in(slot)))
    }

    /// Whether the routes of a module can run in brokers of this node.
    pub fn has_module(&self, module: &str) -> bool {
        self.places.brokers.iter().any(|isolate| isolate.slot(module).is_some())
    }

    /// The isolate where the routes of a channel run: its home for a module.
    pub(super) fn home(&self, module: &str, name: &str) -> Result<IsolateId, CallError> {
        self.home_slot(module, name).map(|slot| slot.isolate)
    }

    /// The slot of a module in the home of a channel. If it has failed in all brokers, the error is
    /// that of the first one.
    fn home_slot(&self, module: &str, name: &str) -> Result<Arc<Slot>, CallError> {
        let name = channel::announced(name).unwrap_or(name);
        if !channel::is_channel(name) {
            let shown = line(name, NAME);
            return Err(CallError::Invalid(format!(
                "`{shown}` is no channel: its name has 1 to 256 bytes and no control characters"
            )));
        }
        let count = u32::try_from(self.places.brokers.len()).unwrap_or(u32::MAX);
        let mut failure = None;
        for index in homes(name, count) {
            let slot = self.slot_in(module, IsolateId::Broker(index))?;
            match slot.failed() {
                None => return Ok(slot),
                Some(error) => _ = failure.get_or_insert(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            CallError::NotFound("this node has no brokers, where the routes of channels run: set brokers".to_owned())
        }))
    }
}

fn not_yet(module: &str) -> CallError {
    CallError::Unavailable(format!("{module} has not installed the generation that declares this channel: try again"))
}

/// The indexes of brokers, from the one that is the home of a channel first.
fn homes(name: &str, count: u32) -> Vec<u32> {
    let mut indexes: Vec<u32> = (0..count).collect();
    indexes.sort_by_cached_key(|index| Reverse(weight(name.bytes().chain(index.to_le_bytes()))));
    indexes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(name: &str, count: u32) -> Option<u32> {
        homes(name, count).first().copied()
    }

    #[test]
    fn channels_are_spread_evenly_and_one_more_broker_moves_only_its_share() {
        let names: Vec<String> = (0..10_000).map(|number| format!("room/{number}")).collect();
        let mut counts = [0; 4];
        let mut moved = 0;
        for name in &names {
            let (before, after) = (home(name, 3).unwrap(), home(name, 4).unwrap());
            counts[after as usize] += 1;
            if before != after {
                assert_eq!(after, 3, "{name} moves to another of the old brokers");
                moved += 1;
            }
        }
        assert!(counts.iter().all(|count| (2_300..2_700).contains(count)), "{counts:?}");
        assert_eq!(moved, counts[3]);
    }

    #[test]
    fn every_broker_is_a_home_in_turn() {
        assert_eq!(home("room", 0), None);
        assert_eq!(homes("room", 1), [0]);
        let mut all = homes("room/1", 5);
        assert_eq!(all, homes("room/1", 5));
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
    }
}
