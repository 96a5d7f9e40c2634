//! Calls and broadcasts to other nodes: the port [`Peers`].
//!
//! A call ends with its answer, or at once when the node or the connection is lost: with
//! `unavailable` if nothing was sent, else with `crashed`, because the call may have run. Dispatch
//! ends it at its deadline.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Instant;

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Cluster;
use super::gathering::{collect, entries_of};
use super::link::Outgoing;
use super::presence::{Phase, Reachable};
use super::waiting::Answers;
use super::wire::{Answer, Cast, Entries, Request, Sender};
use crate::call::text::{NAME, line};
use crate::call::{
    CallError, CallResult, ChannelAnswer, ChannelRequest, DeclaredChannel, GatherEntry, IsolateId, Peer, PeerBroadcast,
    PeerCall, Skipped,
};
use crate::config::MAX_SERVERS;
use crate::ports::{BoxFuture, Forward, Peers, Reached, Wanted};

/// A call that is ready to be sent.
pub(super) struct Ready {
    client: async_nats::Client,
    subject: String,
    reply: String,
    bytes: Bytes,
    answers: Answers,
    node: Reachable,
    lost: CancellationToken,
    sending: TaskTrackerToken,
}

/// Finds a node that a request is for.
pub(super) type Find = fn(&Cluster, &str) -> Result<Reachable, CallError>;

fn was_lost(node: &str) -> CallError {
    CallError::Unavailable(format!("node {} was lost", line(node, NAME)))
}

impl Cluster {
    pub(super) fn sender(&self) -> Sender {
        let info = self.info.lock();
        Sender { node: info.id.clone(), boot: info.boot.clone() }
    }

    /// The connection, or why nothing can be sent.
    pub(super) fn client(&self) -> Result<&async_nats::Client, CallError> {
        if self.conflict.load(Acquire) {
            let why = "another node has the id of this node, so that it does not take part in the cluster";
            return Err(CallError::Unavailable(why.to_owned()));
        }
        self.link.up_client().ok_or_else(|| {
            let reason = self.link.state().1.map(|reason| format!(": {reason}")).unwrap_or_default();
            CallError::Unavailable(format!("this node is not connected to NATS{reason}"))
        })
    }

    fn too_large(&self, bytes: &Bytes) -> Result<(), CallError> {
        let most = self.link.max_payload();
        if bytes.len() <= most {
            return Ok(());
        }
        Err(CallError::Invalid(format!(
            "the call has {} bytes between nodes, and max_payload of the NATS server allows {most}",
            bytes.len()
        )))
    }

    pub(super) fn reachable(&self, node: &str) -> Result<Reachable, CallError> {
        self.view.load().nodes.get(node).cloned().ok_or_else(|| was_lost(node))
    }

    /// Another node, also a frontend that is about to stop.
    pub(super) fn neighbor(&self, node: &str) -> Result<Reachable, CallError> {
        let view = self.view.load();
        let found = view.nodes.get(node).or_else(|| view.frontends.get(node)).cloned();
        found.ok_or_else(|| was_lost(node))
    }

    pub(super) fn waits(&self, count: usize) -> Result<Answers, CallError> {
        let most = self.config.max_waiting;
        self.waiting.begin(count, most).ok_or_else(|| {
            self.link.counts.waiting_refused.inc();
            CallError::Overloaded(format!("{most} calls wait for other nodes, as many as cluster.maxWaiting allows"))
        })
    }

    /// Prepares a request that is answered.
    pub(super) fn ready_with(&self, node: &str, request: impl FnOnce(Sender) -> Request) -> Result<Ready, CallError> {
        self.ready_for(1, (node, Cluster::reachable), request)
    }

    /// Prepares a request that has up to `answers` answers.
    pub(super) fn ready_for(
        &self,
        answers: usize,
        (node, find): (&str, Find),
        request: impl FnOnce(Sender) -> Request,
    ) -> Result<Ready, CallError> {
        let client = self.client()?.clone();
        let sending = self.sending.begin();
        let (lost, node) = (self.link.lost(), find(self, node)?);
        let sender = self.sender();
        let subject = self.subjects.calls(&node.peer.id);
        let boot = sender.boot.clone();
        let bytes = request(sender).write()?;
        self.too_large(&bytes)?;
        let answers = self.waits(answers)?;
        let reply = self.subjects.answer(&boot, answers.token);
        Ok(Ready { client, subject, reply, bytes, answers, node, lost, sending })
    }

    /// Queues a request. Requests to a node arrive in the order of these calls.
    pub(super) fn queue_request(&self, node: &str, request: impl FnOnce(Sender) -> Request) -> Result<Sent, CallError> {
        self.expect_answer((node, Cluster::reachable), |reply| {
            let bytes = request(self.sender()).write()?;
            self.too_large(&bytes)?;
            let outgoing = Outgoing { subject: self.subjects.calls(node), reply: Some(reply), bytes };
            let full = || CallError::Overloaded("cluster.queue has no room for further messages".to_owned());
            self.link.queue(outgoing).then_some(()).ok_or_else(full)
        })
    }

    /// Waits for the answer to what `queue` queues for a node. It gets the subject of the answer.
    pub(super) fn expect_answer(
        &self,
        (node, find): (&str, Find),
        queue: impl FnOnce(String) -> Result<(), CallError>,
    ) -> Result<Sent, CallError> {
        self.client()?;
        let _sending = self.sending.begin();
        let (lost, node) = (self.link.lost(), find(self, node)?);
        let answers = self.waits(1)?;
        queue(self.subjects.answer(&self.boot(), answers.token))?;
        node.counts.sent.fetch_add(1, Relaxed);
        let _in_flight = InFlight::begin(&node);
        Ok(Sent { answers, node, lost, begun: Instant::now(), _in_flight })
    }

    /// Sends a broadcast. Its subject keeps the order of the calls of this function, which the
    /// caller makes one after another for each module.
    fn cast(&self, broadcast: PeerBroadcast, reply: Option<String>) -> Result<(), CallError> {
        self.client()?;
        let mut numbers = self.numbers.lock();
        let last = numbers.entry(broadcast.module.clone()).or_default();
        let subject = self.subjects.broadcasts(&broadcast.module);
        let cast = Cast { from: self.sender(), number: *last + 1, gather: reply.is_some(), broadcast };
        let bytes = cast.write()?;
        self.too_large(&bytes)?;
        if !self.link.queue(Outgoing { subject, reply, bytes }) {
            return Err(CallError::Overloaded("cluster.queue has no room for further broadcasts".to_owned()));
        }
        *last += 1;
        Ok(())
    }

    pub(super) fn holding(&self, module: &str) -> Vec<Reachable> {
        let view = self.view.load();
        let holders = view.holders.get(module).into_iter().flatten();
        holders.filter_map(|peer| view.nodes.get(&*peer.id).cloned()).collect()
    }
}

/// A call that was sent.
pub(super) struct Sent {
    answers: Answers,
    node: Reachable,
    lost: CancellationToken,
    begun: Instant,
    _in_flight: InFlight,
}

impl Ready {
    pub(super) async fn outcome(self) -> Result<Vec<GatherEntry>, CallError> {
        self.send().await?.next().await?.into()
    }

    pub(super) async fn send(self) -> Result<Sent, CallError> {
        let Ready { client, subject, reply, bytes, answers, node, lost, sending } = self;
        let in_flight = InFlight::begin(&node);
        let begun = Instant::now();
        let sent = client.publish_with_reply(subject, reply, bytes);
        tokio::select! {
            biased;
            sent = sent => sent.map_err(|error| CallError::Unavailable(format!("NATS: {error}")))?,
            () = lost.cancelled() => {
                return Err(CallError::Unavailable("the connection to NATS was lost".to_owned()));
            }
        }
        drop(sending);
        node.counts.sent.fetch_add(1, Relaxed);
        Ok(Sent { answers, node, lost, begun, _in_flight: in_flight })
    }
}

impl Sent {
    /// Receives nothing further. Returns where nodes wait for an answer to what has arrived.
    pub(super) fn end(&mut self) -> Vec<String> {
        self.answers.end().filter_map(|message| message.reply).map(|reply| reply.to_string()).collect()
    }

    /// The next answer. Fails once there will be none.
    pub(super) async fn next(&mut self) -> Result<Entries, CallError> {
        Ok(self.next_numbered().await?.result)
    }

    /// The same, with its place among the answers to a client's message.
    pub(super) async fn next_numbered(&mut self) -> Result<Received, CallError> {
        let id = self.node.peer.id.clone();
        let may_have_run = |what: &str| Err(CallError::Crashed(format!("{what}; the call may have run")));
        tokio::select! {
            biased;
            answer = self.answers.next() => {
                self.node.counts.answered(self.begun.elapsed());
                read(&id, answer)
            }
            () = self.node.gone.cancelled() => may_have_run(&format!("node {id} was lost")),
            () = self.lost.cancelled() => may_have_run("the connection to NATS was lost"),
        }
    }
}

/// An answer of a node.
pub(super) struct Received {
    /// Its place among the answers to a client's message.
    pub(super) number: usize,
    pub(super) result: Entries,
    /// Where the node waits for an answer in its turn.
    pub(super) reply: Option<String>,
}

/// Reads an answer of a node.
fn read(node: &str, answer: Option<Message>) -> Result<Received, CallError> {
    let Some(message) = answer else { return Err(CallError::Crashed(format!("node {node} lost a call"))) };
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(CallError::Unavailable(format!("node {node} was lost")));
    }
    let answer = Answer::read(&message.payload);
    let unreadable = |error| CallError::Crashed(format!("the answer of node {node} cannot be read: {error}"));
    let Answer { number, result, .. } = answer.map_err(unreadable)?;
    Ok(Received { number, result, reply: message.reply.map(|reply| reply.to_string()) })
}

/// A call that waits for a node.
pub(super) struct InFlight(Reachable);

impl InFlight {
    pub(super) fn begin(node: &Reachable) -> InFlight {
        node.counts.in_flight.fetch_add(1, Relaxed);
        InFlight(node.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.counts.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Peers for Cluster {
    fn nodes(&self) -> Vec<Peer> {
        self.view.load().nodes.values().map(|node| node.peer.clone()).collect()
    }

    fn missing(&self, wanted: Wanted<'_>) -> Option<CallError> {
        self.client().err().or_else(|| self.absent(wanted))
    }

    fn forward(&self, node: &str, forward: Forward) -> BoxFuture<CallResult> {
        self.send_message(node, forward)
    }

    fn unrouted(&self, server: &str, why: &CallError) {
        self.count_unrouted(server, why);
    }

    fn holders(&self, module: &str) -> Vec<Peer> {
        self.view.load().holders.get(module).cloned().unwrap_or_default()
    }

    fn declaring(&self, channel: &str) -> Vec<((bool, usize), Peer)> {
        self.view.load().channels.find(channel)
    }

    fn declared(&self, channel: &str) -> Option<Result<DeclaredChannel, CallError>> {
        self.view.load().channels.rule(channel)
    }

    fn ask_home(&self, node: &str, request: ChannelRequest) -> BoxFuture<Result<ChannelAnswer, CallError>> {
        self.send_channel_request(node, request)
    }

    fn is_leaving(&self) -> bool {
        matches!(*self.phase.lock(), Phase::Leaving | Phase::Left)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn call(&self, node: &str, call: PeerCall) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        match self.ready_with(node, |sender| Request::Call(sender, call)) {
            Ok(ready) => Box::pin(ready.outcome()),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn notify(&self, node: &str, call: PeerCall) -> Result<(), CallError> {
        self.client()?;
        let _sending = self.sending.begin();
        let node = self.reachable(node)?;
        let subject = self.subjects.calls(&node.peer.id);
        let bytes = Request::Notify(self.sender(), call).write()?;
        self.too_large(&bytes)?;
        if !self.link.queue(Outgoing { subject, reply: None, bytes }) {
            return Err(CallError::Overloaded("cluster.queue has no room for further calls".to_owned()));
        }
        node.counts.sent.fetch_add(1, Relaxed);
        Ok(())
    }

    fn broadcast(&self, broadcast: PeerBroadcast) -> Reached {
        let holders = self.holding(&broadcast.module);
        if holders.is_empty() {
            return Reached::default();
        }
        match self.cast(broadcast, None) {
            Ok(()) => {
                holders.iter().for_each(|node| _ = node.counts.sent.fetch_add(1, Relaxed));
                Reached { nodes: u32::try_from(holders.len()).unwrap_or(u32::MAX), skipped: Vec::new() }
            }
            Err(error) => {
                let skipped = |node: &Reachable| Skipped {
                    isolate: IsolateId::Worker(0),
                    node: Some(node.peer.id.to_string()),
                    reason: error.to_string(),
                };
                Reached { nodes: 0, skipped: holders.iter().map(skipped).collect() }
            }
        }
    }

    fn is_durable(&self, module: &str, broadcast: &str) -> bool {
        let declares = |node: &Reachable| node.info.durable.get(module).is_some_and(|names| names.contains(broadcast));
        self.holding(module).iter().any(declares)
    }

    fn queue_durable(&self, broadcast: PeerBroadcast) -> Result<(), CallError> {
        self.queue_for_stream(broadcast)
    }

    fn keep(&self, broadcast: PeerBroadcast) -> BoxFuture<Result<u64, CallError>> {
        self.keep_in_stream(broadcast)
    }

    fn gather(&self, broadcast: PeerBroadcast) -> BoxFuture<Vec<GatherEntry>> {
        let left = broadcast.envelope.left;
        let holders = self.holding(&broadcast.module);
        let all = |error: CallError| -> BoxFuture<Vec<GatherEntry>> {
            let entries = holders.iter().flat_map(|node| entries_of(&node.peer, &error)).collect();
            Box::pin(std::future::ready(entries))
        };
        if holders.is_empty() {
            return Box::pin(std::future::ready(Vec::new()));
        }
        let lost = self.link.lost();
        // A node that is about to stop, or has just begun, may answer, too.
        let answers = match self.waits(MAX_SERVERS) {
            Ok(answers) => answers,
            Err(error) => return all(error),
        };
        let reply = self.subjects.answer(&self.boot(), answers.token);
        if let Err(error) = self.cast(broadcast, Some(reply)) {
            return all(error);
        }
        holders.iter().for_each(|node| _ = node.counts.sent.fetch_add(1, Relaxed));
        let until = tokio::time::Instant::now() + left;
        Box::pin(collect(answers, holders, lost, until))
    }
}
