//! A number for each start of the host.

use std::hash::{BuildHasher, Hasher};

use crate::call::time::now;

/// Differs for each start of the host, so that no client mistakes a position of an earlier start.
pub fn epoch() -> u64 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    (now() << 16) | (random & 0xffff)
}
