//! The census: the members of channels with presence on all nodes of a cluster.
//!
//! Each node tells the home of a channel its own members, and whether it watches the channel: that
//! is, whether somebody here listens to its announcements. The home tells the members of all nodes
//! to the nodes that watch. Each of these announces the differences to what it knew. So nobody who
//! stays is announced when a message is lost, a home moves, or a node returns.
//!
//! A node that becomes a home lists nobody before every node has confirmed that it sees the same
//! nodes, and has told what follows from them; or for some times `cluster.goneAfter`.
//!
//! The hub reports changes under the lock of a channel. They wait in `inputs`, whose lock is the
//! last one that is taken. The lock of `state` is taken before those of the hub.
//!
//! - `state` is what a node knows: its own channels, `homing` those that have their home here, and
//!   `exchange` what goes to other nodes and comes from them
//! - `roll` has the members of one channel at its home, `replica` those that a watching node knows,
//!   and `teller` what waits for one other node

mod driver;
mod exchange;
mod homing;
mod inputs;
mod replica;
mod roll;
mod size;
mod state;
mod teller;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use inputs::Inputs;
use state::{Local, State};

use crate::call::channel::ListSize;
use crate::call::{CallError, CensusBatch, CensusPage, ChannelMember, channel};
use crate::hub::{Announced, Channels};
use crate::ports::{CensusReceiver, Neighbors};

/// The most memory of the members that this node knows of others.
pub const MOST_BYTES: usize = 256 << 20;

/// How long a client that begins to watch waits at most until the members are known.
const LISTED_WITHIN: Duration = Duration::from_secs(2);

/// The largest part of a list of members.
const PAGE: usize = 256 << 10;

/// The members of channels on all nodes.
pub struct Census {
    me: Weak<Census>,
    channels: Arc<Channels>,
    neighbors: Arc<dyn Neighbors>,
    inputs: Inputs,
    state: Mutex<State>,
    /// Changes when something may have been settled, listed or accepted.
    progress: watch::Sender<u64>,
}

/// The figures of the census.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CensusTotals {
    /// The memory of the members that this node knows for other nodes.
    pub bytes: usize,
    /// How often this node has told another one everything again.
    pub told_again: u64,
}

impl Census {
    pub fn new(channels: Arc<Channels>, neighbors: Arc<dyn Neighbors>) -> Arc<Census> {
        let state = Mutex::new(State::new(neighbors.own(), MOST_BYTES));
        let census = Arc::new_cyclic(|me| Census {
            me: me.clone(),
            channels,
            neighbors,
            inputs: Inputs::default(),
            state,
            progress: watch::Sender::default(),
        });
        let told = Arc::downgrade(&census);
        census.channels.report_with(Box::new(move |channel, report, members| {
            if let Some(census) = told.upgrade() {
                census.inputs.report(channel, report, members);
            }
        }));
        census
    }

    /// Watches the channel that another one announces, until the result is dropped. `None` if the
    /// name is not that of such a channel. It may be called under the lock of a channel.
    pub fn watch(&self, name: &str) -> Option<Box<dyn Any + Send>> {
        let watched: Arc<str> = watched(name)?.into();
        self.inputs.watch(&watched);
        Some(Box::new(Watch { census: self.me.clone(), channel: watched }))
    }

    /// Resolves when the members of the channel that another one announces are known, so that
    /// further changes are announced. Gives up after a while.
    pub async fn listed(&self, name: &str) {
        let Some(channel) = watched(name) else { return };
        let mut progress = self.progress.subscribe();
        let listed = async {
            loop {
                progress.mark_unchanged();
                self.take_inputs();
                if self.state.lock().is_listed(channel) || progress.changed().await.is_err() {
                    return;
                }
            }
        };
        _ = tokio::time::timeout(LISTED_WITHIN.min(self.neighbors.gone_after()), listed).await;
    }

    /// The members of a channel on all nodes, sorted by session. Fails with the size of the list if
    /// it is longer than `most`, or if the home cannot be asked.
    pub async fn members(
        &self,
        channel: &str,
        most: &ListSize,
    ) -> Result<Result<Vec<ChannelMember>, ListSize>, CallError> {
        let mut progress = self.progress.subscribe();
        let mut error = None;
        let until = tokio::time::Instant::now() + self.neighbors.gone_after() * 2;
        loop {
            progress.mark_unchanged();
            match self.members_now(channel, most).await {
                Ok(Some(listed)) => return Ok(listed),
                Ok(None) => {}
                Err(failed) => error = Some(failed),
            }
            let again = tokio::time::timeout(Duration::from_millis(100), progress.changed());
            if tokio::time::timeout_at(until, again).await.is_err() {
                let unknown =
                    || CallError::Unavailable("the home of the channel is not known yet: try again".to_owned());
                return Err(error.unwrap_or_else(unknown));
            }
        }
    }

    /// `None` if the members are not known now.
    async fn members_now(
        &self,
        channel: &str,
        most: &ListSize,
    ) -> Result<Option<Result<Vec<ChannelMember>, ListSize>>, CallError> {
        self.take_inputs();
        let Some(home) = self.neighbors.home(channel) else { return Ok(None) };
        let is_own = home == self.neighbors.own();
        if !is_own && !self.has_told(&home).await {
            return Ok(None);
        }
        let (mut members, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = if is_own {
                let Some(page) = self.own_page(channel, after.as_deref(), usize::MAX) else { return Ok(None) };
                page
            } else {
                self.neighbors.page(&home, channel, after.as_deref(), PAGE.min(self.neighbors.max_bytes() / 2)).await?
            };
            if !page.size().fits(most) {
                return Ok(Some(Err(page.size())));
            }
            after = page.page.last().map(|last| last.session.clone());
            members.extend(page.page.into_iter().map(ChannelMember::from));
            if !page.more || after.is_none() {
                members.sort_unstable_by(|one, other| one.session.cmp(&other.session));
                return Ok(Some(Ok(members)));
            }
        }
    }

    /// Waits until a node has what this one has to tell it now. Returns false if it is gone.
    async fn has_told(&self, node: &str) -> bool {
        let mut progress = self.progress.subscribe();
        let Some((last, _)) = self.state.lock().progress(node) else { return false };
        loop {
            progress.mark_unchanged();
            match self.state.lock().progress(node) {
                Some((_, accepted)) if accepted >= last => return true,
                Some(_) => {}
                None => return false,
            }
            let waits = tokio::time::timeout(self.neighbors.gone_after(), progress.changed());
            if !matches!(waits.await, Ok(Ok(()))) {
                return false;
            }
        }
    }

    fn own_page(&self, channel: &str, after: Option<&str>, most: usize) -> Option<CensusPage> {
        self.take_inputs();
        self.state.lock().page(channel, after, most, self)
    }

    pub fn totals(&self) -> CensusTotals {
        let state = self.state.lock();
        CensusTotals { bytes: state.bytes(), told_again: state.told_again }
    }

    fn has_progress(&self) {
        self.progress.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// The channel whose members a channel announces, if it can have any.
fn watched(name: &str) -> Option<&str> {
    channel::announced(name).filter(|of| channel::announced(of).is_none())
}

/// A channel that this node watches until this is dropped.
struct Watch {
    census: Weak<Census>,
    channel: Arc<str>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(census) = self.census.upgrade() {
            census.inputs.unwatch(&self.channel);
        }
    }
}

impl Local for Census {
    fn members(&self, channel: &str, after: Option<&str>, most: usize) -> Vec<ChannelMember> {
        self.channels.members_after(channel, after, most)
    }

    fn announce(&self, channel: &str, what: Announced<'_>) {
        self.channels.announce_here(channel, what);
    }

    fn view(&self) -> u64 {
        self.neighbors.view()
    }

    fn home(&self, channel: &str) -> Option<Arc<str>> {
        self.neighbors.home(channel)
    }
}

impl CensusReceiver for Census {
    fn receive(&self, node: &str, boot: &str, batch: CensusBatch) -> bool {
        let is_accepted = self.state.lock().receive(node, boot, &batch, Instant::now(), self);
        self.inputs.changed.notify_one();
        self.has_progress();
        is_accepted
    }

    fn page(&self, channel: &str, after: Option<&str>, most: usize) -> Result<CensusPage, CallError> {
        self.own_page(channel, after, most).ok_or_else(|| {
            CallError::Unavailable("this node does not know the members on all nodes yet: try again".to_owned())
        })
    }
}
