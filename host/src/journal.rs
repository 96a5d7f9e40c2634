//! A journal: the newest entries of one order, each with a number, and the readers of it.
//!
//! A reader takes entries from the journal at its own pace, so that a slow reader costs no memory.
//! A reader that falls behind the oldest kept entry is told how many entries it has missed.

use std::collections::VecDeque;
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

/// The newest entries. Their numbers begin with 1 and have no gaps.
#[derive(Debug)]
pub struct Journal<T> {
    limits: JournalLimits,
    kept: Mutex<Kept<T>>,
    /// Wakes the readers.
    last: watch::Sender<Last>,
}

#[derive(Debug)]
struct Kept<T> {
    places: VecDeque<Place<T>>,
    /// The number of the first entry.
    first: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Place<T> {
    entry: Arc<T>,
    cost: u64,
    added: Instant,
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
    /// The number of the next entry.
    next: u64,
    last: watch::Receiver<Last>,
}

impl<T> Journal<T> {
    pub fn new(limits: JournalLimits) -> Journal<T> {
        let kept = Kept { places: VecDeque::new(), first: 1, bytes: 0 };
        Journal { limits, kept: Mutex::new(kept), last: watch::Sender::default() }
    }

    /// Adds entries, without others between them, and wakes the readers. `make` gets the number of
    /// an entry, and returns the entry and its size in bytes. Returns the number of the last entry,
    /// or `None` if the journal is closed.
    pub fn add<I>(&self, items: impl IntoIterator<Item = I>, make: impl FnMut(I, u64) -> (T, u64)) -> Option<u64> {
        self.append(items, make, false)
    }

    /// Adds the last entries, after which readers end. No effect the second time.
    pub fn close<I>(&self, items: impl IntoIterator<Item = I>, make: impl FnMut(I, u64) -> (T, u64)) {
        self.append(items, make, true);
    }

    fn append<I>(
        &self,
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
            kept.bytes = kept.bytes.saturating_add(cost);
            kept.places.push_back(Place { entry: Arc::new(entry), cost, added });
        }
        self.shrink(&mut kept, added);
        self.last.send_replace(Last { number, closed });
        Some(number)
    }

    fn shrink(&self, kept: &mut Kept<T>, now: Instant) {
        while kept.places.len() > 1
            && let Some(oldest) = kept.places.front()
            && (kept.places.len() > self.limits.count
                || kept.bytes > self.limits.bytes
                || now.saturating_duration_since(oldest.added) > self.limits.age)
        {
            kept.bytes = kept.bytes.saturating_sub(oldest.cost);
            kept.places.pop_front();
            kept.first += 1;
        }
    }

    /// The number of entries so far.
    pub fn count(&self) -> u64 {
        self.last.borrow().number
    }

    /// The number of entries that are kept, and their bytes.
    pub fn kept(&self) -> (usize, u64) {
        let mut kept = self.kept.lock();
        self.shrink(&mut kept, Instant::now());
        (kept.places.len(), kept.bytes)
    }

    /// Reads the entries after the one with this number. The reader waits until there is one.
    pub fn read_after(self: &Arc<Self>, number: u64) -> Reader<T> {
        Reader { journal: self.clone(), next: number.saturating_add(1), last: self.last.subscribe() }
    }

    /// Reads the newest kept entries, at most this number, and then those from now on.
    pub fn read_newest(self: &Arc<Self>, count: usize) -> Reader<T> {
        let kept = self.kept.lock();
        let skipped = kept.places.len().saturating_sub(count);
        let after = kept.first.saturating_add(skipped as u64).saturating_sub(1);
        self.read_after(after)
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

    /// Returns the next entry if it has been added.
    pub fn try_next(&mut self) -> Option<Item<T>> {
        let journal = self.journal.clone();
        let mut kept = journal.kept.lock();
        journal.shrink(&mut kept, Instant::now());
        if self.next < kept.first {
            let missed = kept.first - self.next;
            self.next = kept.first;
            return Some(Item::Missed(missed));
        }
        let index = usize::try_from(self.next - kept.first).ok()?;
        let entry = kept.places.get(index)?.entry.clone();
        self.next += 1;
        Some(Item::Entry(entry))
    }

    /// Takes the entries that exist, at most `most` of them, and none if the reader has missed
    /// some. So a reader keeps up with many writers, because it needs the lock only once.
    pub fn take(&mut self, most: usize) -> Vec<Arc<T>> {
        let kept = self.journal.kept.lock();
        let Some(index) = self.next.checked_sub(kept.first).and_then(|index| usize::try_from(index).ok()) else {
            return Vec::new();
        };
        let taken: Vec<_> = kept.places.iter().skip(index).take(most).map(|place| place.entry.clone()).collect();
        self.next += taken.len() as u64;
        taken
    }

    /// The number of the last entry before the next one.
    pub fn number(&self) -> u64 {
        self.next.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JournalLimits = JournalLimits { count: 4, bytes: 100, age: Duration::from_secs(3_600) };

    fn journal(limits: JournalLimits) -> Arc<Journal<u64>> {
        Arc::new(Journal::new(limits))
    }

    /// Adds entries of a size.
    fn add(journal: &Journal<u64>, count: usize, cost: u64) -> Option<u64> {
        journal.add(0..count, |_, number| (number, cost))
    }

    fn read(reader: &mut Reader<u64>) -> Vec<Item<u64>> {
        std::iter::from_fn(|| reader.try_next()).collect()
    }

    fn entries(numbers: impl IntoIterator<Item = u64>) -> Vec<Item<u64>> {
        numbers.into_iter().map(|number| Item::Entry(Arc::new(number))).collect()
    }

    #[test]
    fn the_oldest_entries_leave_beyond_each_limit() {
        let by_count = journal(LIMITS);
        add(&by_count, 4, 1);
        assert_eq!(read(&mut by_count.read_after(0)), entries(1..=4), "all of them fit");
        add(&by_count, 1, 1);
        assert_eq!(read(&mut by_count.read_after(0)), [vec![Item::Missed(1)], entries(2..=5)].concat());

        let by_bytes = journal(LIMITS);
        add(&by_bytes, 2, 50);
        assert_eq!(by_bytes.kept(), (2, 100));
        add(&by_bytes, 1, 1);
        assert_eq!(by_bytes.kept(), (2, 51));
        add(&by_bytes, 1, 1_000);
        assert_eq!(read(&mut by_bytes.read_after(3)), entries([4]), "the newest entry stays, however large it is");

        let by_age = journal(JournalLimits { age: Duration::ZERO, ..LIMITS });
        add(&by_age, 1, 1);
        add(&by_age, 1, 1);
        while by_age.kept().0 > 1 {}
        assert_eq!(read(&mut by_age.read_after(0)), [vec![Item::Missed(1)], entries([2])].concat());
    }

    #[test]
    fn entries_that_are_added_together_are_next_to_each_other() {
        let (journal, ready) = (journal(JournalLimits { count: 100_000, ..LIMITS }), std::sync::Barrier::new(4));
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    ready.wait();
                    for _ in 0..1_000 {
                        let mut numbers = Vec::new();
                        let last = journal.add(0..5, |_, number| {
                            numbers.push(number);
                            (number, 0)
                        });
                        assert_eq!(last, numbers.last().copied());
                        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
                    }
                });
            }
        });
        assert_eq!(read(&mut journal.read_after(0)), entries(1..=20_000));
    }

    /// Readers on other threads, slow and fast, while several writers add.
    #[test]
    fn a_reader_misses_nothing_untold_and_gets_nothing_twice_or_out_of_order() {
        let journal = journal(LIMITS);
        let read = |journal: &Arc<Journal<u64>>, pauses: bool| {
            let mut reader = journal.read_after(0);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (mut last, mut got) = (0, 0);
            runtime.block_on(async {
                let all = async {
                    while let Some(item) = reader.next().await {
                        match item {
                            Item::Entry(number) => {
                                assert_eq!(*number, last + 1);
                                (last, got) = (*number, got + 1);
                            }
                            Item::Missed(count) => last += count,
                        }
                        assert_eq!(reader.number(), last);
                        if pauses {
                            std::thread::yield_now();
                        }
                    }
                };
                tokio::time::timeout(Duration::from_secs(10), all).await.expect("the reader ends");
            });
            assert!(got > 0);
            last
        };
        std::thread::scope(|threads| {
            let readers: Vec<_> = (0..4)
                .map(|index| {
                    threads.spawn({
                        let journal = &journal;
                        move || read(journal, index % 2 == 0)
                    })
                })
                .collect();
            let writers: Vec<_> = (0..3)
                .map(|_| {
                    threads.spawn(|| {
                        (0..5_000).for_each(|_| {
                            add(&journal, 2, 1);
                        })
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            journal.close(0..1, |_, number| (number, 1));
            assert_eq!(add(&journal, 1, 1), None, "nothing follows the last entry");
            let ends: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
            assert_eq!(ends, [30_001; 4]);
        });
    }

    #[test]
    fn a_reader_takes_several_entries_at_once_unless_it_has_missed_some() {
        let journal = journal(LIMITS);
        let mut reader = journal.read_after(0);
        assert_eq!(reader.take(9), []);
        add(&journal, 4, 1);
        assert_eq!((reader.take(2), reader.number()), (vec![Arc::new(1), Arc::new(2)], 2));
        add(&journal, 3, 1);
        assert_eq!(reader.take(9), [], "it has missed an entry");
        assert_eq!(reader.try_next(), Some(Item::Missed(1)));
        assert_eq!((reader.take(9).len(), reader.number(), reader.take(9).len()), (4, 7, 0));
    }

    #[test]
    fn a_reader_starts_after_a_number_or_with_the_newest_entries() {
        let journal = journal(LIMITS);
        assert_eq!(read(&mut journal.read_newest(5)), []);
        add(&journal, 3, 1);
        let newest = |count| read(&mut journal.read_newest(count));
        assert_eq!((newest(0), newest(2), newest(9)), (vec![], entries([2, 3]), entries([1, 2, 3])));
        let after = |number| read(&mut journal.read_after(number));
        assert_eq!((after(0), after(2), after(3), after(u64::MAX)), (entries([1, 2, 3]), entries([3]), vec![], vec![]));
    }
}
