//! The functions of `channels` for guests of the in-memory host.

use serde_json::json;

use super::channel_entry::{ChannelEntry, announced, check_name};
use super::channels::{EPOCH, Placed, RunTime};
use super::dispatch::worker;
use super::lines::Step;
use super::node::Node;
use super::promise::Promise;
use super::routes::RouteRequest;
use crate::channels::{ChannelMember, ChannelPage, Position};
use crate::failure::CallError;
use crate::types::{GuestOrigin, Origin, Payload};

/// The most messages of a page, as in the real host.
const MOST: u32 = 1_000;

impl Node {
    /// Publishes as a guest in this worker.
    pub fn publish_from(&self, index: u32, channel: &str, payload: &Payload) -> Result<Promise<Placed>, CallError> {
        let isolate = worker(index as usize);
        let origin = Origin::Guest(GuestOrigin { module: self.name.clone(), isolate, node: None });
        self.offer(channel, Step::Publish { session: None, payload: payload.clone() }, origin)
    }

    pub fn subscribe_to_channel(&self, worker: u32, channel: &str, route: &str) -> Result<String, CallError> {
        check_name(channel)?;
        self.manifest.find(&RouteRequest::parse(route))?;
        let mut state = self.state();
        let channels = &mut state.channels;
        let same = |made: &&RunTime| (&*made.channel, &*made.route, made.worker) == (channel, route, worker);
        if let Some(made) = channels.subscriptions.iter().find(same) {
            return Ok(made.name.clone());
        }
        channels.made += 1;
        let name = format!("channel-{}", channels.made);
        let (channel, route) = (channel.to_owned(), route.to_owned());
        channels.subscriptions.push(RunTime { name: name.clone(), channel, route, worker });
        Ok(name)
    }

    pub fn unsubscribe_from_channel(&self, worker: u32, name: &str) -> Result<(), CallError> {
        let mut state = self.state();
        let subscriptions = &mut state.channels.subscriptions;
        match subscriptions.iter().position(|made| made.name == name && made.worker == worker) {
            Some(at) => drop(subscriptions.remove(at)),
            None => return Err(CallError::NotFound(format!("there is no subscription `{name}` in this worker"))),
        }
        Ok(())
    }

    pub fn add_to_channel(&self, channel: &str, session: &str) -> Result<(), CallError> {
        check_name(channel)?;
        let _order = self.lines();
        self.join_channel(channel, session, None)
    }

    pub fn kick_out(&self, channel: &str, session: &str, message: &str) -> Result<(), CallError> {
        check_name(channel)?;
        let _order = self.lines();
        self.state().client(None, Some(session))?;
        if self.leave_channel(channel, session) {
            let mut state = self.state();
            let client = state.client(None, Some(session))?;
            if client.socket.is_none() {
                let packet = json!({ "message": message, "channel": channel });
                client.receive("#kickOut", Payload::Text(packet.to_string()));
            }
        }
        Ok(())
    }

    pub fn count_members(&self, channel: &str) -> u32 {
        u32::try_from(self.state().members_of(channel).len()).unwrap_or(u32::MAX)
    }

    pub fn channel_history(
        &self,
        channel: &str,
        after: Option<&Position>,
        most: u32,
    ) -> Result<ChannelPage, CallError> {
        check_name(channel)?;
        let kept = self.manifest.channel(channel).map_or(0, ChannelEntry::kept);
        let kept = if announced(channel).is_some() { 0 } else { kept };
        let state = self.state();
        let messages = state.channels.channels.get(channel).map_or(&[][..], |channel| &*channel.messages);
        let latest = messages.len() as u64;
        let kept = &messages[messages.len().saturating_sub(kept)..];
        let most = most.min(MOST) as usize;
        let (messages, complete) = match after {
            None => (&kept[kept.len().saturating_sub(most)..], false),
            Some(after) => {
                let same = after.epoch == EPOCH;
                let from = kept.iter().position(|message| !same || message.offset > after.offset);
                let rest = &kept[from.unwrap_or(kept.len())..];
                let next = rest.first().map_or(latest + 1, |message| message.offset);
                (&rest[..rest.len().min(most)], same && next <= after.offset + 1)
            }
        };
        let complete = complete || after.is_none() && messages.first().is_none_or(|first| first.offset == 1);
        Ok(ChannelPage { epoch: EPOCH.to_owned(), messages: messages.to_vec(), latest, complete })
    }

    pub fn listed_members(&self, channel: &str) -> Result<Vec<ChannelMember>, CallError> {
        check_name(channel)?;
        if self.manifest.channel(channel).is_some_and(|entry| entry.presence) && announced(channel).is_none() {
            return Ok(self.state().members_of(channel));
        }
        Err(CallError::Invalid(format!("{channel} has no presence: set `presence` of its entry in `channels`")))
    }
}
