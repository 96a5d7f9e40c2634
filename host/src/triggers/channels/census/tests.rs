//! Nodes that exist only in memory, and a network between them that loses what it wants.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::MOST_BYTES;
use super::roll::MOST_TOLD;
use super::state::{Local, State};
use crate::call::{CensusMember, ChannelMember, MemberStep, bounds};
use crate::hub::{Announced, CROWD, Change};
use crate::ports::NodesSeen;

mod faults;
mod limits;

/// The most bytes of a batch.
const BATCH: usize = 4_096;

const PATIENCE: Duration = Duration::from_secs(3);

/// What a node has besides its census.
#[derive(Default)]
struct Here {
    id: String,
    members: RefCell<BTreeMap<String, BTreeMap<String, ChannelMember>>>,
    others: RefCell<Vec<(Arc<str>, String)>>,
    view: Cell<u64>,
    /// What it has announced: `+` or `-` and the session, and the count.
    announced: RefCell<Vec<(String, String, usize)>>,
}

/// The home of a channel for a node that sees these nodes.
fn home_of<'a>(channel: &str, nodes: impl Iterator<Item = &'a str>) -> &'a str {
    let weight = |node: &str| {
        let bytes = channel.bytes().chain([0xff]).chain(node.bytes());
        let hash = bytes.fold(7_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        hash ^ (hash >> 29)
    };
    nodes.max_by_key(|node| (weight(node).wrapping_mul(0xbf58_476d_1ce4_e5b9), *node)).unwrap()
}

impl Local for Here {
    fn members(&self, channel: &str, after: Option<&str>, most: usize) -> Vec<ChannelMember> {
        let members = self.members.borrow();
        let of = members.get(channel).into_iter().flat_map(BTreeMap::values);
        of.filter(|member| after.is_none_or(|after| &*member.session > after)).take(most).cloned().collect()
    }

    fn announce(&self, channel: &str, what: Announced<'_>) {
        let entry = match what {
            Announced::Change(Change::Join, member, count) => (format!("+{}", member.session), count),
            Announced::Change(Change::Leave, member, count) => (format!("-{}", member.session), count),
            Announced::Count(count) => ("=".to_owned(), count),
        };
        self.announced.borrow_mut().push((channel.to_owned(), entry.0, entry.1));
    }

    fn view(&self) -> u64 {
        self.view.get()
    }

    fn home(&self, channel: &str) -> Option<Arc<str>> {
        let others = self.others.borrow();
        let all = others.iter().map(|(node, _)| &**node).chain([&*self.id]);
        Some(home_of(channel, all).into())
    }
}

struct Node {
    here: Here,
    state: State,
    boot: String,
    /// What a client that watches a channel believes.
    believed: BTreeMap<String, BTreeSet<String>>,
    watched: BTreeSet<String>,
    /// All announcements: `<channel>+<session>@<count>`.
    said: Vec<String>,
}

struct Network {
    nodes: BTreeMap<String, Node>,
    boots: u32,
    now: Instant,
    /// The pairs of nodes that do not reach each other.
    cut: BTreeSet<(String, String)>,
    sessions: Cell<u32>,
}

/// What becomes of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
    AnswerLost,
}

impl Network {
    fn new(nodes: &[&str]) -> Network {
        let (boots, now, cut, sessions) = (0, Instant::now(), BTreeSet::new(), Cell::new(0));
        let mut network = Network { nodes: BTreeMap::new(), boots, now, cut, sessions };
        nodes.iter().for_each(|node| network.start(node));
        network.calm();
        network
    }

    fn start(&mut self, id: &str) {
        self.start_with(id, MOST_BYTES);
    }

    fn start_with(&mut self, id: &str, most_bytes: usize) {
        self.boots += 1;
        let here = Here { id: id.to_owned(), ..Here::default() };
        let state = State::new(id.into(), most_bytes);
        let (believed, watched, said) = Default::default();
        let node = Node { here, state, boot: self.boots.to_string(), believed, watched, said };
        self.nodes.insert(id.to_owned(), node);
        self.see(id);
    }

    fn reach(&self, one: &str, other: &str) -> bool {
        one != other && !self.cut.contains(&(one.to_owned(), other.to_owned()))
    }

    /// Cuts two nodes off each other.
    fn cut(&mut self, one: &str, other: &str) {
        self.cut.insert((one.to_owned(), other.to_owned()));
        self.cut.insert((other.to_owned(), one.to_owned()));
    }

    /// A node finds other homes from now on. Its census has not noticed yet.
    fn find(&mut self, id: &str) {
        let reached = self.nodes.iter().filter(|(other, _)| self.reach(id, other));
        let others: Vec<(Arc<str>, String)> =
            reached.map(|(other, node)| (other.as_str().into(), node.boot.clone())).collect();
        let mut all: Vec<String> = others.iter().map(|(node, boot)| format!("{node}{boot}")).collect();
        all.push(format!("{id}{}", self.nodes[id].boot));
        all.sort_unstable();
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let here = &self.nodes[id].here;
        here.view.set(all.join(" ").bytes().fold(7, step));
        here.others.replace(others);
    }

    /// A node notices which others there are.
    fn see(&mut self, id: &str) {
        self.find(id);
        let node = self.nodes.get_mut(id).unwrap();
        let seen = NodesSeen { others: node.here.others.borrow().clone(), view: node.here.view.get() };
        node.state.see(seen, self.now, &node.here);
        self.check(id);
    }

    fn join(&mut self, id: &str, channel: &str) -> String {
        self.sessions.set(self.sessions.get() + 1);
        let session = format!("{id}/{:04}", self.sessions.get());
        self.is(id, channel, &session, None);
        session
    }

    fn is(&mut self, id: &str, channel: &str, session: &str, info: Option<&str>) {
        let member = ChannelMember { session: session.into(), uid: None, info: info.map(Into::into) };
        let node = self.nodes.get_mut(id).unwrap();
        let count = {
            let mut members = node.here.members.borrow_mut();
            let of = members.entry(channel.to_owned()).or_default();
            of.insert(session.to_owned(), member.clone());
            of.len()
        };
        node.state.on_member(&channel.into(), MemberStep::Is(CensusMember::from(&member)), count, &node.here);
        self.check(id);
    }

    fn leave(&mut self, id: &str, channel: &str, session: &str) {
        let node = self.nodes.get_mut(id).unwrap();
        let count = {
            let mut members = node.here.members.borrow_mut();
            let of = members.entry(channel.to_owned()).or_default();
            of.remove(session);
            of.len()
        };
        node.state.on_member(&channel.into(), MemberStep::Gone(session.to_owned()), count, &node.here);
        self.check(id);
    }

    fn watch(&mut self, id: &str, channel: &str, watches: bool) {
        let node = self.nodes.get_mut(id).unwrap();
        let changed = if watches { node.watched.insert(channel.to_owned()) } else { node.watched.remove(channel) };
        if changed {
            node.believed.remove(channel);
        }
        node.state.on_watch(&channel.into(), watches, &node.here);
        self.check(id);
    }

    /// Sends the next batch of a node to another one. Returns whether there was one.
    fn send(&mut self, from: &str, to: &str, fate: Fate) -> bool {
        let Some(sender) = self.nodes.get_mut(from) else { return false };
        let Some((boot, batch)) = sender.state.next(&to.into(), BATCH, &sender.here) else { return false };
        let is_one = batch.steps.matches("},{").count() == 0;
        assert!(batch.steps.len() <= BATCH || is_one, "a batch of {} bytes", batch.steps.len());
        let own_boot = sender.boot.clone();
        let mut is_accepted = false;
        if fate != Fate::Lost
            && self.reach(from, to)
            && let Some(receiver) = self.nodes.get_mut(to)
        {
            is_accepted = receiver.state.receive(from, &own_boot, &batch, self.now, &receiver.here);
            self.check(to);
        }
        let sender = self.nodes.get_mut(from).unwrap();
        sender.state.sent(&to.into(), &boot, batch.series, is_accepted && fate == Fate::Arrives);
        true
    }

    /// The hub has too many changes, so that the members of a node are read again.
    fn tell_all(&mut self, id: &str, channel: &str) {
        let node = self.nodes.get_mut(id).unwrap();
        node.state.on_members(&channel.into(), &node.here);
        self.check(id);
    }

    fn tick(&mut self) {
        self.pass(Duration::from_millis(1_100));
    }

    /// Time passes.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.nodes.keys().cloned().collect::<Vec<_>>().iter().for_each(|id| self.take_ticks(id));
    }

    /// A node does what it does from time to time.
    fn take_ticks(&mut self, id: &str) {
        let node = self.nodes.get_mut(id).unwrap();
        node.state.tick(self.now, PATIENCE, &node.here);
        node.state.sweep(self.now, PATIENCE, &node.here);
        self.check(id);
    }

    /// Until nobody has anything to say.
    fn calm(&mut self) {
        let ids: Vec<String> = self.nodes.keys().cloned().collect();
        ids.iter().for_each(|id| self.see(id));
        for _ in 0..1_000 {
            self.tick();
            let mut sent = 0;
            for from in &ids {
                for to in &ids {
                    while self.send(from, to, Fate::Arrives) {
                        sent += 1;
                    }
                }
            }
            if sent == 0 {
                return;
            }
        }
        panic!("the nodes never cease to tell each other things");
    }

    /// The sessions that are members on the nodes that a node reaches, and on it.
    fn truth(&self, id: &str, channel: &str) -> BTreeSet<String> {
        let nodes = self.nodes.iter().filter(|(other, _)| *other == id || self.reach(id, other));
        let members = nodes.flat_map(|(_, node)| node.here.members(channel, None, usize::MAX));
        members.map(|member| member.session.as_ref().to_owned()).collect()
    }

    /// What a node has announced is a difference to what it has announced before.
    fn check(&mut self, id: &str) {
        let node = self.nodes.get_mut(id).unwrap();
        let announced = std::mem::take(&mut *node.here.announced.borrow_mut());
        for channel in node.watched.clone() {
            let changes = announced.iter().filter(|(of, what, _)| *of == channel && what != "=");
            if announced.iter().any(|(of, what, _)| *of == channel && what == "=") {
                // A client that sees a number asks for the members.
                node.believed.insert(channel.clone(), node.state.known(&channel));
                continue;
            }
            if !node.believed.contains_key(&channel) {
                if !node.state.is_listed(&channel) {
                    continue;
                }
                let mut first = node.state.known(&channel);
                for (_, what, _) in changes.clone().rev() {
                    let session = what[1..].to_owned();
                    if what.starts_with('+') {
                        first.remove(&session)
                    } else {
                        first.insert(session)
                    };
                }
                node.believed.insert(channel.clone(), first);
            }
            let believed = node.believed.get_mut(&channel).unwrap();
            for (_, what, count) in changes {
                let session = what[1..].to_owned();
                let is_new = if what.starts_with('+') { believed.insert(session) } else { believed.remove(&session) };
                assert!(is_new, "{id} announces {what} of {channel} twice");
                assert_eq!(*count, believed.len(), "{id} announces {what} of {channel}");
            }
        }
        node.said.extend(announced.into_iter().map(|(channel, what, count)| format!("{channel}{what}@{count}")));
    }

    /// What a node lists, if it is the home.
    fn listed(&self, id: &str, channel: &str) -> BTreeSet<String> {
        let here = &self.nodes[id].here;
        let home = here.home(channel).unwrap();
        let node = &self.nodes[&*home];
        let (mut all, mut after) = (BTreeSet::new(), None::<String>);
        loop {
            let page = node.state.page(channel, after.as_deref(), 300, &node.here).expect("it is settled");
            after = page.page.last().map(|last| last.session.clone());
            let sessions = page.page.into_iter().map(|member| member.session);
            sessions.for_each(|session| assert!(all.insert(session), "listed twice"));
            if !page.more {
                assert_eq!(page.members, all.len());
                return all;
            }
        }
    }

    fn announced(&mut self, id: &str) -> Vec<String> {
        std::mem::take(&mut self.nodes.get_mut(id).unwrap().said)
    }
}
