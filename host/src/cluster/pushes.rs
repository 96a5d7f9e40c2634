//! Messages to the clients of all nodes.
//!
//! A push is one message for each other node that may have clients of its recipients: the node of a
//! session, or every node that clients connect to. It waits in `cluster.queue`, so that the pushes
//! of this node reach a client in their order.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Cluster;
use super::asking::{Asked, Question, Unanswered};
use super::session_request::{PushResult, SessionRequest};
use super::wire::Request;
use crate::call::{CallError, Pushed, Recipient, session};
use crate::ports::{BoxFuture, ClientEvent, Sessions};

/// The recipients of a push, each once, and the nodes that may have clients of them. Recipients
/// are meant by their places in the list.
struct Plan {
    to: Vec<Recipient>,
    /// Those that this node may have.
    here: Vec<usize>,
    /// Those that every other node may have.
    each: Vec<usize>,
    /// Those that only one other node may have.
    only: BTreeMap<String, Vec<usize>>,
}

impl Plan {
    /// `own` is this node.
    fn new(own: &str, to: impl IntoIterator<Item = Recipient>) -> Plan {
        let mut seen = HashSet::new();
        let to: Vec<Recipient> = to.into_iter().filter(|recipient| seen.insert(recipient.clone())).collect();
        let (mut here, mut each, mut only) = (Vec::new(), Vec::new(), BTreeMap::<String, Vec<usize>>::new());
        for (place, recipient) in to.iter().enumerate() {
            let node = match recipient {
                Recipient::Session(id) => session::node_of(id).unwrap_or(own),
                Recipient::UidOn(_, node) => node,
                Recipient::Uid(_) | Recipient::Group(_) | Recipient::Bound | Recipient::Everyone => {
                    each.push(place);
                    here.push(place);
                    continue;
                }
                Recipient::Other(..) => own,
            };
            if node == own {
                here.push(place);
            } else {
                only.entry(node.to_owned()).or_default().push(place);
            }
        }
        Plan { to, here, each, only }
    }

    fn is_local(&self) -> bool {
        self.each.is_empty() && self.only.is_empty()
    }

    /// The places of the recipients that another node may have.
    fn places_on(&self, node: &str) -> Vec<usize> {
        self.each.iter().chain(self.only.get(node).into_iter().flatten()).copied().collect()
    }

    fn recipients(&self, places: &[usize]) -> Vec<Recipient> {
        places.iter().filter_map(|place| self.to.get(*place).cloned()).collect()
    }
}

/// What the nodes have said about the recipients.
struct Tally {
    plan: Plan,
    /// For each recipient, whether a node has answered, and whether one of them has a session of
    /// it.
    found: Vec<(bool, bool)>,
    reached: u32,
    silent: BTreeSet<String>,
}

impl Tally {
    fn new(plan: Plan, silent: BTreeSet<String>) -> Tally {
        let found = vec![(false, false); plan.to.len()];
        Tally { plan, found, reached: 0, silent }
    }

    /// A node has answered about the recipients at these places. `unknown` are places in this list.
    fn add(&mut self, places: &[usize], result: &PushResult) {
        self.reached = self.reached.saturating_add(result.reached);
        let unknown: HashSet<usize> = result.unknown.iter().copied().collect();
        for (index, place) in places.iter().enumerate() {
            if let Some((answered, known)) = self.found.get_mut(*place) {
                *answered = true;
                *known |= !unknown.contains(&index);
            }
        }
    }

    /// A node that is not there has none of its recipients.
    fn add_missing(&mut self, node: &str) {
        let places = self.plan.only.get(node).cloned().unwrap_or_default();
        self.add(&places, &PushResult { reached: 0, unknown: (0..places.len()).collect() });
    }

    fn end(self) -> Pushed {
        let unknown = self.plan.to.into_iter().zip(self.found);
        let unknown = unknown.filter(|(_, found)| *found == (true, false)).map(|(recipient, _)| recipient);
        Pushed { reached: self.reached, unknown: unknown.collect(), silent: self.silent.into_iter().collect() }
    }
}

/// The messages of a push.
#[derive(Default)]
struct Messages {
    /// With the places of the recipients that are in each.
    questions: Vec<(Question, Vec<usize>)>,
    /// The nodes that cannot be asked.
    silent: BTreeSet<String>,
    /// The nodes of recipients that do not exist.
    missing: Vec<String>,
}

/// Sends a message to the sessions of this node.
pub(super) fn push_here(
    sessions: &dyn Sessions,
    to: Vec<Recipient>,
    event: ClientEvent,
) -> BoxFuture<Result<PushResult, CallError>> {
    let pushed = sessions.push(to.clone(), event);
    Box::pin(async move {
        let Pushed { reached, unknown, .. } = pushed.await?;
        let unknown: HashSet<Recipient> = unknown.into_iter().collect();
        let places = to.iter().enumerate().filter(|(_, recipient)| unknown.contains(*recipient));
        Ok(PushResult { reached, unknown: places.map(|(place, _)| place).collect() })
    })
}

impl Cluster {
    /// Writes the messages of a push.
    fn messages(&self, plan: &Plan, event: &ClientEvent) -> Result<Messages, CallError> {
        let mut messages = Messages::default();
        if plan.is_local() {
            return Ok(messages);
        }
        let view = self.view.load();
        if self.client().is_err() {
            messages.silent.extend(plan.only.keys().cloned());
            if !plan.each.is_empty() {
                messages.silent.extend(view.frontends.keys().cloned());
                messages.silent.extend(self.unmet_frontends());
            }
            return Ok(messages);
        }
        let incompatible = self.presence.lock().incompatible();
        let unmet = if self.has_met_all() { Vec::new() } else { self.unmet_frontends() };
        if !plan.each.is_empty() {
            messages.silent.extend(incompatible.iter().map(|(node, _)| node.clone()));
            messages.silent.extend(unmet.iter().cloned());
        }
        let write = |places: &[usize]| {
            let to = plan.recipients(places);
            self.written(Request::Sessions(self.sender(), SessionRequest::Push { to, event: event.into() }))
        };
        let mut same = None;
        for (id, node) in &view.frontends {
            let places = plan.places_on(id);
            if places.is_empty() {
                continue;
            }
            // Most nodes get the same message, which is written once.
            let has_own = plan.only.contains_key(id);
            let bytes = match same.clone().filter(|_| !has_own) {
                Some(bytes) => bytes,
                None => write(&places)?,
            };
            if !has_own {
                same.get_or_insert_with(|| bytes.clone());
            }
            messages.questions.push(((node.clone(), bytes), places));
        }
        for node in plan.only.keys().filter(|node| !view.frontends.contains_key(*node)) {
            if incompatible.iter().any(|(id, _)| id == node) || unmet.contains(node) {
                messages.silent.insert(node.clone());
            } else {
                messages.missing.push(node.clone());
            }
        }
        Ok(messages)
    }

    /// The nodes with clients that are gone, or have not come yet.
    pub(super) fn unmet_frontends(&self) -> Vec<String> {
        self.presence.lock().former.frontends().map(str::to_owned).collect()
    }

    /// Sends a message to the recipients on all nodes, and waits until the nodes have queued it. A
    /// message that cannot be sent reaches nobody.
    pub(super) fn push(
        &self,
        own: &dyn Sessions,
        to: Vec<Recipient>,
        event: ClientEvent,
    ) -> Result<BoxFuture<Result<Pushed, CallError>>, CallError> {
        let plan = Plan::new(&self.own.id, to);
        let Messages { questions, mut silent, missing } = self.messages(&plan, &event)?;
        let (questions, places): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
        let nodes: Vec<String> = questions.iter().map(|(node, _)| node.peer.id.to_string()).collect();
        let asked = match questions.is_empty() {
            true => None,
            false => match self.ask_each(questions) {
                // The connection was lost just now.
                Err(CallError::Unavailable(_)) => {
                    silent.extend(nodes);
                    None
                }
                asked => Some(asked?),
            },
        };
        let here = push_here(own, plan.recipients(&plan.here), event);
        let (within, link) = (self.config.gone_after, self.link.clone());
        Ok(Box::pin(async move {
            let mut tally = Tally::new(plan, silent);
            let here_places = tally.plan.here.clone();
            tally.add(&here_places, &here.await?);
            missing.iter().for_each(|node| tally.add_missing(node));
            let outcomes = match asked {
                Some(asked) => Asked::outcomes(asked, within).await,
                None => Vec::new(),
            };
            for ((node, outcome), places) in outcomes.into_iter().zip(places) {
                let result = outcome.and_then(|reply| {
                    let result = serde_json::from_str::<PushResult>(&reply.payload.to_text());
                    result.map_err(|error| Unanswered::Refused(CallError::Crashed(error.to_string())))
                });
                match result {
                    Ok(result) => tally.add(&places, &result),
                    Err(why) => {
                        tracing::debug!(node = &*node.peer.id, ?why, "a node has not answered a push");
                        tally.silent.insert(node.peer.id.to_string());
                    }
                }
            }
            link.counts.silent.inc_by(tally.silent.len() as u64);
            Ok(tally.end())
        }))
    }

    /// Sends a message to a recipient on all nodes, and does not wait. Returns the number of
    /// sessions of this node. A message that cannot be sent reaches nobody.
    pub(super) fn send_to_clients(
        &self,
        own: &dyn Sessions,
        to: &Recipient,
        event: ClientEvent,
    ) -> Result<u32, CallError> {
        // Most messages are replies to a client of this node.
        if matches!(to, Recipient::Session(id) if session::node_of(id) == Some(&*self.own.id)) {
            return own.send(to, event);
        }
        let plan = Plan::new(&self.own.id, [to.clone()]);
        let Messages { questions, silent, .. } = self.messages(&plan, &event)?;
        if !questions.is_empty() {
            self.tell_each(questions.into_iter().map(|(question, _)| question).collect())?;
        }
        self.link.counts.unsent.inc_by(silent.len() as u64);
        own.send(to, event)
    }
}
