//! Converts what calls and guests learn about channels.

use std::sync::Arc;

use crate::bindings::fanfare::module::types as wit;
use crate::call::{ChannelAction, ChannelMember, ChannelMessage, ChannelPage, ChannelPosition, ChannelTrigger};

impl From<ChannelTrigger> for wit::ChannelEvent {
    fn from(event: ChannelTrigger) -> Self {
        let action = match event.action {
            ChannelAction::Subscribe => wit::ChannelAction::Subscribe,
            ChannelAction::Unsubscribe => wit::ChannelAction::Unsubscribe,
            ChannelAction::Publish => wit::ChannelAction::Publish,
            ChannelAction::Deliver => wit::ChannelAction::Deliver,
            ChannelAction::Join | ChannelAction::Leave => wit::ChannelAction::Other(event.action.as_str().to_owned()),
        };
        let session = event.session.map(|session| session.to_string());
        wit::ChannelEvent { channel: event.channel.to_string(), action, session }
    }
}

impl From<ChannelPosition> for wit::Position {
    fn from(position: ChannelPosition) -> Self {
        wit::Position { epoch: position.epoch_text(), offset: position.offset }
    }
}

impl From<ChannelPage> for wit::ChannelPage {
    fn from(page: ChannelPage) -> Self {
        let ChannelPage { epoch, messages, latest, complete } = page;
        let epoch = ChannelPosition { epoch, offset: 0 }.epoch_text();
        wit::ChannelPage { epoch, messages: messages.into_iter().map(Into::into).collect(), latest, complete }
    }
}

impl From<ChannelMessage> for wit::ChannelMessage {
    fn from(message: ChannelMessage) -> Self {
        let ChannelMessage { offset, at, session, payload } = message;
        let session = session.map(|session| session.to_string());
        wit::ChannelMessage { offset, at_ms: at, session, payload: payload.into(), extra: Vec::new() }
    }
}

impl From<ChannelMember> for wit::ChannelMember {
    fn from(member: ChannelMember) -> Self {
        let ChannelMember { session, uid, info } = member;
        let text = |text: Arc<str>| text.to_string();
        wit::ChannelMember { session: session.to_string(), uid: uid.map(text), info: info.map(text) }
    }
}
