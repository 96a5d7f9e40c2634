//! Rendezvous hashing: of several places, the one with the highest hash of a key and its name has
//! the key. A place that comes or goes moves only the keys that it gets or had.

/// The hash of a key and the name of a place.
pub(super) fn weight_of(key: &str, place: &str) -> u64 {
    weight(key.bytes().chain([0xff]).chain(place.bytes()))
}

/// The hash of a key and a place: FNV-1a, then the last steps of SplitMix64, which mix all bits.
/// All nodes must pick the same place for a key, so it must not change.
pub fn weight(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
