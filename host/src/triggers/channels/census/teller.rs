//! What a node tells one other node: steps in their order, in batches of which one is on its way.
//!
//! A batch that is not accepted, or whose answer is lost, ends its series. The next series tells
//! everything again, so that no loss has to be found.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::call::{CensusBatch, CensusStep};

/// The most bytes of the steps that wait. With more, everything is told again later.
pub(super) const MOST_WAITING: usize = 4 << 20;

/// The bytes of a batch besides its steps.
const HEAD: usize = 1_024;

/// What is told as a whole, in parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Whole {
    /// The members of this node.
    Own(Arc<str>),
    /// The members of all nodes.
    All(Arc<str>),
}

/// A step as JSON, shared by all nodes that are told it.
pub(super) type Text = Arc<str>;

pub(super) fn text(step: &CensusStep) -> Text {
    // It consists of texts and numbers.
    serde_json::to_string(step).unwrap_or_default().into()
}

/// Where the telling of a whole continues.
pub(super) type Part = (Whole, Option<Arc<str>>);

#[derive(Debug)]
pub(super) struct Teller {
    pub(super) series: u64,
    /// The number of the last batch that was accepted.
    number: u64,
    steps: VecDeque<Text>,
    bytes: usize,
    wholes: VecDeque<Whole>,
    queued: HashSet<Whole>,
    /// The whole that is being told, and the last session that was.
    part: Option<Part>,
    /// The nodes that the batch on its way confirms.
    on_its_way: Option<Option<u64>>,
    confirmed: Option<u64>,
    /// Whether the batch on its way confirms less than has to be confirmed.
    confirms_again: bool,
    /// Whether the series has not told everything yet.
    is_new: bool,
    /// Whether it waits for the next tick, because a batch has failed.
    rests: bool,
    /// The number of the last step that was queued, and of the last one that was accepted.
    told: u64,
    sending: u64,
    pub(super) accepted: u64,
}

impl Teller {
    pub(super) fn new(series: u64) -> Teller {
        let mut teller = Teller {
            series,
            number: 0,
            steps: VecDeque::new(),
            bytes: 0,
            wholes: VecDeque::new(),
            queued: HashSet::new(),
            part: None,
            on_its_way: None,
            confirmed: None,
            confirms_again: false,
            is_new: true,
            rests: false,
            told: 0,
            sending: 0,
            accepted: 0,
        };
        teller.push(text(&CensusStep::Reset));
        teller
    }

    /// Begins a new series, in which the caller queues everything.
    pub(super) fn restart(&mut self, series: u64) {
        let (told, rests) = (self.told, self.rests);
        let accepted = self.accepted;
        *self = Teller { told, accepted, rests, ..Teller::new(series) };
        self.told = told + 1;
    }

    /// Whether the receiver has accepted something of this series.
    pub(super) fn is_accepted(&self) -> bool {
        self.number > 0
    }

    /// The number of the last step that was queued.
    pub(super) fn last(&self) -> u64 {
        self.told
    }

    pub(super) fn push(&mut self, step: Text) {
        self.bytes += step.len() + 1;
        self.told += 1;
        self.steps.push_back(step);
    }

    /// Whether more waits than may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > MOST_WAITING
    }

    /// Queues a whole, unless it is queued and has not begun.
    pub(super) fn push_whole(&mut self, whole: Whole) {
        if self.queued.insert(whole.clone()) {
            self.told += 1;
            self.wholes.push_back(whole);
        }
    }

    /// The part of a whole that is to be told next, once the steps before it are on their way.
    pub(super) fn next_part(&mut self) -> Option<Part> {
        if !self.steps.is_empty() || self.on_its_way.is_some() || self.rests {
            return None;
        }
        if let Some(part) = self.part.take() {
            return Some(part);
        }
        let whole = self.wholes.pop_front()?;
        self.queued.remove(&whole);
        Some((whole, None))
    }

    /// The whole continues after a session.
    pub(super) fn continue_after(&mut self, whole: Whole, session: Arc<str>) {
        self.part = Some((whole, Some(session)));
    }

    /// The next batch, of at most this many bytes, unless one is on its way. `view` are the nodes
    /// as this one sees them.
    pub(super) fn next(&mut self, most: usize, view: u64, heard: bool) -> Option<CensusBatch> {
        if self.on_its_way.is_some() || self.rests {
            return None;
        }
        let has_wholes = self.part.is_some() || !self.wholes.is_empty();
        if self.is_new && !has_wholes {
            self.push(text(&CensusStep::Done));
            self.is_new = false;
        }
        let mut steps = String::from("[");
        while let Some(step) = self.steps.front() {
            if steps.len() > 1 && steps.len() + step.len() + 1 > most.saturating_sub(HEAD) {
                break;
            }
            if steps.len() > 1 {
                steps.push(',');
            }
            steps.push_str(step);
            self.bytes -= step.len() + 1;
            self.steps.pop_front();
        }
        let is_all = self.steps.is_empty() && !has_wholes;
        let confirms = Some(view).filter(|_| is_all && self.confirmed != Some(view));
        if steps.len() == 1 && confirms.is_none() {
            return None;
        }
        steps.push(']');
        self.on_its_way = Some(confirms);
        if is_all {
            self.sending = self.told;
        }
        Some(CensusBatch { series: self.series, number: self.number + 1, heard, confirms, steps })
    }

    /// The batch of this series that was on its way was accepted.
    pub(super) fn accepted(&mut self) {
        self.number += 1;
        self.accepted = self.sending;
        let confirmed = self.on_its_way.take().flatten();
        if confirmed.is_some() && !std::mem::take(&mut self.confirms_again) {
            self.confirmed = confirmed;
        }
    }

    /// Confirms the nodes again with the last step that waits.
    pub(super) fn confirm_again(&mut self) {
        self.confirmed = None;
        self.confirms_again = self.on_its_way.is_some();
    }

    /// Waits for [`Teller::awake`] before it sends anything.
    pub(super) fn rest(&mut self) {
        self.rests = true;
    }

    pub(super) fn awake(&mut self) {
        self.rests = false;
    }
}
