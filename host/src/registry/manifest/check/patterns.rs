//! Checks the names that a module declares by patterns: stream keys and channels.

use std::collections::BTreeMap;

use super::Check;
use super::rules::has;
use crate::call::ChannelAction;
use crate::call::channel::PRESENCE;
use crate::document::tree::{Member, Node, Path as KeyPath};
use crate::registry::manifest::channels::{Channel, RawChannel};
use crate::registry::manifest::model::Route;
use crate::registry::manifest::patterns::{Channels, PatternKind, Streams};
use crate::registry::manifest::raw::Middleware;
use crate::registry::manifest::streams::Stream;

impl Check<'_> {
    pub(super) fn streams(&mut self, routes: &[Option<Route>]) -> Streams {
        let mut streams = BTreeMap::new();
        let rule = "must be a route without the middleware `test`: a stream opens in every environment";
        for member in self.members(PatternKind::Stream.section()) {
            if let Ok(route) = self.deciding_route(routes, PatternKind::Stream, member, rule) {
                streams.insert(member.name.clone(), Stream { route });
            }
        }
        Streams::new(streams)
    }

    pub(super) fn channels(&mut self, routes: &[Option<Route>]) -> Channels {
        let mut channels = BTreeMap::new();
        let section = PatternKind::Channel.section();
        let rule = "must be a route without the middleware `test`: channels exist in every environment";
        for member in self.members(section) {
            let at = KeyPath::of(&[section, &member.name]);
            if member.name.starts_with(PRESENCE) {
                let message = "must not begin with `presence/`, where the host announces the members of other \
                    channels: declare the channel itself, with `\"presence\": true`";
                self.fault(&member.node.origin, &at, message.to_owned());
                continue;
            }
            let route = self.deciding_route(routes, PatternKind::Channel, member, rule);
            // A text that the schema rejects has a fault already.
            let (Ok(route), Some(raw)) = (route, member.node.read::<RawChannel>()) else { continue };
            if let Some(on) = member.node.get("on") {
                self.actions(&raw, on, &at);
            }
            channels.insert(member.name.clone(), Channel::new(route, &raw));
        }
        Channels::new(channels)
    }

    /// Checks what the route of a channel is asked about.
    fn actions(&mut self, raw: &RawChannel, on: &Node, at: &KeyPath) {
        let actions = raw.on.as_deref().unwrap_or_default();
        let path = at.key("on");
        if raw.path.is_none() {
            let message = "has no effect without `path`: add the route, or remove `on`";
            self.fault(&on.origin, &path, message.to_owned());
        } else if actions.is_empty() {
            let message = "must not be empty: list what the route is asked about, or remove `path` and `on`";
            self.fault(&on.origin, &path, message.to_owned());
        }
        for (index, (action, item)) in actions.iter().zip(on.items()).enumerate() {
            let action = ChannelAction::from(*action);
            if matches!(action, ChannelAction::Join | ChannelAction::Leave) && !raw.presence {
                let message = format!("`{}` needs `\"presence\": true` in the same entry: add it", action.as_str());
                self.fault(&item.origin, &path.index(index), message);
            }
        }
    }

    /// Returns the index of the route that decides about the names of a pattern, or `None` if the
    /// entry has none. The error stands for a fault that was reported.
    fn deciding_route(
        &mut self,
        routes: &[Option<Route>],
        kind: PatternKind,
        member: &Member,
        rule: &str,
    ) -> Result<Option<usize>, ()> {
        if member.node.get("path").is_none() {
            return Ok(None);
        }
        let index = self.reference(routes, kind.section(), member).ok_or(())?;
        if has(routes, Some(index), Middleware::Test) {
            let path = KeyPath::of(&[kind.section(), &member.name, "path"]);
            self.fault(&member.node.origin, &path, rule.to_owned());
        }
        Ok(Some(index))
    }
}
