//! Tells other nodes about topics: the sending side of the port [`Topics`].
//!
//! Each message about a topic has the next number of its bucket, and is queued under the lock of
//! the bucket, under which this node has acted. A message about all topics takes the locks of all
//! buckets. So others can act in the order of this node, and notice by the numbers what is missing:
//! a message that could not be sent has a number, too, and once there is a connection again, this
//! node tells its last numbers. It also tells them for a while after each message, because a
//! message can be lost between two NATS servers, which neither node notices.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::Duration;

use bytes::BytesMut;

use super::Cluster;
use super::link::Outgoing;
use super::posting::Posting;
use super::posts::{self, ALL, Stamp, Told};
use crate::call::{CallError, Post, TopicKind};
use crate::ports::{Acted, Followed, NoTopics, Prepared, Topics};

/// How often this node looks whether it has something to tell about topics.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// How often the last numbers are repeated after the time in which a node counts as gone.
const FURTHER_REPEATS: u32 = 3;

impl Cluster {
    pub(super) fn posting(&self, kind: TopicKind) -> &Posting {
        match kind {
            TopicKind::Stream => &self.posting.streams,
            TopicKind::Channel => &self.posting.channels,
            TopicKind::Event => &self.posting.events,
        }
    }

    /// Queues a message. One that cannot be queued is told later by its number.
    fn send_post(&self, kind: TopicKind, place: usize, bytes: BytesMut) -> bool {
        let subject = self.subjects.topics(kind, place);
        self.posting(kind).repeat(self.repeats());
        let queued = self.client().is_ok() && self.link.queue(Outgoing { subject, reply: None, bytes: bytes.freeze() });
        match queued {
            true => _ = self.link.counts.posts_sent.inc(),
            false => {
                self.link.counts.posts_unsent.inc();
                self.posting(kind).owe();
            }
        }
        queued
    }

    /// How often the last numbers are repeated: for longer than NATS servers can lose messages
    /// without a node that counts as gone.
    fn repeats(&self) -> u32 {
        // A look takes a second.
        u32::try_from(self.config.gone_after.as_secs()).unwrap_or(u32::MAX).saturating_add(FURTHER_REPEATS)
    }

    /// Repeats the last numbers for all nodes, because one of them may not know them.
    pub(super) fn repeat_last(&self) {
        TopicKind::ALL.iter().for_each(|kind| self.posting(*kind).repeat(self.repeats()));
    }

    /// Asks all nodes for the last numbers with the next heartbeat.
    pub(super) fn ask_for_numbers(&self) {
        self.asks.store(true, Release);
        self.beat.notify_one();
    }

    /// Tells the last numbers, if something was not sent since they were told, or if they are to be
    /// repeated.
    pub(super) fn tell_last(&self, kind: TopicKind, repeats: bool) {
        let posting = self.posting(kind);
        if self.client().is_err() {
            return;
        }
        let owes = posting.owes.swap(false, AcqRel);
        if !(owes || repeats && posting.takes_repeat()) {
            return;
        }
        let all = posting.all.write();
        let last = posting.buckets.iter().map(|bucket| *bucket.lock()).chain([*all]).collect();
        let Ok(mut bytes) = posts::write(&self.own.id, Told::Last { last, is_routine: !owes }) else { return };
        // It comes after all that was sent before.
        posts::stamp(&mut bytes, Stamp { boot: self.boot_number, number: *all + 1, after: *all });
        let subject = self.subjects.topics(kind, ALL);
        if !self.link.queue(Outgoing { subject, reply: None, bytes: bytes.freeze() }) {
            posting.owe();
        }
    }
}

/// Messages about one topic, or about all topics of a kind.
struct Ready {
    cluster: Arc<Cluster>,
    kind: TopicKind,
    place: usize,
    messages: Vec<BytesMut>,
}

impl Prepared for Ready {
    fn send(self: Box<Self>, act: &mut dyn FnMut() -> Acted) {
        let Ready { cluster, kind, place, messages } = *self;
        let (posting, boot) = (cluster.posting(kind), cluster.boot_number);
        match posting.buckets.get(place) {
            Some(bucket) => {
                let all = posting.all.read();
                let mut last = bucket.lock();
                let acted = act();
                for mut bytes in messages {
                    match acted {
                        Acted::Failed => return,
                        Acted::Placed(place) => posts::set_place(&mut bytes, place),
                        Acted::Done => {}
                    }
                    *last += 1;
                    posts::stamp(&mut bytes, Stamp { boot, number: *last, after: *all });
                    cluster.send_post(kind, place, bytes);
                }
            }
            None => {
                let mut all = posting.all.write();
                if act() == Acted::Failed {
                    return;
                }
                for mut bytes in messages {
                    *all += 1;
                    posts::stamp(&mut bytes, Stamp { boot, number: *all, after: *all - 1 });
                    cluster.send_post(kind, ALL, bytes);
                }
            }
        }
    }
}

impl Topics for Cluster {
    fn is_sure(&self) -> bool {
        match self.view.load().nodes.is_empty() {
            true => self.is_alone_for_sure(),
            false => self.fence.holds(),
        }
    }

    fn prepare(&self, posts: Vec<Post>) -> Result<Box<dyn Prepared>, CallError> {
        let (Some(cluster), Some(first)) = (self.me.upgrade(), posts.first()) else { return Ok(Box::new(NoTopics)) };
        let (kind, place) = (first.kind(), first.topic().map_or(ALL, posts::bucket));
        // Without any connection so far it is not known.
        let most = Some(self.link.max_payload()).filter(|most| *most > 0).unwrap_or(usize::MAX);
        let write = |post| {
            let bytes = posts::write(&self.own.id, Told::Post(post))?;
            if bytes.len() > most {
                return Err(CallError::Invalid(format!(
                    "the message has {} bytes between nodes, and max_payload of the NATS server allows {most}",
                    bytes.len()
                )));
            }
            Ok(bytes)
        };
        let messages = posts.into_iter().map(write).collect::<Result<_, _>>()?;
        Ok(Box::new(Ready { cluster, kind, place, messages }))
    }

    fn follow(&self, kind: TopicKind, topic: &str) -> Box<dyn Followed> {
        Box::new(self.begin_to_follow(kind, topic))
    }
}
