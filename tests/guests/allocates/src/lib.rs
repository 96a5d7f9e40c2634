//! Eats memory.

use std::cell::{Cell, RefCell};

use common::{ok, who};
use fanfare_sdk::prelude::*;

const MIB: usize = 1 << 20;

thread_local! {
    static EATEN: RefCell<Vec<Vec<u8>>> = RefCell::default();
    static GROW: Cell<Option<Grow>> = const { Cell::new(None) };
}

/// Grows the memory or, when `table`, the table of a second core module by so much: what it had, or -1.
type Grow = extern "C" fn(table: bool, by: u32) -> i32;

/// Called by a second core module of the component as it starts: the host's tests put one behind this.
#[unsafe(no_mangle)]
extern "C" fn second(grow: Grow) {
    GROW.set(Some(grow));
}

fn grow(table: bool, by: u32) -> Json<i32> {
    let had = GROW.get().expect("a second core module")(table, by);
    assert_ne!(had, -1, "it does not grow");
    Json(had)
}

/// So many pages more for the memory of the second core module: how many it had. When it does not get them it traps.
#[handler]
fn grow_memory(pages: Json<u32>) -> Json<i32> {
    grow(false, *pages)
}

/// So many elements more for its table: how many it had. When it does not get them it traps.
#[handler]
fn grow_table(elements: Json<u32>) -> Json<i32> {
    grow(true, *elements)
}

/// One mebibyte that is really used; `None` when there is no more.
fn bite() -> Option<Vec<u8>> {
    let mut bite = Vec::new();
    bite.try_reserve_exact(MIB).ok()?;
    bite.resize(MIB, 1);
    Some(bite)
}

fn keep(bite: Vec<u8>) -> usize {
    EATEN.with_borrow_mut(|eaten| {
        eaten.push(bite);
        eaten.len()
    })
}

/// So many MiB, and keeps them: how many it has in all. Without memory it traps.
#[handler]
fn eat(mib: Json<usize>) -> Json<usize> {
    for _ in 0..*mib {
        keep(bite().expect("no more memory"));
    }
    Json(EATEN.with_borrow(Vec::len))
}

/// For ever: ends with a trap, or never.
#[handler]
fn forever() {
    while let Some(bite) = bite() {
        keep(bite);
    }
    panic!("no more memory");
}

/// As many MiB as it gets: answers the number and frees them.
#[handler]
fn measure() -> Json<usize> {
    let mut bites = Vec::new();
    while let Some(bite) = bite() {
        bites.push(bite);
    }
    Json(bites.len() + EATEN.with_borrow(Vec::len))
}

/// Memory that is only reserved, in one piece of so many MiB.
#[handler]
fn reserve(mib: Json<usize>) -> Json<bool> {
    Json(Vec::<u8>::new().try_reserve_exact(*mib * MIB).is_ok())
}

fanfare_sdk::module!(eat, forever, measure, reserve, grow_memory, grow_table, who, ok);
