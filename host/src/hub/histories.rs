//! The histories that count in `hub.history`.

/// Histories that share `hub.history` with others, in parts.
pub trait Histories: Send + Sync {
    /// Calls `look` with each part, and a bound of the bytes of its largest history.
    fn largest(&self, look: &mut dyn FnMut(usize, u64));

    /// Shrinks the histories of a part that have at least `least` bytes, the largest ones first,
    /// until all histories have `target` bytes.
    fn shrink(&self, part: usize, least: u64, target: u64);
}
