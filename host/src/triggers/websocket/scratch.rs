//! One buffer per thread for reading, so that an idle client needs none.

use std::cell::RefCell;

/// The bytes of one read.
const SIZE: usize = 16 * 1024;

/// Calls a function with the buffer of this thread. It must not call this again.
pub(super) fn with_scratch<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into());
    }
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => use_it(&mut scratch),
        Err(_) => use_it(&mut [0; SIZE]),
    })
}
