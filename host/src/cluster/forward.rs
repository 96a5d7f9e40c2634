//! Messages of clients that another node runs.
//!
//! The node with the module answers a message with what its call does to the session, one act
//! after another, and then with the outcome. All of it arrives on one subject, so that its order is
//! that of the call. An act for whose result the call waits has a reply subject of its own.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Cluster;
use super::calls::{Find, Received, Sent};
use super::link::{Link, Outgoing, Room};
use super::serve::Serving;
use super::sessions::{as_json, from_json};
use super::subjects::token_of;
use super::wire::{Answer, Entries, Request, Sender};
use crate::call::text::{MESSAGE, NAME, line};
use crate::call::{
    Acted, Applied, AppliedValues, CallError, CallResult, GatherEntry, IsolateId, Outcome, PeerMessage, Reply,
    SessionAct, SessionHome, bounds,
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
    acts: mpsc::UnboundedSender<Posted>,
    begun: AtomicUsize,
}

/// An act that waits until it is sent.
struct Posted {
    act: SessionAct,
    /// Where the call waits for its result.
    reply: Option<String>,
    _room: Room,
}

impl Home {
    /// It waits for the call, also when it is about to stop.
    fn frontend(&self) -> (&str, Find) {
        (&self.node, Cluster::neighbor)
    }

    fn post(&self, act: SessionAct, reply: Option<String>) -> Result<(), CallError> {
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
        _ = self.acts.send(Posted { act, reply, _room: room.ok_or_else(full)? });
        Ok(())
    }
}

impl SessionHome for Home {
    fn act(&self, act: SessionAct) -> Result<(), CallError> {
        self.post(act, None)
    }

    fn ask(&self, act: SessionAct, within: Duration) -> Acted {
        let cluster = self.cluster.upgrade().ok_or_else(CallError::stopping);
        let sent =
            cluster.and_then(|cluster| cluster.expect_answer(self.frontend(), |reply| self.post(act, Some(reply))));
        Box::pin(changed_by(sent, within))
    }

    fn apply(&self, values: AppliedValues, within: Duration) -> Applied {
        let stopping = CallError::stopping;
        let values = AppliedValues { answer: self.reply.clone(), ..values };
        let ready = self.cluster.upgrade().ok_or_else(stopping);
        let ready =
            ready.and_then(|cluster| cluster.ready_for(1, self.frontend(), |from| Request::Apply(from, values)));
        Box::pin(async move { tokio::time::timeout(within, ready?.outcome()).await.map_err(|_| late())?.map(drop) })
    }
}

fn late() -> CallError {
    CallError::Timeout(Some("the node of the session has not answered".to_owned()))
}

/// The number of sessions that an act has changed, which the node of the session says.
async fn changed_by(sent: Result<Sent, CallError>, within: Duration) -> Result<u32, CallError> {
    let mut sent = sent?;
    let answer = tokio::time::timeout(within, sent.next()).await.map_err(|_| late())??;
    let entries: Result<Vec<GatherEntry>, CallError> = answer.into();
    let entry = entries?.pop().ok_or_else(|| CallError::Crashed("the answer is empty".to_owned()))?;
    from_json(&entry.outcome?)
}

/// A message that this node has sent. When it ends, the calls that wait for their acts hear of it.
struct Forwarded {
    sent: Sent,
    cluster: Weak<Cluster>,
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        let unread = self.sent.end();
        let Some(cluster) = self.cluster.upgrade() else { return };
        unread.into_iter().for_each(|reply| cluster.refuse_act(reply));
    }
}

/// The answer to a question of another node.
fn entries(outcome: Result<Reply, CallError>) -> Entries {
    outcome.map(|reply| vec![GatherEntry { isolate: IsolateId::Master, node: None, outcome: Ok(reply) }]).into()
}

fn message_has_ended() -> CallError {
    CallError::Unavailable("the message has ended meanwhile: its session was not changed".to_owned())
}

/// The most bytes of an answer besides the texts of an act.
const MOST_NAMES: usize = 512;

impl Cluster {
    /// Sends a message to another node, and does what its answers say.
    pub(super) fn send_message(&self, node: &str, forward: Forward) -> BoxFuture<CallResult> {
        let Forward { message, turn, acts } = forward;
        self.link.counts.forwarded.inc();
        let (cluster, id, session) = (self.me.clone(), node.to_owned(), message.session.id.clone());
        let ready =
            self.ready_for(MOST_ACTS + 1, (node, Cluster::reachable), |from| Request::Message(from, Box::new(message)));
        Box::pin(async move {
            let mut forwarded = Forwarded { sent: ready?.send().await?, cluster: cluster.clone() };
            drop(turn);
            for expected in 1.. {
                let Received { number, result, reply } = forwarded.sent.next_numbered().await?;
                // Those of a node that has lost its connection meanwhile.
                if number > expected {
                    if let Some((reply, cluster)) = reply.zip(cluster.upgrade()) {
                        cluster.refuse_act(reply);
                    }
                    return Err(CallError::Crashed(format!(
                        "node {} lost its connection to NATS, and with it what the call has sent to its client",
                        line(&id, NAME)
                    )));
                }
                match result {
                    Entries::Act(act) => match (acts(act), reply, cluster.upgrade()) {
                        (done, Some(reply), Some(cluster)) => {
                            cluster.answer(reply, entries(done.and_then(|changed| as_json(&changed)))).await;
                        }
                        // Nobody waits for the error. `not-found`: the client has left meanwhile.
                        (Ok(_) | Err(CallError::NotFound(_)), ..) => {}
                        (Err(error), ..) => {
                            tracing::warn!(%session, %error, "another node asks a session for something that fails");
                        }
                    },
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
                        Some(posted) = acts.recv() => {
                            number += 1;
                            cluster.answer_act(number, reply.as_deref(), posted).await;
                        }
                        outcome = &mut outcome => break outcome,
                    }
                },
            };
            while let Ok(posted) = acts.try_recv() {
                number += 1;
                cluster.answer_act(number, reply.as_deref(), posted).await;
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
        if answer.is_none_or(waits) { Ok(()) } else { Err(message_has_ended()) }
    }

    /// Answers an act of a message that has ended. `reply` is where its node waits for the result.
    pub(super) fn refuse_act(&self, reply: String) {
        let result = Entries::Error(message_has_ended());
        let answer = Answer { node: self.info.lock().id.clone(), number: 0, result }.write();
        if !answer.is_ok_and(|bytes| self.link.queue(Outgoing { subject: reply, reply: None, bytes })) {
            self.link.counts.unsent.inc();
        }
    }

    async fn answer_act(&self, number: usize, answers: Option<&str>, Posted { act, reply, _room }: Posted) {
        let node = self.info.lock().id.clone();
        let Some(answers) = answers else { return };
        if let Ok(bytes) = (Answer { node, number, result: Entries::Act(act) }).write() {
            self.publish(answers.to_owned(), reply, bytes).await;
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
