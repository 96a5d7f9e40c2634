//! How clients connect to the in-memory host.

use std::sync::Arc;

use serde_json::Value;

use super::TestHost;
use super::clients::{Client, close_code};
use super::node::{CallState, Node};
use super::request::head;
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{HeaderFields, Payload};

/// The close code of a client of SocketCluster that the hook `connect` rejects.
const REJECTED: u16 = 4008;

impl TestHost {
    /// Starts to connect a client.
    pub fn connect(&self) -> ConnectOptions<'_> {
        ConnectOptions {
            node: &self.node,
            worker: 0,
            socket: None,
            data: Payload::None,
            claims: None,
            subdomain: None,
            headers: Vec::new(),
        }
    }
}

/// A client that is about to connect. Create one with [`TestHost::connect`].
#[must_use = "call `open` to connect the client"]
pub struct ConnectOptions<'a> {
    node: &'a Arc<Node>,
    worker: u32,
    socket: Option<String>,
    data: Payload,
    claims: Option<Value>,
    subdomain: Option<String>,
    headers: HeaderFields,
}

/// Why a client was rejected.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// The hook `upgrade`, or for a plain WebSocket the hook `connect`, rejected the request with
    /// this HTTP status.
    Status(u16, CallError),
    /// The hook `connect` rejected a client of SocketCluster with this close code.
    Closed(u16, CallError),
}

impl ConnectOptions<'_> {
    /// Connects to this worker. The default is worker 0.
    pub fn on(mut self, worker: u32) -> Self {
        self.worker = worker;
        self
    }

    /// Connects a plain WebSocket to this path below the module, such as `live/7`. Without it the
    /// client speaks the protocol of SocketCluster.
    pub fn socket(mut self, path: &str) -> Self {
        self.socket = Some(path.to_owned());
        self
    }

    /// Sends this data with the handshake of SocketCluster, for the hook `connect`. A plain
    /// WebSocket has no handshake with data.
    ///
    /// # Panics
    /// When serde cannot serialise it.
    pub fn data(mut self, data: impl IntoPayload) -> Self {
        match data.into_payload() {
            Ok(data) => self.data = data,
            Err(error) => panic!("the data of the handshake cannot be serialised: {error}"),
        }
        self
    }

    /// Shows a valid token with these claims, as a client does that connects again.
    pub fn claims(mut self, claims: Value) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Connects for this tenant.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.subdomain = Some(subdomain.to_owned());
        self
    }

    /// Adds a header field to the request that asks for a WebSocket.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Runs the hooks `upgrade` and `connect`, and connects the client if both admit it.
    ///
    /// # Panics
    /// When a plain WebSocket has data for a handshake.
    pub fn open(self) -> Result<Client, Rejection> {
        let ConnectOptions { node, worker, socket, data, claims, subdomain, headers } = self;
        let status = |status: u16, error: CallError| Rejection::Status(status, error);
        assert!(socket.is_none() || data.is_none(), "a plain WebSocket sends no data with its handshake");
        if worker >= node.workers() {
            return Err(status(404, CallError::NotFound(format!("there is no worker-{worker}"))));
        }
        let path = match &socket {
            Some(path) => format!("/api/{}/{}", node.name, path.split_once('?').map_or(&**path, |(path, _)| path)),
            None => "/socketcluster/".to_owned(),
        };
        let socket = match socket {
            Some(path) => Some(node.manifest.socket(&path).map_err(|error| status(404, error))?),
            None => None,
        };
        let http = Some((headers, head(path)));
        let state = CallState { worker, subdomain: subdomain.clone(), http, ..CallState::default() };
        let upgraded = node.hook("upgrade", socket.as_ref(), Payload::None, state.clone());
        upgraded.map_err(|error| status(status_of(&error, 401), error))?;

        let id = node.add_client(worker, socket.clone(), subdomain);
        let client = Client { node: Arc::clone(node), id: id.clone(), socket };
        let state = CallState { session: Some(id.clone()), ..state };
        if let Err(error) = node.hook("connect", client.socket.as_ref(), data, state) {
            node.state().clients.retain(|client| client.record.id != id);
            return Err(match &client.socket {
                Some(_) => status(status_of(&error, 403), error),
                None => Rejection::Closed(close_code(&error).unwrap_or(REJECTED), error),
            });
        }
        if let Some(claims) = claims {
            // The host connects a client whose token is rejected, too: it is not authenticated.
            let _ = client.authenticate(&claims);
        }
        Ok(client)
    }
}

/// The status of a failure, if it chose one.
fn status_of(error: &CallError, default: u16) -> u16 {
    error.failure().map(|failure| failure.status).filter(|status| *status != 0).unwrap_or(default)
}
