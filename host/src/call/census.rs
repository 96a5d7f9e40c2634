//! What nodes tell each other about the members of channels, as plain data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ChannelMember;
use super::channel::ListSize;

/// A part of what a node tells another one. The batches of a series have the numbers 1, 2, 3 and so
/// on, and the next one is sent when this one was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CensusBatch {
    /// The sender has begun this number of series.
    pub series: u64,
    pub number: u64,
    /// Whether the sender has the series of the receiver.
    pub heard: bool,
    /// The nodes as the sender sees them, if it has told everything that follows from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirms: Option<u64>,
    /// A list of [`CensusStep`]s as JSON text.
    #[serde(skip)]
    pub steps: String,
}

/// What a node tells another one, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CensusStep {
    /// A series begins: what is not told again until `Done` is no longer true.
    Reset,
    Done,
    /// About the members of the sender, for the home of a channel.
    Own(String, MemberStep),
    /// About the members of all nodes, from the home of a channel to a node that watches it.
    All(String, MemberStep),
    /// The sender sees another home of a channel, and tells that one from now on.
    Elsewhere(String),
    /// The sender watches a channel, or no longer does.
    Watch(String, bool),
}

/// A change of the members of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MemberStep {
    /// Members that are not told again until `End` have left.
    Begin,
    End,
    /// A session is a member.
    Is(CensusMember),
    /// A session is no member any more.
    Gone(String),
    /// There are too many members to tell each: their number.
    Count(u64),
    /// A session is a member, or no longer, because the channel begins or ceases to have presence.
    /// Nobody announces it.
    Quiet(Box<MemberStep>),
}

/// A member of a channel, as nodes tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CensusMember {
    pub session: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
}

/// A part of the members of a channel, sorted by node and session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CensusPage {
    /// The size of the whole list.
    pub members: usize,
    pub bytes: u64,
    pub page: Vec<CensusMember>,
    /// Whether further members follow.
    pub more: bool,
}

impl CensusPage {
    pub fn size(&self) -> ListSize {
        ListSize { members: self.members, bytes: self.bytes }
    }
}

impl From<&ChannelMember> for CensusMember {
    fn from(member: &ChannelMember) -> CensusMember {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        CensusMember { session: member.session.as_ref().to_owned(), uid: text(&member.uid), info: text(&member.info) }
    }
}

impl From<CensusMember> for ChannelMember {
    fn from(CensusMember { session, uid, info }: CensusMember) -> ChannelMember {
        ChannelMember { session: session.into(), uid: uid.map(Into::into), info: info.map(Into::into) }
    }
}
