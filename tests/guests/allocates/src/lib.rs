//! Allocates memory.

use std::cell::{Cell, RefCell};

use common::{ok, who};
use fanfare_sdk::prelude::*;

const MIB: usize = 1 << 20;

thread_local! {
    static EATEN: RefCell<Vec<Vec<u8>>> = RefCell::default();
    static GROW: Cell<Option<Grow>> = const { Cell::new(None) };
}

/// Grows the table of a second core module, or its memory when `table` is false. Returns the
/// previous size, or -1 when it cannot grow.
type Grow = extern "C" fn(table: bool, by: u32) -> i32;

/// The host's tests append a second core module to this component. It calls this when it starts.
#[unsafe(no_mangle)]
extern "C" fn second(grow: Grow) {
    GROW.set(Some(grow));
}

fn grow(table: bool, by: u32) -> Json<i32> {
    let had = GROW.get().expect("the component has a second core module")(table, by);
    assert_ne!(had, -1, "the second core module cannot grow");
    Json(had)
}

/// Grows the memory of the second core module by `pages`. Returns the previous number of pages, and
/// traps when it cannot grow.
#[handler]
fn grow_memory(pages: Json<u32>) -> Json<i32> {
    grow(false, *pages)
}

/// Grows the table of the second core module by `elements`. Returns the previous number of
/// elements, and traps when it cannot grow.
#[handler]
fn grow_table(elements: Json<u32>) -> Json<i32> {
    grow(true, *elements)
}

/// Allocates one MiB and writes to it. Returns `None` when the memory is full.
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

/// Allocates and keeps `mib` MiB. Returns the number of MiB kept so far, and traps when the memory
/// is full.
#[handler]
fn eat(mib: Json<usize>) -> Json<usize> {
    for _ in 0..*mib {
        keep(bite().expect("the memory is full"));
    }
    Json(EATEN.with_borrow(Vec::len))
}

/// Allocates until the memory is full, then traps.
#[handler]
fn forever() {
    while let Some(bite) = bite() {
        keep(bite);
    }
    panic!("the memory is full");
}

/// Allocates until the memory is full, then frees it. Returns the number of MiB, including those
/// kept.
#[handler]
fn measure() -> Json<usize> {
    let mut bites = Vec::new();
    while let Some(bite) = bite() {
        bites.push(bite);
    }
    Json(bites.len() + EATEN.with_borrow(Vec::len))
}

/// Reserves one block of `mib` MiB without writing to it. Returns whether that worked.
#[handler]
fn reserve(mib: Json<usize>) -> Json<bool> {
    Json(Vec::<u8>::new().try_reserve_exact(*mib * MIB).is_ok())
}

fanfare_sdk::module!(eat, forever, measure, reserve, grow_memory, grow_table, who, ok);
