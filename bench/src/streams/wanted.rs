//! The servers and the numbers of streams that are compared.

use crate::Effort;

/// A server that is measured.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    /// The argument of `stream-server`. `None`: `fanfare serve` with a guest that publishes.
    pub server: Option<&'static str>,
    pub threads: usize,
    pub ours: bool,
    /// Whether the target of `ours / baseline` counts for this server.
    pub compared: bool,
}

/// The machine of the results has two cores.
const WORKERS: usize = 2;

pub const KINDS: &[Kind] = &[
    Kind { name: "bare loop, 1 thread", server: Some("loop"), threads: 1, ours: false, compared: true },
    Kind { name: "bare loop, 2 threads", server: Some("loop"), threads: WORKERS, ours: false, compared: false },
    Kind { name: "bare hyper, 2 threads", server: Some("hyper"), threads: WORKERS, ours: false, compared: false },
    Kind { name: "embedding API, 2 workers", server: Some("fanfare"), threads: WORKERS, ours: true, compared: true },
    Kind { name: "guest, 2 workers", server: None, threads: WORKERS, ours: true, compared: true },
];

/// A number of streams, and how much is published to them.
#[derive(Debug)]
pub struct Size {
    pub streams: usize,
    pub name: &'static str,
    /// The number of events that are published one after the other.
    pub publishes: u64,
    /// The number of events that are published at once: fewer than the default of `sse.queue`.
    pub burst: u64,
    /// Whether ours has to stay below a multiple of the baseline.
    pub compared: bool,
}

pub fn sizes(effort: Effort) -> [Size; 2] {
    let few = Size { streams: 1_000, name: "1,000", publishes: 300, burst: 1_000, compared: true };
    let many = Size { streams: 10_000, name: "10,000", publishes: 100, burst: 200, compared: false };
    [few, many].map(|size| match effort.divisor {
        1 => size,
        // A quick run shows that everything works. Its numbers mean little.
        divisor => Size { publishes: (size.publishes / u64::from(divisor)).max(2), ..size },
    })
}
