//! The nodes of the cluster, as this node knows them. Without a cluster, there is only this node.
//!
//! ```
//! use fanfare_sdk::nodes::{self, Node};
//! use fanfare_sdk::prelude::*;
//!
//! /// The id of the chat server with the largest `weight` in its entry of `cluster.servers`.
//! #[handler]
//! fn choose() -> Result<String> {
//!     let weight = |node: &Node| node.settings["weight"].as_u64();
//!     let heaviest = nodes::of_type("chat").into_iter().max_by_key(weight);
//!     Ok(heaviest.ok_or_else(|| Failure::not_found("no-server", "there is no chat server"))?.id)
//! }
//! fanfare_sdk::module!(choose);
//! # fn main() {
//! let chat = |id: &str, weight: u32| Node {
//!     id: id.to_owned(),
//!     server: "chat".to_owned(),
//!     settings: json!({"weight": weight}),
//!     ..Node::default()
//! };
//! let host = TestHost::builder(Module).node(chat("chat-1", 1)).node(chat("chat-2", 3)).start();
//! assert_eq!(host.call("choose", ()).unwrap().text(), "chat-2");
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::backend;
use crate::wit::nodes as wit;

/// A node of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Node {
    /// The id, such as `chat-server-1`.
    pub id: String,
    /// The server type, such as `chat`.
    pub server: String,
    /// Whether clients connect to it.
    pub frontend: bool,
    /// The number of its workers.
    pub workers: u32,
    /// The keys of its entry in `cluster.servers` that the host does not know: an object.
    pub settings: Value,
    /// When it started, in milliseconds since 1970-01-01 UTC.
    pub since_ms: u64,
    /// Facts that later hosts add.
    pub extra: Vec<(String, String)>,
}

impl Node {
    fn from_wit(node: wit::Node) -> Self {
        let wit::Node { id, server, frontend, workers, settings, since_ms, extra } = node;
        // The text is that of the host.
        let settings = serde_json::from_str(&settings).unwrap_or_default();
        Node { id, server, frontend, workers, settings, since_ms, extra }
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn into_wit(self) -> wit::Node {
        let Node { id, server, frontend, workers, settings, since_ms, extra } = self;
        let settings = if settings.is_null() { "{}".to_owned() } else { settings.to_string() };
        wit::Node { id, server, frontend, workers, settings, since_ms, extra }
    }
}

/// Returns all nodes that calls can reach now, sorted by id, this one among them.
pub fn list() -> Vec<Node> {
    backend::list_nodes(None).into_iter().map(Node::from_wit).collect()
}

/// Returns the nodes of a server type, sorted by id.
pub fn of_type(server: &str) -> Vec<Node> {
    backend::list_nodes(Some(server)).into_iter().map(Node::from_wit).collect()
}

/// Returns the node with this id, or `None` when no such node can be reached.
pub fn get(id: &str) -> Option<Node> {
    backend::get_node(id).map(Node::from_wit)
}
