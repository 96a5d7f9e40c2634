//! Tests of the journal.

use super::*;

const LIMITS: JournalLimits = JournalLimits { count: 4, bytes: 100, age: Duration::from_secs(3_600) };

fn journal(limits: JournalLimits) -> Arc<Journal<u64>> {
    Arc::new(Journal::new(limits))
}

/// Adds entries of a size.
fn add(journal: &Journal<u64>, count: usize, cost: u64) -> Option<u64> {
    journal.add(&None, 0..count, |_, number| (number, cost))
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
                    let last = journal.add(&None, 0..5, |_, number| {
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

/// Adds an entry of a writer.
fn add_of(journal: &Journal<u64>, writer: &str, cost: u64) {
    journal.add(&Some(writer.into()), [()], |(), number| (number, cost));
}

#[test]
fn a_writer_of_many_entries_leaves_half_of_the_journal_to_others() {
    for limits in [LIMITS, JournalLimits { count: 1_000, bytes: 4, ..LIMITS }] {
        let journal = journal(limits);
        for writer in ["b", "a", "b"] {
            add_of(&journal, writer, 1);
        }
        let mut early = journal.read_after(0);
        (0..100).for_each(|_| add_of(&journal, "a", 1));
        assert_eq!(journal.kept(), (4, 4));
        let kept = [Item::Missed(99), Item::Entry(1.into()), Item::Entry(3.into())];
        assert_eq!(read(&mut early), [kept.to_vec(), entries([102, 103])].concat(), "the gaps are told once");
        let newest: Vec<_> = kept[1..].iter().cloned().chain(entries([102, 103])).collect();
        assert_eq!(read(&mut journal.read_newest(9)), newest, "a new reader does not miss them");
        // Others need the room of the oldest entries, of all writers.
        add_of(&journal, "b", 1);
        add_of(&journal, "c", 1);
        assert_eq!(read(&mut journal.read_newest(9)), entries([102, 103, 104, 105]));
    }
}

#[test]
fn a_reader_learns_of_gaps_that_appear_while_it_reads() {
    let journal = journal(LIMITS);
    add_of(&journal, "b", 1);
    (0..3).for_each(|_| add_of(&journal, "a", 1));
    let mut reader = journal.read_after(0);
    assert_eq!(reader.try_next(), Some(Item::Entry(1.into())));
    (0..2).for_each(|_| add_of(&journal, "a", 1));
    assert_eq!((reader.take(9), reader.number()), (vec![], 1), "it has missed some");
    assert_eq!((reader.try_next(), reader.number()), (Some(Item::Missed(2)), 3));
    add_of(&journal, "a", 1);
    assert_eq!(read(&mut reader), [vec![Item::Missed(1)], entries([5, 6, 7])].concat());
    (0..3).for_each(|_| add_of(&journal, "a", 1));
    assert_eq!(journal.read_after(6).take(9), [], "it has missed one");
}

/// A gap that was told can have entries before it, which may be dropped before the reader takes
/// them.
#[test]
fn a_reader_learns_of_entries_that_are_dropped_before_a_gap_it_was_told_of() {
    let journal = journal(LIMITS);
    add_of(&journal, "b", 1);
    (0..2).for_each(|_| add_of(&journal, "a", 1));
    add_of(&journal, "b", 1);
    (0..3).for_each(|_| add_of(&journal, "a", 1));
    let (mut told, mut newest) = (journal.read_after(0), journal.read_newest(9));
    assert_eq!((told.try_next(), told.number()), (Some(Item::Missed(3)), 0));
    // Of 1, 4, 6 and 7, the first two leave.
    ["c", "d"].iter().for_each(|writer| add_of(&journal, writer, 1));
    assert_eq!(told.take(9), [], "it has missed some");
    for reader in [&mut told, &mut newest] {
        assert_eq!(read(reader), [vec![Item::Missed(2)], entries([6, 7, 8, 9])].concat());
    }
}

/// In any order of writes and reads, each entry is read or told as missed, once.
#[test]
fn what_a_reader_reads_and_misses_is_all_that_was_added() {
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for round in 0..500 {
        let journal = journal(JournalLimits { count: 8, ..LIMITS });
        let mut reader = journal.read_after(0);
        let (mut added, mut read, mut last) = (0, 0, 0);
        for step in 0..200 {
            let writer = ["a", "b", "c"][random(3) as usize];
            (0..random(6)).for_each(|_| {
                add_of(&journal, writer, 1);
                added += 1;
            });
            let taken = if step == 199 { u64::MAX } else { random(4) };
            for _ in 0..taken {
                let items = match reader.try_next() {
                    Some(Item::Missed(count)) => {
                        read += count;
                        vec![]
                    }
                    Some(Item::Entry(entry)) => [vec![entry], reader.take(random(3) as usize)].concat(),
                    None => break,
                };
                for entry in items {
                    assert!(*entry > last, "round {round}: {entry} after {last}");
                    (last, read) = (*entry, read + 1);
                }
            }
        }
        assert_eq!(read, added, "round {round}");
    }
}
