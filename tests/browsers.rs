//! Browsers and other people's readers of streams, as clients of the host.

mod follow;
mod full;
mod ticker;
