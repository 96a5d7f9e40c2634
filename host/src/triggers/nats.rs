//! NATS: receives messages of subjects and of JetStream for the subscriptions of modules, and
//! publishes messages of modules.
//!
//! The connection is that of the cluster. Everything runs on the thread `links`.

mod consumer;
mod counts;
mod receive;
mod shared;

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::subscriptions::{Subscription, Subscriptions};
use crate::call::text::{NAME, line};
use crate::call::{CallError, Payload, topic};
use crate::events::EventLog;
use crate::ports::NatsConnection;
use crate::registry::{NatsSource, Source, SourceKind};
pub use shared::Settings;

use counts::Counts;
use shared::Shared;

/// What the host receives from NATS, and what modules publish there.
pub struct Nats {
    /// `None` if the settings name no server.
    connection: Option<Arc<dyn NatsConnection>>,
    shared: Arc<Shared>,
}

impl Nats {
    pub fn new(connection: Option<Arc<dyn NatsConnection>>, settings: Settings, events: Arc<EventLog>) -> Nats {
        Nats { connection, shared: Arc::new(Shared { settings, events, counts: Counts::default() }) }
    }

    /// Starts to follow the subscriptions, on the runtime of the thread `links`. Ends when `end` is
    /// cancelled.
    pub fn start(self: &Arc<Self>, runtime: &Handle, subscriptions: Arc<Subscriptions>, end: CancellationToken) {
        let nats = self.clone();
        runtime.spawn(end.run_until_cancelled_owned(async move { nats.run(subscriptions).await }));
    }

    async fn run(self: Arc<Self>, subscriptions: Arc<Subscriptions>) {
        let mut tasks = JoinSet::new();
        let mut known: Vec<Arc<Subscription>> = Vec::new();
        let mut changes = subscriptions.changes();
        loop {
            changes.mark_unchanged();
            let wanted = subscriptions.wanted(SourceKind::Nats);
            known.retain(|one| wanted.iter().any(|other| Arc::ptr_eq(one, other)));
            for one in &wanted {
                let Source::Nats(source) = &one.source else { continue };
                if known.iter().any(|other| Arc::ptr_eq(one, other)) {
                    continue;
                }
                known.push(one.clone());
                match self.connection.clone() {
                    None => one.set_refusal(Some("fanfare.json names no NATS servers: set cluster.nats".to_owned())),
                    Some(connection) => {
                        _ = tasks.spawn(receive_from(self.shared.clone(), connection, one.clone(), source.clone()));
                    }
                }
            }
            // Those that have ended.
            while tasks.try_join_next().is_some() {}
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Queues a message of a module.
    pub fn publish(&self, subject: String, payload: Payload) -> Result<(), CallError> {
        let Some(connection) = &self.connection else {
            let why = "this host is not connected to NATS: set cluster.nats in fanfare.json";
            return Err(CallError::Unavailable(why.to_owned()));
        };
        if !topic::is_nats_subject(&subject) {
            return Err(CallError::Invalid(format!(
                "`{}` is no subject of NATS to publish to: it is tokens with dots between them, without spaces and \
                 wildcards, and begins with neither `$` nor `_`",
                line(&subject, NAME)
            )));
        }
        if connection.owns(&subject) {
            let why = format!("the nodes of the cluster use the subject `{}` themselves", line(&subject, NAME));
            return Err(CallError::Forbidden(why));
        }
        let published = connection.publish(subject, payload.into_bytes().into());
        match &published {
            Ok(()) => self.shared.counts.published.inc(),
            Err(_) => self.shared.counts.refused.inc(),
        };
        published
    }

    /// Each counter with the name of its metric and its help. Empty without a connection.
    pub fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.connection.as_ref().map(|_| self.shared.counts.snapshot()).unwrap_or_default()
    }
}

/// Receives for one subscription until it ends.
async fn receive_from(
    shared: Arc<Shared>,
    connection: Arc<dyn NatsConnection>,
    one: Arc<Subscription>,
    source: NatsSource,
) {
    match &source.stream {
        Some(stream) => consumer::run(shared, connection, one, &source, stream).await,
        None => receive::run(&shared, &*connection, &one, &source).await,
    }
}
