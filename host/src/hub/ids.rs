//! Maps by the ids of topics.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub type ByTopic<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

/// Hashes the ids of topics, which are consecutive numbers.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, id: u64) {
        let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
