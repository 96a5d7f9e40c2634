//! The sockets, channels and filters of a module, as statuses show them.

use super::Manifest;
use super::sockets::SocketRoute;
use crate::api::{ChannelHistoryStatus, ChannelPatternStatus, FiltersStatus, SocketStatus};
use crate::call::ChannelAction;

impl Manifest {
    /// The route at this index, as method and path.
    pub fn route_text(&self, index: usize) -> String {
        self.routes.get(index).map(|route| format!("{} {}", route.method, route.text)).unwrap_or_default()
    }

    /// The WebSockets, sorted by pattern.
    pub fn socket_statuses(&self) -> Vec<SocketStatus> {
        let route = |route: &SocketRoute| match route {
            SocketRoute::Own(index) => self.route_text(*index),
            SocketRoute::Other(name) => name.to_string(),
        };
        let described = self.sockets.iter().map(|(pattern, socket)| SocketStatus {
            pattern: pattern.to_owned(),
            route: route(&socket.route),
            protocols: socket.protocols.clone(),
            max_message: socket.max_message,
        });
        described.collect()
    }

    /// The patterns of channels, sorted.
    pub fn channel_statuses(&self) -> Vec<ChannelPatternStatus> {
        let described = self.channels.iter().map(|(pattern, channel)| {
            let settings = &channel.settings;
            let asked = ChannelAction::ALL.into_iter().filter(|action| channel.on.has(*action));
            ChannelPatternStatus {
                pattern: pattern.to_owned(),
                route: channel.route.map(|index| self.route_text(index)),
                on: asked.map(|action| action.as_str().to_owned()).collect(),
                history: (settings.count > 0).then(|| ChannelHistoryStatus {
                    count: settings.count,
                    age: u64::try_from(settings.age.as_millis()).unwrap_or(u64::MAX),
                    bytes: settings.bytes,
                    keep: settings.keep,
                }),
                presence: settings.presence,
                envelope: settings.envelope,
            }
        });
        described.collect()
    }

    pub fn filters_status(&self) -> FiltersStatus {
        let texts = |routes: &[usize]| routes.iter().map(|route| self.route_text(*route)).collect();
        FiltersStatus { before: texts(&self.filters.before), after: texts(&self.filters.after) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn sockets_and_filters_name_their_routes_with_the_method() {
        let text = r#"{ "component": "a.wasm",
            "routes": [{ "path": "say", "handler": "a", "middlewares": "session" },
                { "method": "get", "path": "check", "handler": "b", "middlewares": "inner" }],
            "sockets": { "room/{room}": { "path": "say", "protocols": ["v1"], "maxMessage": "1KiB" }, "": { "path": "say" },
                "z": { "module": "game", "path": "move" } },
            "filters": { "before": ["check"] } }"#;
        let manifest = Manifest::from_text(Path::new("/modules/chat"), text).unwrap();
        let (route, protocols) = ("POST say".to_owned(), vec!["v1".to_owned()]);
        let plain = SocketStatus { route: route.clone(), ..SocketStatus::default() };
        let room = SocketStatus { pattern: "room/{room}".to_owned(), route, protocols, max_message: Some(1_024) };
        let route = "game/move".to_owned();
        let other = SocketStatus { pattern: "z".to_owned(), route, ..SocketStatus::default() };
        assert_eq!(manifest.socket_statuses(), [plain, room, other]);
        let filters = FiltersStatus { before: vec!["GET check".to_owned()], after: Vec::new() };
        assert_eq!(manifest.filters_status(), filters);
    }

    #[test]
    fn channels_name_their_route_and_what_they_keep() {
        let text = r#"{ "component": "a.wasm", "routes": [{ "path": "ask", "handler": "a" }],
            "channels": { "chat/*": { "path": "ask", "on": ["join", "publish"], "presence": true,
                "history": { "count": 7, "age": "1m", "bytes": "2KiB" } }, "chat": {} } }"#;
        let manifest = Manifest::from_text(Path::new("/modules/chat"), text).unwrap();
        let plain = ChannelPatternStatus { pattern: "chat".to_owned(), ..ChannelPatternStatus::default() };
        let rooms = ChannelPatternStatus {
            pattern: "chat/*".to_owned(),
            route: Some("POST ask".to_owned()),
            on: vec!["publish".to_owned(), "join".to_owned()],
            history: Some(ChannelHistoryStatus { count: 7, age: 60_000, bytes: 2_048, ..Default::default() }),
            presence: true,
            envelope: false,
        };
        assert_eq!(manifest.channel_statuses(), [plain, rooms]);
    }
}
