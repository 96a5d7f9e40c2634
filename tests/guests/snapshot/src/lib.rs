//! Counts, and hands the count over at a swap.

const BUILD: &str = "first";

include!("guest.rs");
