//! Channels and their members.

use fanfare_sdk::wit::types::Position;
use fanfare_sdk::wit::{channels, channels_await};

use super::{Act, none, session};
use crate::steps::Run;

impl Run<'_> {
    pub(super) async fn channels(&mut self, act: &Act) {
        let call = self.caller;
        match act {
            Act::ChannelPublish { channel, payload } => {
                let sent = channels::publish(call, &channel.text(), &self.payload(payload));
                self.count("channelPublish", sent.map(none));
            }
            Act::ChannelWait { channel, payload, how } => {
                let sent = channels_await::publish(call, &channel.text(), &self.payload(payload));
                self.future("channelWait", *how, sent, none).await;
            }
            Act::ChannelSubscribe { channel, route } => {
                let name = channels::subscribe(call, &channel.text(), &route.text());
                self.count("channelSubscribe", name.map(Into::into));
            }
            Act::ChannelUnsubscribe { subscription } => {
                self.count("channelUnsubscribe", channels::unsubscribe(call, &subscription.text()).map(none));
            }
            Act::ChannelAdd { channel, session: id } => {
                self.count("channelAdd", channels::add(call, &channel.text(), &session(id.as_ref())).map(none));
            }
            Act::ChannelKick { channel, session: id, message } => {
                let kicked = channels::kick_out(call, &channel.text(), &session(id.as_ref()), &message.text());
                self.count("channelKick", kicked.map(none));
            }
            Act::ChannelCount { channel } => self.count("channelCount", Ok(channels::count(&channel.text()).into())),
            Act::History { channel, after, most, how } => {
                let after = after.as_ref().map(|(epoch, offset)| Position { epoch: epoch.text(), offset: *offset });
                let page = channels_await::history(call, &channel.text(), after.as_ref(), *most);
                self.future("history", *how, page, |page| page.messages.len().into()).await;
            }
            Act::Members { channel, how } => {
                let members = channels_await::members(call, &channel.text());
                self.future("members", *how, members, |members| members.len().into()).await;
            }
            other => self.clients(other).await,
        }
    }
}
