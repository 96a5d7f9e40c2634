//! Durable broadcasts.
//!
//! A node publishes each one to a stream of JetStream, and counts it as kept when the stream has
//! acknowledged it. Until then it waits in a queue of bounded size, and is sent again after an
//! interruption, with the same id, so that the stream has it once (`publish.rs`).
//!
//! For each of its modules, a node has a consumer of the stream. The stream delivers one broadcast
//! at a time, and the node acknowledges it when all workers have run it (`read.rs`). So the order
//! is that of the stream, and a node that returns continues where it was. A broadcast that fails
//! too often moves to a second stream (`park.rs`).

mod dropped;
mod ids;
mod lost;
mod message;
mod outbox;
mod park;
mod parked;
mod publish;
mod read;
mod run;
mod state;
mod status;
mod streams;

pub(super) use state::Durable;
