//! `fanfare:module/channels`, `channels-await` and its blocking twin.

use wasmtime::component::{Access, FutureReader, HasSelf};

use super::{Started, blocking, own_route, started, waiting};
use crate::bindings::fanfare::module::types::{CallError, ChannelMember, ChannelPage, Payload, Position};
use crate::bindings::fanfare::module::{channels, channels_await, channels_blocking};
use crate::call::channel::MOST_OF_PAGE;
use crate::call::{self, ChannelPosition};
use crate::isolate::state::{Guest, State};
use crate::ports::ChannelCaller;

fn channel_caller(guest: &Guest, caller: Option<u64>) -> ChannelCaller {
    ChannelCaller::new(guest.caller(caller))
}

impl channels::Host for State {
    fn publish(&mut self, caller: Option<u64>, channel: String, payload: Payload) -> Result<(), CallError> {
        // The message continues without the future.
        self.guest.start_publish(caller, channel, payload, false).map(drop).map_err(Into::into)
    }

    fn subscribe(&mut self, caller: Option<u64>, channel: String, route: String) -> Result<String, CallError> {
        let guest = &self.guest;
        let caller = channel_caller(guest, caller);
        caller.may_use(&channel)?;
        let route = own_route(&guest.generation, &route)?;
        guest.ports.channels.subscribe(caller.into_caller(), channel, route).map_err(Into::into)
    }

    fn unsubscribe(&mut self, caller: Option<u64>, subscription: String) -> Result<(), CallError> {
        let guest = &self.guest;
        guest.ports.channels.unsubscribe(guest.caller(caller), subscription).map_err(Into::into)
    }

    fn add(&mut self, caller: Option<u64>, channel: String, session: String) -> Result<(), CallError> {
        let guest = &self.guest;
        let caller = channel_caller(guest, caller);
        caller.may_change(&channel, &session)?;
        guest.ports.channels.add(caller.into_caller(), channel, session).map_err(Into::into)
    }

    fn kick_out(
        &mut self,
        caller: Option<u64>,
        channel: String,
        session: String,
        message: String,
    ) -> Result<(), CallError> {
        let guest = &self.guest;
        let caller = channel_caller(guest, caller);
        caller.may_change(&channel, &session)?;
        caller.reason(&message)?;
        guest.ports.channels.kick_out(caller.into_caller(), channel, session, message).map_err(Into::into)
    }

    fn count(&mut self, channel: String) -> u32 {
        self.guest.ports.channels.count(&channel)
    }
}

/// The functions that wait, for both interfaces.
impl Guest {
    fn start_publish(
        &self,
        caller: Option<u64>,
        channel: String,
        payload: Payload,
        awaited: bool,
    ) -> Result<Started<Option<ChannelPosition>>, call::CallError> {
        let (caller, payload) = (channel_caller(self, caller), payload.into());
        caller.may_publish(&channel, &payload)?;
        self.ports.channels.publish(caller.into_caller(), channel, payload, awaited)
    }

    fn publish_to_channel(
        &self,
        caller: Option<u64>,
        channel: String,
        payload: Payload,
    ) -> Started<Option<ChannelPosition>> {
        started(self.start_publish(caller, channel, payload, true))
    }

    fn channel_history(
        &self,
        caller: Option<u64>,
        channel: String,
        after: Option<Position>,
        most: u32,
    ) -> Started<call::ChannelPage> {
        let caller = channel_caller(self, caller);
        let checked = caller.may_use(&channel);
        // A text that is no epoch belongs to none of this host, which is what the epoch 0 means.
        let after = after.map(|position| {
            let none = ChannelPosition { epoch: 0, offset: position.offset };
            ChannelPosition::of(&position.epoch, position.offset).unwrap_or(none)
        });
        let most = usize::try_from(most).unwrap_or(MOST_OF_PAGE).min(MOST_OF_PAGE);
        started(checked.map(|()| self.ports.channels.history(caller.into_caller(), channel, after, most)))
    }

    fn channel_members(&self, caller: Option<u64>, channel: String) -> Started<Vec<call::ChannelMember>> {
        let caller = channel_caller(self, caller);
        let checked = caller.may_use(&channel);
        started(checked.map(|()| self.ports.channels.members(caller.into_caller(), channel)))
    }
}

fn position(position: Option<ChannelPosition>) -> Option<Position> {
    position.map(Into::into)
}

fn all(members: Vec<call::ChannelMember>) -> Vec<ChannelMember> {
    members.into_iter().map(Into::into).collect()
}

impl channels_await::Host for State {}

impl channels_await::HostWithStore<State> for HasSelf<State> {
    fn publish(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        channel: String,
        payload: Payload,
    ) -> wasmtime::Result<FutureReader<Result<Option<Position>, CallError>>> {
        waiting(access, |guest| guest.publish_to_channel(caller, channel, payload), position)
    }

    fn history(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        channel: String,
        after: Option<Position>,
        most: u32,
    ) -> wasmtime::Result<FutureReader<Result<ChannelPage, CallError>>> {
        waiting(access, |guest| guest.channel_history(caller, channel, after, most), ChannelPage::from)
    }

    fn members(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        channel: String,
    ) -> wasmtime::Result<FutureReader<Result<Vec<ChannelMember>, CallError>>> {
        waiting(access, |guest| guest.channel_members(caller, channel), all)
    }
}

impl channels_blocking::Host for State {
    async fn publish(
        &mut self,
        caller: Option<u64>,
        channel: String,
        payload: Payload,
    ) -> Result<Option<Position>, CallError> {
        blocking(&self.guest, caller, |guest| guest.publish_to_channel(caller, channel, payload)).await.map(position)
    }

    async fn history(
        &mut self,
        caller: Option<u64>,
        channel: String,
        after: Option<Position>,
        most: u32,
    ) -> Result<ChannelPage, CallError> {
        let page = blocking(&self.guest, caller, |guest| guest.channel_history(caller, channel, after, most));
        page.await.map(Into::into)
    }

    async fn members(&mut self, caller: Option<u64>, channel: String) -> Result<Vec<ChannelMember>, CallError> {
        blocking(&self.guest, caller, |guest| guest.channel_members(caller, channel)).await.map(all)
    }
}
