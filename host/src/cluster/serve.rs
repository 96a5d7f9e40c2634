//! Serves the calls of other nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use async_nats::Message;
use bytes::Bytes;
use futures_util::StreamExt;

use super::Cluster;
use super::census_request::CensusRequest;
use super::counted::COUNTS;
use super::join::MEETS;
use super::settle::SETTLES;
use super::wire::{Answer, Entries, Request};
use crate::call::text::{MESSAGE, line};
use crate::call::{CallError, GatherEntry};
use crate::ports::BoxFuture;

impl Cluster {
    /// Begins to receive calls, and questions for the facts about this node.
    pub(super) async fn serve_calls(self: &Arc<Self>) -> Result<(), async_nats::Error> {
        let client = self.link.up_client().ok_or("the connection to NATS was lost meanwhile")?;
        let id = self.info.lock().id.clone();
        let mut calls = client.subscribe(self.subjects.calls(&id)).await?;
        let mut questions = client.subscribe(self.subjects.info(&id)).await?;
        let (cluster, stop) = (self.clone(), self.end.child_token());
        self.serve_stops(client, &id, stop.clone()).await?;
        // A node that hears of this one can call it.
        client.flush().await?;
        *self.stop_serving.lock() = stop.clone();
        let end = stop.clone();
        tokio::spawn(async move {
            let receive = cluster.calls.read(&mut calls, |message| cluster.on_call(message));
            end.run_until_cancelled(receive).await
        });
        let cluster = self.clone();
        tokio::spawn(async move {
            let receive = async {
                while let Some(message) = questions.next().await {
                    let Some(reply) = message.reply.map(|reply| reply.to_string()) else { continue };
                    if let Some(boot) = message.payload.strip_prefix(COUNTS) {
                        let (cluster, boot) = (cluster.clone(), message.payload.slice_ref(boot));
                        tokio::spawn(async move { cluster.answer_whether_it_counts(&boot, reply).await });
                        continue;
                    }
                    if &*message.payload == SETTLES {
                        let cluster = cluster.clone();
                        tokio::spawn(async move { cluster.answer_settled(reply).await });
                        continue;
                    }
                    if &*message.payload == MEETS {
                        cluster.met.store(true, Release);
                        cluster.repeat_last();
                    }
                    cluster.send(reply, cluster.facts()).await;
                }
            };
            stop.run_until_cancelled(receive).await
        });
        Ok(())
    }

    /// Receives no further calls, because the id belongs to another node.
    pub(super) fn stop_serving(&self) {
        self.stop_serving.lock().cancel();
    }

    fn on_call(self: &Arc<Self>, message: Message) {
        let reply = message.reply.map(|reply| reply.to_string());
        let refuse = |error: CallError| {
            let (cluster, reply) = (self.clone(), reply.clone());
            tokio::spawn(async move {
                if let Some(reply) = reply {
                    cluster.answer(reply, Entries::Error(error)).await;
                }
            });
        };
        let request = match Request::read(&message.payload) {
            Ok(request) => request,
            Err(error) => {
                self.link.counts.malformed.inc();
                return refuse(CallError::Invalid(format!("a message between nodes cannot be read: {error}")));
            }
        };
        let Some(dispatch) = self.node.dispatch() else { return refuse(CallError::stopping()) };
        match request {
            Request::Notify(from, call) => {
                self.count_received(&from.node);
                let route = call.route.clone();
                if let Err(error) = dispatch.on_peer_notify(call) {
                    let error = line(&error.to_string(), MESSAGE);
                    tracing::warn!(%route, from = %from.node, %error, "a call of another node was refused");
                }
            }
            Request::Call(from, call) => self.serve_request(&from.node, reply, |_| dispatch.on_peer_call(call)),
            Request::Message(from, message) => self.serve_message(&from, reply, *message, &dispatch),
            Request::Apply(from, values) => self.serve_request(&from.node, reply, |cluster| {
                let applied = cluster.check_waits(values.answer.as_deref());
                let applied = applied.and_then(|()| dispatch.on_peer_apply(values)).map(|()| Vec::new());
                Box::pin(std::future::ready(applied))
            }),
            Request::Sessions(from, request) if reply.is_none() => {
                self.count_received(&from.node);
                // A push, whose work is done when this returns.
                drop(self.on_session_request(request));
            }
            Request::Sessions(from, request) => {
                self.serve_request(&from.node, reply, |cluster| cluster.on_session_request(request));
            }
            Request::Channel(from, request) => {
                self.serve_request(&from.node, reply, |cluster| cluster.on_channel_request(request));
            }
            Request::Census(from, request @ CensusRequest::Batch { .. }) => {
                let (cluster, outcome) = (self.clone(), self.on_census(&from, request));
                tokio::spawn(async move {
                    let result = outcome.await.into();
                    if let Some(reply) = reply {
                        cluster.answer(reply, result).await;
                    }
                });
            }
            Request::Census(from, request) => {
                self.serve_request(&from.node, reply, |cluster| cluster.on_census(&from, request));
            }
            Request::Step(from, step) => self.serve_request(&from.node, reply, |cluster| cluster.on_step(step)),
        }
    }

    /// Serves a request of another node, unless too many of them run.
    fn serve_request(
        self: &Arc<Self>,
        from: &str,
        reply: Option<String>,
        run: impl FnOnce(&Cluster) -> BoxFuture<Result<Vec<GatherEntry>, CallError>>,
    ) {
        self.count_received(from);
        let serving = Serving::begin(self);
        let entries = match serving.refused() {
            Some(error) => Box::pin(std::future::ready(Err(error))),
            None => run(self),
        };
        let cluster = self.clone();
        tokio::spawn(async move {
            let answer = entries.await.into();
            if let Some(reply) = reply {
                cluster.answer(reply, answer).await;
            }
            drop(serving);
        });
    }

    /// Sends an answer. One that is too large for NATS becomes an error.
    pub(super) async fn answer(&self, reply: String, result: Entries) {
        self.answer_as(0, reply, result).await;
    }

    /// The same, with the place among the answers to a client's message.
    pub(super) async fn answer_as(&self, number: usize, reply: String, result: Entries) {
        let most = self.link.max_payload();
        let node = self.info.lock().id.clone();
        let bytes = Answer { node: node.clone(), number, result }.write().and_then(|bytes| match bytes.len() > most {
            true => Err(CallError::Invalid(format!(
                "the reply has {} bytes between nodes, and max_payload of the NATS server allows {most}",
                bytes.len()
            ))),
            false => Ok(bytes),
        });
        let bytes = bytes.or_else(|error| Answer { node, number, result: Entries::Error(error) }.write());
        if let Ok(bytes) = bytes {
            self.send(reply, bytes).await;
        }
    }

    pub(super) async fn send(&self, subject: String, bytes: Bytes) {
        self.publish(subject, None, bytes).await;
    }

    /// Sends a message, to which `reply` is the subject of the answer.
    pub(super) async fn publish(&self, subject: String, reply: Option<String>, bytes: Bytes) {
        let Some(client) = self.link.up_client() else {
            self.link.counts.unsent.inc();
            return;
        };
        let sent = match reply {
            Some(reply) => client.publish_with_reply(subject, reply, bytes).await,
            None => client.publish(subject, bytes).await,
        };
        if sent.is_err() {
            self.link.counts.unsent.inc();
        }
    }

    pub(super) fn count_received(&self, node: &str) {
        if let Some(reachable) = self.view.load().nodes.get(node) {
            reachable.counts.received.fetch_add(1, Relaxed);
        }
    }
}

/// A call of another node that runs.
pub(super) struct Serving {
    cluster: Arc<Cluster>,
    /// The calls that run, with this one.
    count: u32,
}

impl Serving {
    pub(super) fn begin(cluster: &Arc<Cluster>) -> Serving {
        let count = cluster.serving.fetch_add(1, AcqRel).saturating_add(1);
        Serving { cluster: cluster.clone(), count }
    }

    /// The error of a call beyond `cluster.maxServing`.
    pub(super) fn refused(&self) -> Option<CallError> {
        let limit = self.cluster.config.max_serving;
        if self.count <= limit {
            return None;
        }
        self.cluster.link.counts.serving_refused.inc();
        let id = self.cluster.info.lock().id.clone();
        let why = format!("node {id} runs {limit} calls of other nodes, as many as its cluster.maxServing allows");
        Some(CallError::Overloaded(why))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.cluster.serving.fetch_sub(1, AcqRel);
    }
}
