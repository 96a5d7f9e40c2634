//! Counts, and hands the count over in a swap.

const BUILD: &str = "first";

include!("guest.rs");
