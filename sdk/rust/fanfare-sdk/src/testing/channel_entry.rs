//! The names of channels, and their entries in a manifest.

use serde::Deserialize;

use crate::failure::CallError;

/// Members of a channel are announced on the channel with this prefix.
pub(super) const PRESENCE: &str = "presence/";

/// The most bytes of a name, as in the real host.
const MAX_NAME: usize = 256;

/// The part of a channel's entry in a manifest that the in-memory host reads.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ChannelEntry {
    /// The route.
    pub path: Option<String>,
    /// The actions that the route decides about. `None` for the default list.
    pub on: Option<Vec<String>>,
    history: Option<History>,
    pub presence: bool,
    pub envelope: bool,
}

/// How many messages a channel keeps. The in-memory host does not apply the other bounds.
#[derive(Deserialize)]
#[serde(untagged)]
enum History {
    Count(usize),
    Bounds {
        #[serde(default = "default_count")]
        count: usize,
    },
}

fn default_count() -> usize {
    100
}

impl ChannelEntry {
    pub fn kept(&self) -> usize {
        match self.history {
            None => 0,
            Some(History::Count(count) | History::Bounds { count }) => count,
        }
    }

    /// The route, if it decides about this action.
    pub fn asks(&self, action: &str) -> Option<&str> {
        let path = self.path.as_deref()?;
        let asks = match &self.on {
            Some(on) => on.iter().any(|name| name == action),
            None => ["subscribe", "unsubscribe", "publish"].contains(&action),
        };
        asks.then_some(path)
    }
}

/// The channel whose members a channel announces.
pub(super) fn announced(channel: &str) -> Option<&str> {
    channel.strip_prefix(PRESENCE).filter(|channel| !channel.is_empty())
}

pub(super) fn check_name(name: &str) -> Result<(), CallError> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        let message = format!("the name of a channel has 1 to {MAX_NAME} bytes and no control characters: {name:?}");
        return Err(CallError::Invalid(message));
    }
    Ok(())
}
