//! Messages of clients that another node runs.
//!
//! The node with the module answers a message with what its call does to the session, one act
//! after another, and then with the outcome. All of it arrives on one subject, so that its order is
//! that of the call.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use tokio::sync::mpsc;

use super::Cluster;
use super::link::{Link, Room};
use super::serve::Serving;
use super::subjects::token_of;
use super::wire::{Answer, Entries, Request, Sender};
use crate::call::text::{MESSAGE, NAME, line};
use crate::call::{
    Applied, AppliedValues, CallError, CallResult, GatherEntry, IsolateId, Outcome, PeerMessage, SessionAct,
    SessionHome, bounds,
};
use crate::dispatch::Dispatch;
use crate::ports::{BoxFuture, Forward};

/// The most acts of the call of one message.
const MOST_ACTS: usize = 1_024;

/// The session of a message, on the node that has sent it.
struct Home {
    cluster: Weak<Cluster>,
    link: Arc<Link>,
    /// The node with the session.
    node: String,
    /// The subject of the answers to the message.
    reply: Option<String>,
    acts: mpsc::UnboundedSender<(SessionAct, Room)>,
    begun: AtomicUsize,
}

impl SessionHome for Home {
    fn act(&self, act: SessionAct) -> Result<(), CallError> {
        if !self.link.is_up() {
            return Err(CallError::Unavailable("this node is not connected to NATS".to_owned()));
        }
        let (size, most) = (act.size(), self.link.max_payload());
        if size.saturating_add(MOST_NAMES) > most {
            return Err(CallError::Invalid(format!(
                "the message has {size} bytes, and max_payload of the NATS server allows {most} with its names"
            )));
        }
        if self.begun.fetch_add(1, Relaxed) >= MOST_ACTS {
            bounds::FORWARDED_ACTS.count();
            return Err(CallError::Overloaded(format!(
                "one call acts on a session of another node at most {MOST_ACTS} times: use sessions.push"
            )));
        }
        let room = Link::reserve(&self.link, size as u64);
        let full = || CallError::Overloaded("cluster.queue has no room for further messages".to_owned());
        // The call has ended if nobody receives.
        _ = self.acts.send((act, room.ok_or_else(full)?));
        Ok(())
    }

    fn apply(&self, values: AppliedValues) -> Applied {
        let stopping = CallError::stopping;
        let values = AppliedValues { answer: self.reply.clone(), ..values };
        let ready = self.cluster.upgrade().ok_or_else(stopping);
        let ready = ready.and_then(|cluster| cluster.ready_with(&self.node, |from| Request::Apply(from, values)));
        Box::pin(async move { ready?.outcome().await.map(drop) })
    }
}

/// The most bytes of an answer besides the texts of an act.
const MOST_NAMES: usize = 512;

impl Cluster {
    /// Sends a message to another node, and does what its answers say.
    pub(super) fn send_message(&self, node: &str, forward: Forward) -> BoxFuture<CallResult> {
        let Forward { message, turn, acts } = forward;
        self.link.counts.forwarded.inc();
        let id = node.to_owned();
        let ready = self.ready_for(MOST_ACTS + 1, node, |from| Request::Message(from, message));
        Box::pin(async move {
            let mut sent = ready?.send().await?;
            drop(turn);
            for expected in 1.. {
                let (number, answer) = sent.next_numbered().await?;
                // Those of a node that has lost its connection meanwhile.
                if number > expected {
                    return Err(CallError::Crashed(format!(
                        "node {} lost its connection to NATS, and with it what the call has sent to its client",
                        line(&id, NAME)
                    )));
                }
                match answer {
                    Entries::Act(act) => acts(act),
                    Entries::Error(error) => return Err(error),
                    Entries::All(entries) => {
                        let lost = || CallError::Crashed("the other node lost the message".to_owned());
                        let entry = entries.into_iter().next().ok_or_else(lost)?;
                        return entry.outcome.map(Outcome::Reply);
                    }
                }
            }
            Err(CallError::Crashed("the other node sent too many answers".to_owned()))
        })
    }

    /// Runs a message of another node, and answers.
    pub(super) fn serve_message(
        self: &Arc<Self>,
        from: &Sender,
        reply: Option<String>,
        message: PeerMessage,
        dispatch: &Arc<Dispatch>,
    ) {
        self.count_received(&from.node);
        let serving = Serving::begin(self);
        let (sender, mut acts) = mpsc::unbounded_channel();
        let run = match serving.refused() {
            Some(error) => Err(error),
            None => {
                let (cluster, link, node) = (Arc::downgrade(self), self.link.clone(), from.node.clone());
                let reply = reply.clone();
                let home = Home { cluster, link, node, reply, acts: sender, begun: AtomicUsize::new(0) };
                dispatch.on_peer_message(message, Arc::new(home))
            }
        };
        let cluster = self.clone();
        tokio::spawn(async move {
            let mut number = 0;
            let outcome = match run {
                Err(error) => Err(error),
                Ok(mut outcome) => loop {
                    tokio::select! {
                        biased;
                        Some((act, room)) = acts.recv() => {
                            number += 1;
                            cluster.answer_act(number, reply.as_deref(), act).await;
                            drop(room);
                        }
                        outcome = &mut outcome => break outcome,
                    }
                },
            };
            while let Ok((act, _room)) = acts.try_recv() {
                number += 1;
                cluster.answer_act(number, reply.as_deref(), act).await;
            }
            let entries = outcome.map(|outcome| {
                let outcome = Ok(outcome.into_reply());
                vec![GatherEntry { isolate: IsolateId::Worker(0), node: None, outcome }]
            });
            if let Some(reply) = reply {
                cluster.answer_as(number + 1, reply, entries.into()).await;
            }
            drop(serving);
        });
    }

    /// Fails if a message of this node no longer waits for its answer on a subject.
    pub(super) fn check_waits(&self, answer: Option<&str>) -> Result<(), CallError> {
        let waits = |subject: &str| {
            let token = token_of(subject).filter(|token| self.subjects.answer(&self.boot(), *token) == subject);
            token.is_some_and(|token| self.waiting.has(token))
        };
        if answer.is_none_or(waits) {
            return Ok(());
        }
        Err(CallError::Unavailable("the message has ended meanwhile: its session was not changed".to_owned()))
    }

    async fn answer_act(&self, number: usize, reply: Option<&str>, act: SessionAct) {
        let node = self.info.lock().id.clone();
        let Some(reply) = reply else { return };
        if let Ok(bytes) = (Answer { node, number, result: Entries::Act(act) }).write() {
            self.send(reply.to_owned(), bytes).await;
        }
    }

    /// Counts a message without a node, and logs it at most once a second.
    pub(super) fn count_unrouted(&self, server: &str, why: &CallError) {
        self.link.counts.unrouted.inc();
        if self.link.counts.may_log_unrouted() {
            let error = line(&why.to_string(), MESSAGE);
            tracing::warn!(server, %error, "a message of a client has no node");
        }
    }
}
