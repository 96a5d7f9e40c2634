//! The connection that the stores on one server share.

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};

/// One connection to the server, which all stores there share.
#[derive(Debug)]
pub struct Connection {
    /// `None` before the first attempt has ended.
    state: watch::Sender<Option<State>>,
    /// A command got no answer, so the connection may be lost.
    pub doubt: Notify,
}

/// The connection, or the reason of the last failed attempt.
type State = Result<MultiplexedConnection, String>;

impl Default for Connection {
    fn default() -> Connection {
        Connection { state: watch::Sender::new(None), doubt: Notify::new() }
    }
}

impl Connection {
    pub fn set(&self, state: State) {
        self.state.send_replace(Some(state));
    }

    /// What the last attempt has brought. Waits for the end of the first one.
    pub async fn current(&self) -> State {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(Option::is_some).await.ok().and_then(|state| state.clone());
        ended.unwrap_or_else(|| Err("the host has not connected yet".to_owned()))
    }
}
