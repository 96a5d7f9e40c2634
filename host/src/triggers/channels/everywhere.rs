//! Messages that reach the subscribers of all nodes.

use std::sync::Arc;

use super::routed::Rule;
use super::service::{ChannelService, Refusal};
use crate::call::{CallError, ChannelMessage, ChannelPlace, ChannelPosition, ChannelSettings, Payload, Post};
use crate::hub::Published;
use crate::ports::Acted;

impl ChannelService {
    /// Publishes a message that is allowed on all nodes. `has_home` is whether this node is the
    /// home of the channel, and gives the place.
    pub(super) fn publish_everywhere(
        &self,
        name: &str,
        message: Published<'_>,
        has_home: bool,
    ) -> Result<Option<ChannelPosition>, CallError> {
        let refused = |error| CallError::from(Refusal::Hub(error));
        if self.topics.is_alone() {
            return self.hub.channels.publish(name, message).map_err(refused);
        }
        let is_kept = message.settings.count > 0;
        let post = Post::channel(name, message.session.as_deref(), message.payload.clone());
        let (mut message, mut published) = (Some(message), Ok(None));
        self.topics.prepare(vec![post])?.send(&mut || {
            // It is called once.
            let Some(message) = message.take() else { return Acted::Failed };
            if !has_home {
                published = self.hub.channels.publish(name, message);
                return Acted::Done;
            }
            let placed = self.hub.channels.publish_at_home(name, message);
            let acted = placed.as_ref().map_or(Acted::Failed, |place| Acted::Placed(*place));
            published = placed.map(|place| is_kept.then_some(place.position));
            acted
        });
        published.map_err(refused)
    }

    /// Publishes a message that another node has allowed. `place` is the one that it has there, if
    /// the channel has a home.
    pub fn receive(
        &self,
        from: &str,
        channel: &Arc<str>,
        place: Option<ChannelPlace>,
        (session, payload): (Option<Arc<str>>, Payload),
    ) {
        let Ok(Some(rule)) = Rule::new(channel, self.backend.rule(channel))
            .map(|rule| rule.or_else(|| Some(Rule::open(channel, ChannelSettings::default()))))
        else {
            return;
        };
        match place {
            None if !rule.has_home() && !rule.is_of_each_node() => {
                let message = Published { payload, session, settings: &rule.settings };
                // Without a history, nothing refuses it.
                _ = self.hub.channels.publish(channel, message);
            }
            // What a node places that is not the home, or not yet, comes from its history later.
            Some(ChannelPlace { position, at }) => match self.elsewhere(channel, &rule) {
                Ok(Some(home)) if *home == *from => {
                    let message = ChannelMessage { offset: position.offset, at, session, payload };
                    if self.hub.channels.receive(channel, &home, position.epoch, message, &rule.settings) {
                        self.mend_soon(channel);
                    }
                }
                Ok(_) | Err(_) => {}
            },
            None => {}
        }
    }
}
