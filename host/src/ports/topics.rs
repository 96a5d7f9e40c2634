//! The port to the topics of other nodes: streams, the event service and channels.

use super::BoxFuture;
use crate::call::{CallError, ChannelPlace, Post, TopicKind};

/// The functions of the cluster for topics. Only the futures wait.
pub trait Topics: Send + Sync {
    /// Whether there can be no other nodes, so that nothing needs to be told.
    fn is_alone(&self) -> bool {
        false
    }

    /// Whether no other node can have become the home of a channel that has its home here.
    fn is_sure(&self) -> bool {
        true
    }

    /// Prepares messages about one topic, or about all topics of a kind. Fails if one is too large
    /// for other nodes.
    fn prepare(&self, posts: Vec<Post>) -> Result<Box<dyn Prepared>, CallError>;

    /// Follows a topic, until the result is dropped.
    fn follow(&self, kind: TopicKind, topic: &str) -> Box<dyn Followed>;
}

/// How this node has acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acted {
    /// It has done what the messages tell.
    Done,
    /// It has given the message of a channel this place.
    Placed(ChannelPlace),
    /// It could not, so that there is nothing to tell.
    Failed,
}

/// Messages for other nodes.
pub trait Prepared: Send + Sync {
    /// Acts in this node, and queues the messages for the nodes that follow their topic. What this
    /// node does to one topic arrives everywhere in the order of these calls, and what it does to
    /// all topics of a kind has its place in this order. When a message cannot be sent, the readers
    /// on other nodes are told that they may have missed something.
    fn send(self: Box<Self>, act: &mut dyn FnMut() -> Acted);
}

/// A topic that this node follows.
pub trait Followed: Send + Sync {
    /// Resolves when everything arrives that other nodes publish from then on, or at once if they
    /// cannot be reached. Returns the number of the last message of this node after which nothing
    /// of other nodes is missing.
    fn confirmed(&self) -> BoxFuture<u64>;
}

/// Receives what other nodes tell about topics.
pub trait TopicReceiver: Send + Sync {
    /// `from` is the node that tells it.
    fn receive(&self, from: &str, post: Post);

    /// Something of the topics of a kind may have been missed.
    fn missed(&self, kind: TopicKind);

    /// Skips a number of the messages of a kind on this node, and returns it: a reader who resumes
    /// before it may have missed messages of other nodes.
    fn skip(&self, kind: TopicKind) -> u64;
}

/// The port of a single node.
#[derive(Debug, Clone, Copy)]
pub struct NoTopics;

impl Topics for NoTopics {
    fn is_alone(&self) -> bool {
        true
    }

    fn prepare(&self, _: Vec<Post>) -> Result<Box<dyn Prepared>, CallError> {
        Ok(Box::new(NoTopics))
    }

    fn follow(&self, _: TopicKind, _: &str) -> Box<dyn Followed> {
        Box::new(NoTopics)
    }
}

impl Prepared for NoTopics {
    fn send(self: Box<Self>, act: &mut dyn FnMut() -> Acted) {
        act();
    }
}

impl Followed for NoTopics {
    fn confirmed(&self) -> BoxFuture<u64> {
        Box::pin(std::future::ready(0))
    }
}
