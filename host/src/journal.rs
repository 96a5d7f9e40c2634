//! A journal: the newest entries of one order, each with a number, and the readers of it.
//!
//! A reader takes entries from the journal at its own pace, so that a slow reader costs no memory.
//! A reader is told how many entries it has missed, because the journal has dropped them before.
//!
//! A full journal drops its oldest entry. But a writer whose entries take more than half of a limit
//! pays for its next entry with its own oldest one. So one writer cannot drop the newest entries of
//! all others, and there can be gaps between the entries that are kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

/// What a journal keeps. It keeps the newest entry, however large or old that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    pub count: usize,
    pub bytes: u64,
    pub age: Duration,
}

/// Who adds entries: a module, or `None` for everybody else.
pub type Writer = Option<Arc<str>>;

/// The newest entries. They are numbered from 1 in the order in which they were added.
#[derive(Debug)]
pub struct Journal<T> {
    limits: JournalLimits,
    kept: Mutex<Kept<T>>,
    /// Wakes the readers.
    last: watch::Sender<Last>,
}

#[derive(Debug)]
struct Kept<T> {
    /// By number.
    places: BTreeMap<u64, Place<T>>,
    bytes: u64,
    /// What the entries of each writer take.
    shares: HashMap<Writer, Share>,
    /// The newest number that was dropped. 0 if none was.
    dropped: u64,
}

#[derive(Debug)]
struct Place<T> {
    entry: Arc<T>,
    cost: u64,
    added: Instant,
    writer: Writer,
}

#[derive(Debug, Default)]
struct Share {
    /// The numbers of the entries, oldest first.
    numbers: VecDeque<u64>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Last {
    number: u64,
    /// Whether no entry follows.
    closed: bool,
}

/// An entry, or the number of entries that a reader has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<T> {
    Entry(Arc<T>),
    Missed(u64),
}

/// Reads entries in their order. Dropping the reader has no effect on others.
#[derive(Debug)]
pub struct Reader<T> {
    journal: Arc<Journal<T>>,
    /// The number of the next entry, or less if it was dropped.
    next: u64,
    /// The reader was told of everything up to this number that had been dropped by then.
    told: u64,
    /// The entries up to `told` that were there then, and which the reader has not taken since.
    owed: u64,
    last: watch::Receiver<Last>,
}

impl<T> Journal<T> {
    pub fn new(limits: JournalLimits) -> Journal<T> {
        let kept = Kept { places: BTreeMap::new(), bytes: 0, shares: HashMap::new(), dropped: 0 };
        Journal { limits, kept: Mutex::new(kept), last: watch::Sender::default() }
    }

    /// Adds entries of a writer, without others between them, and wakes the readers. `make` gets
    /// the number of an entry, and returns the entry and its size in bytes. Returns the number of
    /// the last entry, or `None` if the journal is closed.
    pub fn add<I>(
        &self,
        writer: &Writer,
        items: impl IntoIterator<Item = I>,
        make: impl FnMut(I, u64) -> (T, u64),
    ) -> Option<u64> {
        self.append(writer, items, make, false)
    }

    /// Adds the last entries, after which readers end. No effect the second time.
    pub fn close<I>(&self, items: impl IntoIterator<Item = I>, make: impl FnMut(I, u64) -> (T, u64)) {
        self.append(&None, items, make, true);
    }

    fn append<I>(
        &self,
        writer: &Writer,
        items: impl IntoIterator<Item = I>,
        mut make: impl FnMut(I, u64) -> (T, u64),
        closed: bool,
    ) -> Option<u64> {
        // Until the end, so that no entry follows the last one, and readers see the numbers in
        // order.
        let mut kept = self.kept.lock();
        let last = *self.last.borrow();
        if last.closed {
            return None;
        }
        let (mut number, added) = (last.number, Instant::now());
        for item in items {
            number += 1;
            let (entry, cost) = make(item, number);
            kept.add(number, Place { entry: Arc::new(entry), cost, added, writer: writer.clone() });
        }
        self.shrink(&mut kept, added, writer);
        self.last.send_replace(Last { number, closed });
        Some(number)
    }

    /// Drops what is beyond the limits, after entries of a writer or only because time has passed.
    fn shrink(&self, kept: &mut Kept<T>, now: Instant, writer: &Writer) {
        let limits = &self.limits;
        while kept.places.len() > 1
            && let Some((&oldest, place)) = kept.places.first_key_value()
        {
            let is_old = now.saturating_duration_since(place.added) > limits.age;
            let (many, large) = (kept.places.len() > limits.count, kept.bytes > limits.bytes);
            if !is_old && !many && !large {
                return;
            }
            let own = kept.shares.get(writer).filter(|share| {
                let has_many = many && share.numbers.len() > limits.count / 2;
                let has_large = large && share.bytes > limits.bytes / 2;
                // The newest entry stays.
                !is_old && (has_many || has_large) && share.numbers.len() > 1
            });
            let victim = own.and_then(|share| share.numbers.front()).copied().unwrap_or(oldest);
            kept.drop_entry(victim);
        }
    }

    /// The number of entries so far.
    pub fn count(&self) -> u64 {
        self.last.borrow().number
    }

    /// The number of entries that are kept, and their bytes.
    pub fn kept(&self) -> (usize, u64) {
        let mut kept = self.kept.lock();
        self.shrink(&mut kept, Instant::now(), &None);
        (kept.places.len(), kept.bytes)
    }

    /// Reads the entries after the one with this number. The reader waits until there is one.
    pub fn read_after(self: &Arc<Self>, number: u64) -> Reader<T> {
        let next = number.saturating_add(1);
        Reader { journal: self.clone(), next, told: 0, owed: 0, last: self.last.subscribe() }
    }

    /// Reads the newest kept entries, at most this number, and then those from now on. The reader
    /// is not told of what was dropped before.
    pub fn read_newest(self: &Arc<Self>, count: usize) -> Reader<T> {
        let kept = self.kept.lock();
        let skipped = kept.places.len().saturating_sub(count);
        let first = kept.places.keys().nth(skipped).copied();
        let after = first.map_or_else(|| self.count(), |first| first.saturating_sub(1));
        let owed = kept.present(after.saturating_add(1));
        Reader { told: kept.dropped, owed, ..self.read_after(after) }
    }
}

impl<T> Kept<T> {
    fn add(&mut self, number: u64, place: Place<T>) {
        self.bytes = self.bytes.saturating_add(place.cost);
        let share = self.shares.entry(place.writer.clone()).or_default();
        share.bytes = share.bytes.saturating_add(place.cost);
        share.numbers.push_back(number);
        self.places.insert(number, place);
    }

    /// The number of entries from this number to the newest one that was dropped.
    fn present(&self, first: u64) -> u64 {
        if first > self.dropped { 0 } else { self.places.range(first..=self.dropped).count() as u64 }
    }

    /// Drops an entry, which must be the oldest one of its writer.
    fn drop_entry(&mut self, number: u64) {
        let Some(place) = self.places.remove(&number) else { return };
        self.dropped = self.dropped.max(number);
        self.bytes = self.bytes.saturating_sub(place.cost);
        if let Some(share) = self.shares.get_mut(&place.writer) {
            share.bytes = share.bytes.saturating_sub(place.cost);
            share.numbers.pop_front();
            if share.numbers.is_empty() {
                self.shares.remove(&place.writer);
            }
        }
    }
}

impl<T> Reader<T> {
    /// Waits for the next entry. `None` when the journal is closed and no entry is left.
    pub async fn next(&mut self) -> Option<Item<T>> {
        loop {
            if let Some(item) = self.try_next() {
                return Some(item);
            }
            let next = self.next;
            let last = self.last.wait_for(|last| last.number >= next || last.closed).await;
            // The only error is a missing sender, and the journal owns it.
            if last.map_or(true, |last| last.number < next) {
                return None;
            }
        }
    }

    /// Returns the next entry if it has been added. Before it, and for all gaps together, returns
    /// how many entries were dropped.
    pub fn try_next(&mut self) -> Option<Item<T>> {
        let journal = self.journal.clone();
        let mut kept = journal.kept.lock();
        journal.shrink(&mut kept, Instant::now(), &None);
        let (&number, place) = kept.places.range(self.next..).next()?;
        let missed = self.missed(&kept, number);
        if missed > 0 {
            let owed = if number > self.told { 0 } else { self.owed };
            self.owed = owed.saturating_add(kept.present(self.untold()));
            (self.next, self.told) = (number, kept.dropped);
            return Some(Item::Missed(missed));
        }
        let entry = place.entry.clone();
        self.taken(number);
        Some(Item::Entry(entry))
    }

    /// The first number that the reader has neither taken nor been told of.
    fn untold(&self) -> u64 {
        self.next.max(self.told.saturating_add(1))
    }

    /// The number of entries that were dropped, of which the reader does not know yet. `number` is
    /// that of its next entry.
    fn missed(&self, kept: &Kept<T>, number: u64) -> u64 {
        let first = self.untold();
        let all = kept.dropped.saturating_add(1).saturating_sub(first);
        let new = if all > 0 { all.saturating_sub(kept.present(first)) } else { 0 };
        let before = if number > self.told { self.owed } else { 0 };
        new.saturating_add(before)
    }

    fn taken(&mut self, number: u64) {
        if number <= self.told {
            self.owed = self.owed.saturating_sub(1);
        }
        self.next = number.saturating_add(1);
    }

    /// Takes the entries that exist, at most `most` of them, up to those that the reader has
    /// missed. So a reader keeps up with many writers, because it needs the lock only once.
    pub fn take(&mut self, most: usize) -> Vec<Arc<T>> {
        let journal = self.journal.clone();
        let kept = journal.kept.lock();
        let mut taken = Vec::new();
        for (&number, place) in kept.places.range(self.next..).take(most) {
            if self.missed(&kept, number) > 0 {
                break;
            }
            taken.push(place.entry.clone());
            self.taken(number);
        }
        taken
    }

    /// The number of the last entry before the next one.
    pub fn number(&self) -> u64 {
        self.next.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests;
