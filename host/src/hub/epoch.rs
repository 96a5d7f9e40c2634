//! A number for each start of the host.

use std::hash::{BuildHasher, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

/// Differs for each start of the host, so that no client mistakes a position of an earlier start.
pub fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let random = std::hash::RandomState::new().build_hasher().finish();
    (u64::try_from(since.as_millis()).unwrap_or_default() << 16) | (random & 0xffff)
}
