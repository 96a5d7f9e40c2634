//! The members of a channel, and the list of them that each worker's inbox gets with a message.

use std::sync::Arc;

use super::super::ids::ByTopic;
use super::super::sessions::Session;
use crate::call::ChannelMember;
use crate::call::channel::ListSize;

/// What a member counts in a list besides its texts.
const MEMBER: u64 = 32;

/// A session that is subscribed.
pub struct Member {
    pub session: Arc<Session>,
    /// The user when the session subscribed.
    pub uid: Option<Arc<str>>,
    pub info: Option<Arc<str>>,
    /// Its index in the list of its worker.
    at: usize,
}

/// The members whose connections are in one worker.
pub struct OfWorker {
    pub worker: u32,
    /// Their topics. Messages that wait in the inbox share the list, until it changes.
    topics: Arc<Vec<u64>>,
    /// Whether a message in the inbox has counted the bytes of the list.
    is_counted: bool,
    /// Whether the inbox was told to cut the members because it was full, and none has been added
    /// since.
    pub is_cut: bool,
}

#[derive(Default)]
pub struct Members {
    /// By the topics of their sessions.
    all: ByTopic<Member>,
    pub workers: Vec<OfWorker>,
    /// What the members count in a list.
    bytes: u64,
    /// Grows with each change of the members.
    version: u64,
}

impl Member {
    fn facts(&self) -> ChannelMember {
        ChannelMember { session: self.session.id.clone(), uid: self.uid.clone(), info: self.info.clone() }
    }

    fn bytes(&self) -> u64 {
        let length = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
        (self.session.id.len() + length(&self.uid) + length(&self.info)) as u64 + MEMBER
    }
}

impl OfWorker {
    /// The list for a message, and the bytes that the message counts for it.
    pub fn list(&mut self) -> (Arc<Vec<u64>>, u64) {
        let is_new = !std::mem::replace(&mut self.is_counted, true);
        let bytes = if is_new { size_of_val(self.topics.as_slice()) as u64 } else { 0 };
        (self.topics.clone(), bytes)
    }
}

impl Members {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.all.values().map(|member| member.session.clone()).collect()
    }

    /// The inboxes' lists, and the members to cut if an inbox is full.
    pub fn split(&mut self) -> (&mut Vec<OfWorker>, impl Fn(u32) -> Vec<Arc<Session>>) {
        let all = &self.all;
        let of = move |worker| {
            all.values().map(|member| &member.session).filter(|one| one.worker == worker).cloned().collect()
        };
        (&mut self.workers, of)
    }

    /// Adds a session that is not a member. Returns the facts about it.
    pub fn add(&mut self, session: &Arc<Session>, info: Option<Arc<str>>) -> ChannelMember {
        let (topic, worker) = (session.topic(), session.worker);
        let index = self.workers.iter().position(|of| of.worker == worker).unwrap_or(self.workers.len());
        if index == self.workers.len() {
            self.workers.push(OfWorker { worker, topics: Arc::default(), is_counted: false, is_cut: false });
        }
        let mut at = 0;
        if let Some(of) = self.workers.get_mut(index) {
            let topics = Arc::make_mut(&mut of.topics);
            at = topics.len();
            topics.push(topic);
            (of.is_counted, of.is_cut) = (false, false);
        }
        let member = Member { session: session.clone(), uid: session.uid(), info, at };
        let facts = member.facts();
        self.bytes = self.bytes.saturating_add(member.bytes());
        self.version = self.version.wrapping_add(1);
        self.all.insert(topic, member);
        facts
    }

    /// Replaces what a member has said about itself. Returns the facts about it, if they have
    /// changed.
    pub fn set_info(&mut self, session: &Session, info: Option<Arc<str>>) -> Option<ChannelMember> {
        let member = self.all.get_mut(&session.topic()).filter(|member| member.info != info)?;
        self.bytes = self.bytes.saturating_sub(member.bytes());
        member.info = info;
        self.bytes = self.bytes.saturating_add(member.bytes());
        self.version = self.version.wrapping_add(1);
        Some(member.facts())
    }

    /// Removes a member. Returns the facts about it.
    pub fn remove(&mut self, session: &Session) -> Option<ChannelMember> {
        let member = self.all.remove(&session.topic())?;
        self.bytes = self.bytes.saturating_sub(member.bytes());
        self.version = self.version.wrapping_add(1);
        let index = self.workers.iter().position(|of| of.worker == session.worker)?;
        let of = self.workers.get_mut(index)?;
        let topics = Arc::make_mut(&mut of.topics);
        if member.at < topics.len() {
            topics.swap_remove(member.at);
        }
        if let Some(moved) = topics.get(member.at).and_then(|topic| self.all.get_mut(topic)) {
            moved.at = member.at;
        }
        if topics.capacity() > 2 * topics.len() + 8 {
            topics.shrink_to_fit();
        }
        of.is_counted = false;
        if topics.is_empty() {
            self.workers.swap_remove(index);
        }
        Some(member.facts())
    }

    /// How long a list of the members is.
    pub fn size(&self) -> ListSize {
        ListSize { members: self.all.len(), bytes: self.bytes }
    }

    /// Differs after each change of the members.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The members, in the order in which their clients connected.
    pub fn in_order(&self) -> impl Iterator<Item = &Member> {
        let mut topics: Vec<u64> = self.all.keys().copied().collect();
        topics.sort_unstable();
        topics.into_iter().filter_map(|topic| self.all.get(&topic))
    }

    /// The facts about all members, sorted by their ids.
    pub fn facts(&self) -> Vec<ChannelMember> {
        let mut facts: Vec<_> = self.all.values().map(Member::facts).collect();
        facts.sort_unstable_by(|one, other| one.session.cmp(&other.session));
        facts
    }
}
