//! Requests to several nodes at once, and to one in the order of the queue.

use std::time::{Duration, Instant};

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::Cluster;
use super::calls::InFlight;
use super::link::Outgoing;
use super::presence::Reachable;
use super::subjects;
use super::waiting::Answers;
use super::wire::{Answer, Request};
use crate::call::{CallError, GatherEntry, Reply};

/// A request that is written, and the node that it is for.
pub(super) type Question = (Reachable, Bytes);

/// Why there is no answer of a node.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The node was lost.
    Gone,
    /// The connection to NATS was lost.
    Cut,
    /// The time is over.
    Late,
    /// The node refused.
    Refused(CallError),
}

/// Requests that were queued. They wait for an answer of each node.
pub(super) struct Asked {
    answers: Answers,
    nodes: Vec<Reachable>,
    lost: CancellationToken,
    begun: Instant,
}

impl Cluster {
    /// Writes a request, unless it is too large for NATS.
    pub(super) fn written(&self, request: Request) -> Result<Bytes, CallError> {
        let (bytes, most) = (request.write()?, self.link.max_payload());
        if bytes.len() <= most {
            return Ok(bytes);
        }
        Err(CallError::Invalid(format!(
            "the message has {} bytes between nodes, and max_payload of the NATS server allows {most}",
            bytes.len()
        )))
    }

    /// Queues requests that need no answer: all, or none if this fails.
    pub(super) fn tell_each(&self, questions: Vec<Question>) -> Result<(), CallError> {
        let nodes: Vec<Reachable> = questions.iter().map(|(node, _)| node.clone()).collect();
        self.queue_each(questions, |_| None)?;
        sent_to(&nodes);
        Ok(())
    }

    /// Queues requests: all, or none if this fails. They arrive at a node in the order in which
    /// they were queued.
    pub(super) fn ask_each(&self, questions: Vec<Question>) -> Result<Asked, CallError> {
        let asked = self.ask_with(self.waits(questions.len())?, questions)?;
        sent_to(&asked.nodes);
        Ok(asked)
    }

    /// Queues a request of the host itself. Each node gets one at a time. It counts neither
    /// as a call nor in `cluster.maxWaiting`.
    pub(super) fn ask_beside(&self, question: Question) -> Result<Asked, CallError> {
        self.ask_with(self.waiting.begin_beside(), vec![question])
    }

    fn ask_with(&self, answers: Answers, questions: Vec<Question>) -> Result<Asked, CallError> {
        self.client()?;
        let lost = self.link.lost();
        let nodes: Vec<Reachable> = questions.iter().map(|(node, _)| node.clone()).collect();
        let (boot, token) = (self.boot(), answers.token);
        self.queue_each(questions, |index| Some(self.subjects.answer_of(&boot, token, index)))?;
        Ok(Asked { answers, nodes, lost, begun: Instant::now() })
    }

    fn queue_each(&self, questions: Vec<Question>, reply: impl Fn(usize) -> Option<String>) -> Result<(), CallError> {
        let outgoing = |(index, (node, bytes)): (usize, Question)| {
            let subject = self.subjects.calls(&node.peer.id);
            Outgoing { subject, reply: reply(index), bytes }
        };
        match self.link.queue_all(questions.into_iter().enumerate().map(outgoing).collect()) {
            true => Ok(()),
            false => Err(CallError::Overloaded("cluster.queue has no room for further messages".to_owned())),
        }
    }
}

fn sent_to(nodes: &[Reachable]) {
    use std::sync::atomic::Ordering::Relaxed;
    nodes.iter().for_each(|node| _ = node.counts.sent.fetch_add(1, Relaxed));
}

impl Asked {
    /// Resolves with what each node has answered, at the latest after this time.
    pub(super) async fn outcomes(mut self, within: Duration) -> Vec<(Reachable, Result<Reply, Unanswered>)> {
        let _in_flight: Vec<InFlight> = self.nodes.iter().map(InFlight::begin).collect();
        let mut outcomes: Vec<Option<Result<Reply, Unanswered>>> = self.nodes.iter().map(|_| None).collect();
        let gone = |(index, node): (usize, &Reachable)| {
            let gone = node.gone.clone();
            async move {
                gone.cancelled().await;
                index
            }
        };
        let mut gone: FuturesUnordered<_> = self.nodes.iter().enumerate().map(gone).collect();
        let over = tokio::time::sleep(within);
        tokio::pin!(over);
        let mut open = outcomes.len();
        let rest = loop {
            if open == 0 {
                break Unanswered::Late;
            }
            let (index, outcome) = tokio::select! {
                biased;
                answer = self.answers.next() => {
                    let Some(message) = answer else { break Unanswered::Cut };
                    let Some(index) = subjects::index_of(&message.subject) else { continue };
                    if let Some(node) = self.nodes.get(index) {
                        node.counts.answered(self.begun.elapsed());
                    }
                    (index, read(&message))
                }
                Some(index) = gone.next() => (index, Err(Unanswered::Gone)),
                () = self.lost.cancelled() => break Unanswered::Cut,
                () = &mut over => break Unanswered::Late,
            };
            if let Some(place) = outcomes.get_mut(index).filter(|place| place.is_none()) {
                *place = Some(outcome);
                open -= 1;
            }
        };
        let missing = || match rest {
            Unanswered::Cut => Unanswered::Cut,
            _ => Unanswered::Late,
        };
        let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(missing())));
        self.nodes.iter().cloned().zip(outcomes).collect()
    }
}

/// Reads an answer of a node.
fn read(message: &Message) -> Result<Reply, Unanswered> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(Unanswered::Gone);
    }
    let malformed = |why: String| Unanswered::Refused(CallError::Crashed(format!("the answer cannot be read: {why}")));
    let answer = Answer::read(&message.payload).map_err(|error| malformed(error.to_string()))?;
    let entries: Result<Vec<GatherEntry>, CallError> = answer.result.into();
    let entry = entries.map_err(Unanswered::Refused)?.pop().ok_or_else(|| malformed("it is empty".to_owned()))?;
    entry.outcome.map_err(Unanswered::Refused)
}
