//! Reloads and rollbacks over the nodes: the port [`Rollouts`].
//!
//! Nodes change a module one after another. A node whose turn it is writes its boot id and the next
//! term into the module's value in the bucket. When the node is gone, another one takes the turn
//! over with the next term. A node whose term is over does not switch.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Cluster;
use super::bucket::{Edit, key};
use super::wire::Request;
use crate::call::text::{MESSAGE, line};
use crate::call::{CallError, GatherEntry, IsolateId, NodeReload, Payload, ReloadOutcome, Reply, RolloutStep};
use crate::ports::{BoxFuture, Known, Rejection, Rollouts, Turn, Verdict};

/// The time between two questions whether the turn of another node is over.
const POLL: Duration = Duration::from_millis(50);

/// The time between two attempts to end a turn.
const RETRY: Duration = Duration::from_secs(1);

/// What the nodes know about a module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rollout {
    /// Counts the turns.
    term: u64,
    holder: Option<Holder>,
    /// The digest that a node has taken last.
    accepted: Option<String>,
    rejected: Option<Rejected>,
    pinned: Option<Pinned>,
}

/// The node whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    node: String,
    boot: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rejected {
    generation: String,
    node: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pinned {
    generation: String,
    folder: String,
    /// The last term when it was pinned. The end of that turn may be written later, and keeps it.
    #[serde(default)]
    term: u64,
}

/// The result of a step on another node.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    outcome: ReloadOutcome,
    generation: Option<String>,
}

impl Rollout {
    fn known(&self) -> Known {
        Known {
            accepted: self.accepted.clone(),
            rejected: self.rejected.clone().map(|Rejected { generation, node, reason }| Rejection {
                generation,
                node,
                reason,
            }),
            pinned: self.pinned.clone().map(|pin| (pin.generation, pin.folder)),
        }
    }

    /// Takes the turn, unless a node has it that is not in `gone`. Returns the term, or the node.
    fn take(&mut self, own: &Holder, gone: Option<&str>) -> (Edit, Result<u64, Holder>) {
        match &self.holder {
            Some(holder) if holder.boot != own.boot && gone != Some(&holder.boot) => (Edit::Keep, Err(holder.clone())),
            _ => {
                self.term += 1;
                self.holder = Some(own.clone());
                (Edit::Write, Ok(self.term))
            }
        }
    }

    /// Pins a generation, or none.
    fn pin(&mut self, pinned: Option<(String, String)>) {
        let term = self.term;
        self.pinned = pinned.map(|(generation, folder)| Pinned { generation, folder, term });
    }

    /// Ends the turn of a term, if it is not over yet.
    fn end(&mut self, own: &Holder, term: u64, verdict: Option<Verdict>) -> Edit {
        if self.term != term || self.holder.as_ref() != Some(own) {
            return Edit::Keep;
        }
        self.holder = None;
        match verdict {
            Some(Verdict::Accepted(generation)) => {
                self.pinned.take_if(|pinned| pinned.term < term);
                (self.rejected, self.accepted) = (None, Some(generation));
            }
            Some(Verdict::Rejected { generation, reason }) => {
                self.rejected = Some(Rejected { generation, node: own.node.clone(), reason });
            }
            None => {}
        }
        Edit::Write
    }
}

fn key_of(module: &str) -> String {
    key(&["rollout", module])
}

impl Cluster {
    fn own_holder(&self) -> Holder {
        let info = self.info.lock();
        Holder { node: info.id.clone(), boot: info.boot.clone() }
    }

    async fn take_turn(&self, module: &str) -> Turn {
        let (key, own) = (key_of(module), self.own_holder());
        // The boot id of the node whose turn it is, and since when this node does not see it.
        let mut missing: Option<(String, Instant)> = None;
        let mut waits = false;
        loop {
            let gone = missing.as_ref().filter(|(_, since)| since.elapsed() >= self.config.gone_after);
            let gone = gone.map(|(boot, _)| boot.clone());
            let taken = self.change(&key, |rollout: &mut Rollout| {
                let (edit, taken) = rollout.take(&own, gone.as_deref());
                (edit, taken.map(|term| (term, rollout.known())))
            });
            match taken.await {
                Ok(Ok((term, known))) => return self.turn_of(module, own, term, known),
                Ok(Err(holder)) => {
                    if !std::mem::replace(&mut waits, true) {
                        tracing::info!(module, node = %holder.node, "waits for another node to change the module");
                    }
                    missing = match missing.take() {
                        _ if self.is_there(&holder.boot) => None,
                        Some((boot, since)) if boot == holder.boot => Some((boot, since)),
                        _ => Some((holder.boot, Instant::now())),
                    };
                }
                Err(error) => {
                    tracing::warn!(module, %error, "this node changes the module alone, because it does not reach the others");
                    return Turn::alone();
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn turn_of(&self, module: &str, own: Holder, term: u64, known: Known) -> Turn {
        let (verdict, ended) = oneshot::channel();
        let (cluster, key) = (self.me.clone(), key_of(module));
        let (end, ends) = (key.clone(), own.clone());
        if let Some(links) = self.links.get() {
            let (cluster, stop) = (cluster.clone(), self.end.clone());
            let release = async move {
                let verdict = ended.await.ok();
                loop {
                    let Some(cluster) = cluster.upgrade() else { return };
                    let over = |rollout: &mut Rollout| (rollout.end(&ends, term, verdict.clone()), ());
                    match cluster.change(&end, over).await {
                        Ok(()) => return,
                        Err(error) => tracing::debug!(%error, key = end, "the end of a turn was not written"),
                    }
                    drop(cluster);
                    tokio::time::sleep(RETRY).await;
                }
            };
            links.spawn(stop.run_until_cancelled_owned(release));
        }
        let confirm = move || -> BoxFuture<Result<(), String>> {
            let (cluster, key) = (cluster.clone(), key.clone());
            Box::pin(async move {
                let Some(cluster) = cluster.upgrade() else { return Ok(()) };
                let has_turn = |rollout: &mut Rollout| {
                    let holder = rollout.holder.as_ref().map(|holder| format!("node {}", holder.node));
                    let other = holder.unwrap_or_else(|| "another node".to_owned());
                    let result = if rollout.term == term { Ok(()) } else { Err(other) };
                    (Edit::Keep, result)
                };
                // A node that cannot ask continues alone.
                cluster.change(&key, has_turn).await.unwrap_or(Ok(()))
            })
        };
        Turn::of_cluster(known, verdict, confirm)
    }

    /// Asks another node to do a step, and waits for it as long as the node is there.
    async fn step_on(&self, node: &str, step: RolloutStep) -> NodeReload {
        let done = async {
            let ready = self.ready_with(node, |sender| Request::Step(sender, step))?;
            let entries = ready.outcome().await?;
            let reply = entries.into_iter().next().map(|entry| entry.outcome);
            let reply = reply.unwrap_or_else(|| Err(CallError::Crashed("the answer is empty".to_owned())))?;
            serde_json::from_slice::<Done>(reply.payload.as_bytes())
                .map_err(|error| CallError::Crashed(format!("the answer cannot be read: {error}")))
        };
        let node = node.to_owned();
        match done.await {
            Ok(Done { outcome, generation }) => {
                NodeReload { node, outcome: Some(outcome), generation, ..NodeReload::default() }
            }
            Err(error) => NodeReload { node, reason: Some(error.to_string()), ..NodeReload::default() },
        }
    }

    /// Does a step that another node has asked for.
    pub(super) fn on_step(&self, step: RolloutStep) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        let Some(reloads) = self.node.reloads() else {
            return Box::pin(std::future::ready(Err(CallError::stopping())));
        };
        let done = reloads.step(step);
        Box::pin(async move {
            let (outcome, generation) = done.await?;
            let done = serde_json::to_string(&Done { outcome, generation });
            let payload = done.map_err(|error| CallError::Invalid(error.to_string()))?;
            let reply = Reply { payload: Payload::Text(payload), ..Reply::default() };
            Ok(vec![GatherEntry { isolate: IsolateId::Master, node: None, outcome: Ok(reply) }])
        })
    }
}

impl Rollouts for Cluster {
    fn has_others(&self) -> bool {
        true
    }

    fn turn(&self, module: &str) -> BoxFuture<Turn> {
        let (cluster, module) = (self.me.upgrade(), module.to_owned());
        Box::pin(async move {
            match cluster {
                Some(cluster) => cluster.take_turn(&module).await,
                None => Turn::alone(),
            }
        })
    }

    fn known(&self, module: &str) -> BoxFuture<Result<Known, CallError>> {
        let (cluster, key) = (self.me.upgrade(), key_of(module));
        Box::pin(async move {
            let cluster = cluster.ok_or_else(CallError::stopping)?;
            cluster.change(&key, |rollout: &mut Rollout| (Edit::Keep, rollout.known())).await
        })
    }

    fn pin(&self, module: &str, generation: &str, folder: &str) -> BoxFuture<()> {
        let (cluster, key) = (self.me.upgrade(), key_of(module));
        let pinned = (generation != folder).then(|| (generation.to_owned(), folder.to_owned()));
        Box::pin(async move {
            let Some(cluster) = cluster else { return };
            let pin = |rollout: &mut Rollout| {
                rollout.pin(pinned.clone());
                (Edit::Write, ())
            };
            if let Err(error) = cluster.change(&key, pin).await {
                let error = line(&error.to_string(), MESSAGE);
                tracing::warn!(%error, key, "nodes that are away now will not learn of the rollback");
            }
        })
    }

    fn others(&self, step: RolloutStep) -> BoxFuture<Vec<NodeReload>> {
        let cluster = self.me.upgrade();
        Box::pin(async move {
            let Some(cluster) = cluster else { return Vec::new() };
            let nodes = cluster.holding(step.module()).into_iter().map(|node| node.info.id.clone());
            let mut results: Vec<NodeReload> = Vec::new();
            for node in nodes {
                let refused = results.iter().find(|result| result.outcome.is_none()).map(|result| &result.node);
                // A rollback has to reach every node that it can reach.
                let result = match (refused, &step) {
                    (Some(refused), RolloutStep::Reload { .. }) => {
                        let reason = format!("not asked, because {refused} did not reload");
                        NodeReload { node, reason: Some(reason), ..NodeReload::default() }
                    }
                    _ => cluster.step_on(&node, step.clone()).await,
                };
                results.push(result);
            }
            results
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(node: &str, boot: &str) -> Holder {
        Holder { node: node.into(), boot: boot.into() }
    }

    #[test]
    fn one_node_has_the_turn_and_its_successor_the_next_term() {
        let (a, b) = (holder("a", "1"), holder("b", "2"));
        let mut rollout = Rollout::default();
        assert_eq!(rollout.take(&a, None), (Edit::Write, Ok(1)));
        assert_eq!(rollout.take(&b, None), (Edit::Keep, Err(a.clone())));
        assert_eq!(rollout.take(&b, Some("other")), (Edit::Keep, Err(a.clone())));
        assert_eq!(rollout.take(&b, Some("1")), (Edit::Write, Ok(2)), "a is gone");
        assert_eq!(rollout.end(&a, 1, Some(Verdict::Accepted("x".into()))), Edit::Keep, "its term is over");
        assert_eq!((rollout.accepted.clone(), rollout.holder.clone()), (None, Some(b.clone())));
        assert_eq!(rollout.end(&b, 2, Some(Verdict::Accepted("x".into()))), Edit::Write);
        assert_eq!((rollout.accepted.as_deref(), rollout.holder), (Some("x"), None));
    }

    #[test]
    fn an_accepted_generation_ends_a_rejection_and_a_pin() {
        let a = holder("a", "1");
        let mut rollout = Rollout::default();
        rollout.pin(Some(("g".into(), "f".into())));
        let rejected = Verdict::Rejected { generation: "bad".into(), reason: "it traps".into() };
        _ = rollout.take(&a, None);
        assert_eq!(rollout.end(&a, 1, Some(rejected)), Edit::Write);
        let rejection = Rejection { generation: "bad".into(), node: "a".into(), reason: "it traps".into() };
        assert_eq!(rollout.known().rejected, Some(rejection));
        assert_eq!(rollout.known().pinned, Some(("g".into(), "f".into())));
        _ = rollout.take(&a, None);
        rollout.end(&a, 2, Some(Verdict::Accepted("good".into())));
        assert_eq!(rollout.known(), Known { accepted: Some("good".into()), ..Known::default() });
    }

    #[test]
    fn a_rollback_outlives_the_end_of_a_turn_that_is_written_after_it() {
        let a = holder("a", "1");
        let mut rollout = Rollout::default();
        _ = rollout.take(&a, None);
        rollout.pin(Some(("g".into(), "f".into())));
        assert_eq!(rollout.end(&a, 1, Some(Verdict::Accepted("f".into()))), Edit::Write);
        assert_eq!(rollout.known().pinned, Some(("g".into(), "f".into())));
    }
}
