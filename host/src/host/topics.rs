//! What other nodes tell about topics, on its way to the parts of this node.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::call::{Event, Payload, Post, PostAbout, TopicKind, event_type};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::hub::ServiceLog;
use crate::ports::TopicReceiver;
use crate::registry::SourceKind;
use crate::triggers::channels::{ChannelService, Homes};
use crate::triggers::sse::Publisher;
use crate::triggers::subscriptions::Subscriptions;

/// The parts of this node that have topics.
struct Receivers {
    publisher: Weak<Publisher>,
    log: Arc<ServiceLog>,
    channels: Weak<ChannelService>,
    subscriptions: Weak<Subscriptions>,
}

impl TopicReceiver for Receivers {
    fn receive(&self, from: &str, post: Post) {
        match &post.about {
            PostAbout::Stream { .. } | PostAbout::Close { .. } => {
                if let Some(publisher) = self.publisher.upgrade() {
                    publisher.receive(post);
                }
            }
            PostAbout::Channel { channel, session } => {
                if let Some(channels) = self.channels.upgrade() {
                    let (channel, session) = (channel.as_str().into(), session.as_deref().map(Into::into));
                    channels.receive(from, &channel, post.place, (session, post.payload));
                }
            }
            PostAbout::Event { module, kind, source } => {
                let (Payload::Text(value), true) = (&post.payload, event_type::is_type(kind)) else { return };
                let source = source.as_deref().map(Into::into);
                let event = Event { kind: kind.as_str().into(), value: value.as_str().into(), source };
                self.log.emit(&module.as_deref().map(Into::into), event);
            }
        }
    }

    fn missed(&self, kind: TopicKind) {
        match kind {
            TopicKind::Stream => {
                if let Some(publisher) = self.publisher.upgrade() {
                    publisher.missed();
                }
            }
            TopicKind::Channel => {
                let subscriptions = self.subscriptions.upgrade();
                let all = subscriptions.map(|all| all.wanted(SourceKind::Channel)).unwrap_or_default();
                all.iter().for_each(|subscription| subscription.missed(None));
                if let Some(channels) = self.channels.upgrade() {
                    channels.missed();
                }
            }
            TopicKind::Event => self.log.gap(),
        }
    }

    fn skip(&self, kind: TopicKind) -> u64 {
        match kind {
            TopicKind::Stream => self.publisher.upgrade().map_or(0, |publisher| publisher.skip()),
            // Its readers are told by a gap in the log.
            TopicKind::Channel | TopicKind::Event => 0,
        }
    }
}

/// Connects the topics of this node with those of the others.
pub(super) fn connect(
    cluster: Option<&Arc<Cluster>>,
    (dispatch, end): (&Arc<Dispatch>, &CancellationToken),
    config: &Config,
    publisher: &Arc<Publisher>,
    log: &Arc<ServiceLog>,
    channels: &Arc<ChannelService>,
    subscriptions: &Arc<Subscriptions>,
) {
    let Some(cluster) = cluster else { return };
    let receivers = Receivers {
        publisher: Arc::downgrade(publisher),
        log: log.clone(),
        channels: Arc::downgrade(channels),
        subscriptions: Arc::downgrade(subscriptions),
    };
    // Readers who return find in the history what was published while they were away.
    let history = &config.sse.history;
    let streams = if history.count > 0 { history.age } else { Duration::ZERO };
    let linger = move |kind| match kind {
        TopicKind::Stream => streams,
        TopicKind::Channel | TopicKind::Event => Duration::ZERO,
    };
    cluster.set_topics(Arc::new(receivers), Box::new(linger));
    cluster.set_channels(Arc::new(Homes(Arc::downgrade(channels))));
    tokio::spawn(end.clone().run_until_cancelled_owned(channels.clone().watch_for_freezes()));
    let (mut changes, channels) = (dispatch.home_changes(), Arc::downgrade(channels));
    tokio::spawn(end.clone().run_until_cancelled_owned(async move {
        loop {
            changes.next().await;
            let Some(channels) = channels.upgrade() else { return };
            channels.follow_homes();
        }
    }));
}
