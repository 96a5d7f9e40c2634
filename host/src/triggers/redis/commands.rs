//! The connections for commands: one that publishes, and one of the [stores](super::stores). Each
//! notices a server that does not answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{RedisError, Value, cmd};

use super::link::{Commands, Link, reason};
use super::outbox::Outgoing;
use crate::call::text::{NAME, line};

/// The connection that publishes, in the status.
const PART: &str = "commands";

/// What the server refuses, in its status, if it refuses a message.
const PUBLISH: &str = "publish";

/// Publishes, until it is dropped.
pub async fn run(link: Arc<Link>) {
    keep(&link, PART, link.max_payload, serve, |link, _| link.outbox.away()).await;
}

/// Connects, and connects again, until it is dropped. The connection receives values of at most
/// `most` bytes. `serve` returns why the connection is lost, and `away` gets the reason of that and
/// of each failed attempt.
pub async fn keep<F: Future<Output = RedisError>>(
    link: &Arc<Link>,
    part: &str,
    most: u64,
    serve: fn(Arc<Link>, Commands) -> F,
    away: fn(&Link, &str),
) {
    let mut retry = link.retry();
    link.health.begin(part);
    loop {
        let reason = match link.open_commands(Duration::ZERO, most).await {
            Ok(commands) => {
                retry.reset();
                link.health.connected(part);
                let error = serve(link.clone(), commands).await;
                link.counts.downs.inc();
                reason(&error)
            }
            Err(reason) => reason,
        };
        away(link, &reason);
        link.health.lost(part, &reason);
        tokio::time::sleep(retry.delay()).await;
    }
}

/// Fails if the server does not answer.
pub async fn ping(commands: &mut Commands) -> Result<(), RedisError> {
    match cmd("PING").query_async::<Value>(&mut commands.connection).await {
        Err(error) if !is_answer(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Publishes what waits, until the connection is lost.
async fn serve(link: Arc<Link>, mut commands: Commands) -> RedisError {
    link.outbox.back();
    let mut refused = None;
    let error = loop {
        tokio::select! {
            batch = link.outbox.take() => {
                if let Err(error) = publish(&link, &commands, batch, &mut refused).await {
                    break error;
                }
                link.outbox.ended();
            }
            () = tokio::time::sleep(link.settings.timeout) => {
                if let Err(error) = ping(&mut commands).await {
                    break error;
                }
            }
        }
    };
    link.outbox.ended();
    error
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
