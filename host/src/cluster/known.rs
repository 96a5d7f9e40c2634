//! What guests know of a node, from what the node tells the others.

use crate::api::NodeInfo;
use crate::call::text::NAME;
use crate::config::MAX_SERVER_SETTINGS;
use crate::ports::KnownNode;

/// What guests know of a node.
pub(super) fn known(info: &NodeInfo) -> KnownNode {
    KnownNode {
        id: info.id.clone(),
        server: info.server.clone(),
        frontend: info.frontend,
        workers: info.workers,
        settings: serde_json::to_string(&info.settings).unwrap_or_else(|_| "{}".to_owned()),
        since: info.since,
    }
}

/// Whether the facts that another node tells have the sizes that the settings of a node can have.
pub(super) fn fits(info: &NodeInfo) -> bool {
    let texts = [&info.id, &info.server, &info.boot, &info.version];
    texts.iter().all(|text| text.len() <= NAME) && known(info).settings.len() <= MAX_SERVER_SETTINGS
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn facts_of_any_size_are_refused() {
        let with = |size: usize| {
            let settings = Map::from_iter([("a".to_owned(), json!("x".repeat(size)))]);
            NodeInfo { id: "b".into(), settings, ..NodeInfo::default() }
        };
        let room = MAX_SERVER_SETTINGS - r#"{"a":""}"#.len();
        assert!(fits(&with(room)) && !fits(&with(room + 1)));
        let long = "x".repeat(NAME + 1);
        for info in [
            NodeInfo { id: long.clone(), ..with(0) },
            NodeInfo { server: long.clone(), ..with(0) },
            NodeInfo { boot: long.clone(), ..with(0) },
            NodeInfo { version: long, ..with(0) },
        ] {
            assert!(!fits(&info), "{info:?}");
        }
    }
}
