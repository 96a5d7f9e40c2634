//! Channels: their names, what may happen on them, and what they keep, as plain data.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Payload, position, stream_key};

/// Members of a channel that join and leave are announced on the channel with this prefix.
pub const PRESENCE: &str = "presence/";

/// The most messages of a page of history.
pub const MOST_OF_PAGE: usize = 1_000;

/// The most bytes of the payloads in a page for guests and the embedding program. Pages for clients
/// have at most `websocket.queue.bytes`.
pub const BYTES_OF_PAGE: u64 = 1 << 20;

/// The longest list of members that a guest gets. Lists for clients have at most
/// `websocket.queue.bytes`.
pub const LONGEST_LIST: ListSize = ListSize { members: 10_000, bytes: 1 << 20 };

/// Whether the host accepts this text as the name of a channel: 1 to 256 bytes without control
/// characters.
pub fn is_channel(text: &str) -> bool {
    !text.is_empty() && stream_key::is_key(text)
}

/// Whether the host accepts this text from outside as the name of a channel. Counts one that is too
/// long.
pub fn accepts(text: &str) -> bool {
    !text.is_empty() && stream_key::accepts(text)
}

/// The channel whose members a channel announces. `None` if it is not such a channel.
pub fn announced(channel: &str) -> Option<&str> {
    channel.strip_prefix(PRESENCE).filter(|channel| !channel.is_empty())
}

/// What happens on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChannelAction {
    Subscribe,
    Unsubscribe,
    Publish,
    /// A message is about to be sent to one session.
    Deliver,
    /// A session has become a member.
    Join,
    /// A session is no longer a member.
    Leave,
}

impl ChannelAction {
    pub const ALL: [ChannelAction; 6] = [
        ChannelAction::Subscribe,
        ChannelAction::Unsubscribe,
        ChannelAction::Publish,
        ChannelAction::Deliver,
        ChannelAction::Join,
        ChannelAction::Leave,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The name in `on` of a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            ChannelAction::Subscribe => "subscribe",
            ChannelAction::Unsubscribe => "unsubscribe",
            ChannelAction::Publish => "publish",
            ChannelAction::Deliver => "deliver",
            ChannelAction::Join => "join",
            ChannelAction::Leave => "leave",
        }
    }
}

/// A set of actions: those for which the host calls the route of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelActions(u8);

impl ChannelActions {
    /// The actions of an entry that has no `on`.
    pub const DEFAULT: ChannelActions = ChannelActions(
        ChannelAction::Subscribe.bit() | ChannelAction::Unsubscribe.bit() | ChannelAction::Publish.bit(),
    );

    pub fn has(self, action: ChannelAction) -> bool {
        self.0 & action.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<ChannelAction> for ChannelActions {
    fn from_iter<I: IntoIterator<Item = ChannelAction>>(actions: I) -> ChannelActions {
        ChannelActions(actions.into_iter().fold(0, |set, action| set | action.bit()))
    }
}

/// The cause of a call of a channel's route.
#[derive(Debug, Clone)]
pub struct ChannelTrigger {
    /// The name of the channel.
    pub channel: Arc<str>,
    pub action: ChannelAction,
    /// The id of the client's session. `None` if a guest, the operator or the host acts.
    pub session: Option<Arc<str>>,
}

/// Where the history of a channel is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChannelKeep {
    /// In the memory of one node. It is lost when the channel moves to another node.
    #[default]
    Memory,
    /// In a stream of the cluster.
    Cluster,
}

/// What a channel keeps, and how clients see it: the settings of its entry in `channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelSettings {
    /// The most messages that the channel keeps. Zero for no history.
    pub count: usize,
    pub age: Duration,
    /// The most bytes of the kept messages.
    pub bytes: u64,
    pub keep: ChannelKeep,
    /// Whether members are known, and announced.
    pub presence: bool,
    /// Whether plain WebSockets get messages with the name of the channel around them.
    pub envelope: bool,
    /// Whether a route decides for each member about each message (`deliver`).
    pub is_for_each: bool,
}

impl ChannelSettings {
    /// Whether a stream of the cluster keeps the history.
    pub fn is_in_cluster(&self) -> bool {
        self.keep == ChannelKeep::Cluster && self.count > 0
    }
}

/// A place in the order of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChannelPosition {
    /// Differs after the history of the channel is lost.
    pub epoch: u64,
    /// The number of the last message before this place: 1, 2, 3 and so on, without gaps.
    pub offset: u64,
}

impl ChannelPosition {
    /// Reads the text that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<ChannelPosition> {
        position::parse(text).map(|(epoch, offset)| ChannelPosition { epoch, offset })
    }

    /// A position whose epoch is text.
    pub fn of(epoch: &str, offset: u64) -> Option<ChannelPosition> {
        position::parse_epoch(epoch).map(|epoch| ChannelPosition { epoch, offset })
    }

    /// The epoch as text.
    pub fn epoch_text(&self) -> String {
        format!("{:x}", self.epoch)
    }
}

impl fmt::Display for ChannelPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.offset)
    }
}

/// The place that the home of a channel has given a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelPlace {
    pub position: ChannelPosition,
    /// See [`ChannelMessage::at`].
    pub at: u64,
}

/// The node that gives the messages of a channel their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelHome {
    /// This node.
    Own,
    /// The node with this id.
    Node(Arc<str>),
}

/// A message of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMessage {
    /// Its number: see [`ChannelPosition::offset`].
    pub offset: u64,
    /// When it got its place, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// The session of the client that has published it. `None` if no client did.
    pub session: Option<Arc<str>>,
    /// What was published.
    pub payload: Payload,
}

/// A part of a channel's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPage {
    /// That of the positions of its messages. Zero if the channel keeps none.
    pub epoch: u64,
    /// In order, oldest first.
    pub messages: Vec<ChannelMessage>,
    /// The number of the newest message of the channel. Zero if there was none.
    pub latest: u64,
    /// Whether no message is missing between the requested position and the first message.
    pub complete: bool,
}

/// A member of a channel with presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMember {
    /// The id of the session.
    pub session: Arc<str>,
    /// The user that the session was bound to when it subscribed.
    pub uid: Option<Arc<str>>,
    /// What the client sent when it subscribed, as JSON text.
    pub info: Option<Arc<str>>,
}

/// How long a list of members is, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListSize {
    pub members: usize,
    /// The bytes of their ids, their users, and what they say about themselves, with 32 for each.
    pub bytes: u64,
}

impl ListSize {
    pub const ANY: ListSize = ListSize { members: usize::MAX, bytes: u64::MAX };

    pub fn fits(&self, most: &ListSize) -> bool {
        self.members <= most.members && self.bytes <= most.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let position = ChannelPosition { epoch: 0x1f, offset: 12 };
        assert_eq!(position.to_string(), "1f-12");
        assert_eq!(ChannelPosition::parse("1f-12"), Some(position));
        assert_eq!(ChannelPosition::of(&position.epoch_text(), 12), Some(position));
        assert_eq!((ChannelPosition::parse("1f"), ChannelPosition::of("g", 12)), (None, None));
    }

    #[test]
    fn a_set_has_the_actions_that_it_was_made_of() {
        let has = |set: ChannelActions| ChannelAction::ALL.map(|action| set.has(action));
        assert_eq!(has(ChannelActions::DEFAULT), [true, true, true, false, false, false]);
        assert_eq!(
            has([ChannelAction::Leave, ChannelAction::Publish].into_iter().collect()),
            [false, false, true, false, false, true]
        );
        assert!(ChannelActions::default().is_empty() && !ChannelActions::DEFAULT.is_empty());
    }

    #[test]
    fn a_channel_has_a_short_name() {
        assert!(is_channel("a") && is_channel(&"x".repeat(256)));
        assert!(!is_channel("") && !is_channel(&"x".repeat(257)) && !is_channel("a\n"));
        assert_eq!(
            (announced("presence/room/1"), announced("presence/"), announced("room")),
            (Some("room/1"), None, None)
        );
    }
}
