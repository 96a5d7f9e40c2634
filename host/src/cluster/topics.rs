//! Tells other nodes about topics: the sending side of the port [`Topics`].
//!
//! Each message about a topic has the next number of its bucket, and is queued under the lock of
//! the bucket, under which this node has acted. A message about all topics takes the locks of all
//! buckets. So others can act in the order of this node, and notice by the numbers what is missing:
//! a message that could not be sent has a number, too, and once there is a connection again, this
//! node tells its last numbers.

use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;

use bytes::BytesMut;

use super::Cluster;
use super::link::Outgoing;
use super::posting::Posting;
use super::posts::{self, ALL, Stamp, Told};
use crate::call::{CallError, Post, TopicKind};
use crate::ports::{Acted, Followed, NoTopics, Prepared, Topics};

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

    /// Tells the last numbers, if something was not sent since they were told.
    pub(super) fn tell_last(&self, kind: TopicKind) {
        let posting = self.posting(kind);
        if self.client().is_err() || !posting.owes.swap(false, AcqRel) {
            return;
        }
        let all = posting.all.write();
        let last: Vec<u64> = posting.buckets.iter().map(|bucket| *bucket.lock()).chain([*all]).collect();
        if last.iter().all(|number| *number == 0) {
            return;
        }
        let node = self.info.lock().id.clone();
        let Ok(mut bytes) = posts::write(&node, Told::Last(last)) else { return };
        // It comes after all that was sent before.
        posts::stamp(&mut bytes, Stamp { boot: self.boot_number, number: *all + 1, after: *all });
        self.send_post(kind, ALL, bytes);
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
