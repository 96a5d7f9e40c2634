//! Makes streams of JetStream.

use std::collections::BTreeSet;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Config;

/// The most copies of a stream in a cluster of NATS servers.
const MOST_COPIES: usize = 3;

/// Makes a stream with as many copies as the servers allow. `config` gets the number of copies.
pub(super) async fn make(client: &Client, context: &Context, config: impl Fn(usize) -> Config) -> Result<(), String> {
    let urls: BTreeSet<String> =
        client.try_server_info().map(|info| info.connect_urls).unwrap_or_default().into_iter().collect();
    // A server lists its own addresses as those of a cluster, too.
    if urls.len() >= MOST_COPIES && context.create_stream(config(MOST_COPIES)).await.is_ok() {
        return Ok(());
    }
    let made = context.create_stream(config(1)).await;
    made.map(|_| ())
        .map_err(|error| format!("it cannot be made, is JetStream enabled (nats-server --jetstream)? {error}"))
}
