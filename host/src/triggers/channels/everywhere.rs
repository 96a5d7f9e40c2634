//! Messages that reach the subscribers of all nodes.

use std::sync::Arc;

use super::after::After;
use super::routed::Rule;
use super::service::{ChannelService, Refusal};
use crate::call::{CallError, ChannelMessage, ChannelPlace, ChannelPosition, ChannelSettings, Payload, Post};
use crate::hub::{ChannelError, Published};
use crate::ports::Acted;

/// The position of a published message, and what follows.
type Accepted = (Option<ChannelPosition>, After);

impl ChannelService {
    /// Publishes a message that is allowed on all nodes. `has_home` is whether this node is the
    /// home of the channel, and gives the place. Returns what follows.
    pub(super) fn publish_everywhere(
        &self,
        name: &str,
        message: Published<'_>,
        has_home: bool,
    ) -> Result<Accepted, CallError> {
        let refused = |error| CallError::from(Refusal::Hub(error));
        if self.topics.is_alone() {
            return self.publish_here(name, message, false).map(|(published, _)| published).map_err(refused);
        }
        let post = Post::channel(name, message.session.as_deref(), message.payload.clone());
        let (mut message, mut published) = (Some(message), Ok((None, After::Nothing)));
        self.topics.prepare(vec![post])?.send(&mut || {
            // It is called once.
            let Some(message) = message.take() else { return Acted::Failed };
            // The channel may have moved while the publish waited.
            if has_home && let Err(error) = self.is_still_home(name) {
                published = Err(error);
                return Acted::Failed;
            }
            let here = self.publish_here(name, message, has_home);
            let acted = match &here {
                Ok((_, Some(place))) => Acted::Placed(*place),
                Err(_) if has_home => Acted::Failed,
                Ok((_, None)) | Err(_) => Acted::Done,
            };
            published = here.map(|(published, _)| published).map_err(refused);
            acted
        });
        published
    }

    /// Publishes a message on this node. Returns its position, what follows, and the place that
    /// other nodes learn.
    fn publish_here(
        &self,
        name: &str,
        message: Published<'_>,
        has_home: bool,
    ) -> Result<(Accepted, Option<ChannelPlace>), ChannelError> {
        let (channels, is_kept) = (&self.hub.channels, message.settings.count > 0);
        Ok(match (message.settings.is_for_each, has_home) {
            (false, false) => ((channels.publish(name, message)?, After::Nothing), None),
            (false, true) => {
                let place = channels.publish_at_home(name, message)?;
                ((is_kept.then_some(place.position), After::Nothing), Some(place))
            }
            (true, false) => {
                let placed = channels.place(name, message)?;
                ((placed.position, After::Deliver(placed)), None)
            }
            (true, true) => {
                let (placed, place) = channels.place_at_home(name, message)?;
                ((placed.position, After::Deliver(placed)), Some(place))
            }
        })
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
            None if !rule.has_home() => {
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
                Ok(None) => self.hears(channel, position),
                Ok(Some(_)) | Err(_) => {}
            },
            None => {}
        }
    }
}
