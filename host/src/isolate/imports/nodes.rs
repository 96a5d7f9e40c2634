//! `fanfare:module/nodes`.

use std::sync::Arc;

use crate::bindings::fanfare::module::nodes::{Host, Node};
use crate::isolate::state::State;
use crate::ports::KnownNode;

impl Host for State {
    fn list(&mut self, server: Option<String>) -> Vec<Node> {
        self.guest.ports.nodes.list(server.as_deref()).into_iter().map(converted).collect()
    }

    fn get(&mut self, id: String) -> Option<Node> {
        self.guest.ports.nodes.get(&id).map(converted)
    }
}

fn converted(known: Arc<KnownNode>) -> Node {
    let KnownNode { id, server, frontend, workers, settings, since } = Arc::unwrap_or_clone(known);
    Node { id, server, frontend, workers, settings, since_ms: since, extra: Vec::new() }
}
