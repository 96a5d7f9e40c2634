//! The connection that publishes, and notices a server that does not answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{RedisError, Value, cmd};

use super::link::{Commands, Link, reason};
use super::outbox::Outgoing;
use crate::call::text::{NAME, line};

/// The part of the connection, in its status.
const PART: &str = "commands";

/// What the server refuses, in its status, if it refuses a message.
const PUBLISH: &str = "publish";

/// Connects, and connects again, until it is dropped.
pub async fn run(link: Arc<Link>) {
    let mut retry = link.retry();
    link.health.begin(PART);
    loop {
        let reason = match link.open_commands(Duration::ZERO).await {
            Ok(commands) => {
                retry.reset();
                link.health.connected(PART);
                link.outbox.back();
                let error = serve(&link, commands).await;
                link.counts.downs.inc();
                link.outbox.ended();
                reason(&error)
            }
            Err(reason) => reason,
        };
        link.outbox.away();
        link.health.lost(PART, &reason);
        tokio::time::sleep(retry.delay()).await;
    }
}

/// Publishes what waits, until the connection is lost.
async fn serve(link: &Link, mut commands: Commands) -> RedisError {
    let mut refused = None;
    loop {
        tokio::select! {
            batch = link.outbox.take() => {
                if let Err(error) = publish(link, &commands, batch, &mut refused).await {
                    return error;
                }
                link.outbox.ended();
            }
            () = tokio::time::sleep(link.settings.timeout) => {
                let answer: Result<Value, RedisError> = cmd("PING").query_async(&mut commands.connection).await;
                match answer {
                    Err(error) if !is_answer(&error) => return error,
                    _ => {}
                }
            }
        }
    }
}

/// Publishes messages in their order. A message that the server refuses is counted, and those that
/// were on their way when the connection was lost are, too: it is not known whether the server got
/// them, and publishing them again could double them. `refused` is the channel that the server
/// refused last: only one, because modules may publish to any number of channels.
async fn publish(
    link: &Link,
    commands: &Commands,
    batch: Vec<Outgoing>,
    refused: &mut Option<Box<str>>,
) -> Result<(), RedisError> {
    let sent = batch.into_iter().map(|message| {
        let mut command = cmd("PUBLISH");
        command.arg(&*message.channel).arg(message.payload.as_bytes());
        let mut connection = commands.connection.clone();
        async move { (message.channel, command.query_async::<Value>(&mut connection).await) }
    });
    let mut outcome = Ok(());
    for (channel, answer) in join_all(sent).await {
        match answer {
            Ok(_) => {
                link.counts.published.inc();
                if refused.as_ref() == Some(&channel) {
                    *refused = None;
                    link.health.accepted(PUBLISH);
                }
            }
            Err(error) if is_answer(&error) => {
                link.counts.lost.inc();
                link.health.refused(PUBLISH, &format!("{}: {error}", line(&channel, NAME)));
                *refused = Some(channel);
            }
            Err(error) => {
                link.counts.lost.inc();
                outcome = Err(error);
            }
        }
    }
    outcome
}

/// Whether an error is the answer of the server, so that the connection is still good.
pub fn is_answer(error: &RedisError) -> bool {
    error.code().is_some()
}
