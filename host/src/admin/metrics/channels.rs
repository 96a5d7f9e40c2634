//! Metrics of channels: each bound, and what passes through.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::Counter;

use super::hub::member;
use super::writer::Writer;
use crate::hub::Hub;
use crate::triggers::channels::ChannelService;

pub(super) struct Channels {
    pub hub: Arc<Hub>,
    pub service: Arc<ChannelService>,
    /// `hub.topics`.
    pub max: u32,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("channels")
    }
}

impl Collector for Channels {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let totals = self.hub.channels.totals();
        let help = "Channels that have members, a history, or a module that listens";
        writer.gauge("fanfare_channels", help, totals.channels.into())?;
        writer.gauge("fanfare_channels_max", "hub.topics", self.max.into())?;
        writer.gauge("fanfare_channel_subscriptions", "Subscriptions of clients", totals.subscriptions.into())?;
        let waiting = self.service.waiting() as u64;
        writer.gauge("fanfare_channel_waiting", "Requests that wait for the routes of their channels", waiting)?;
        writer.counter("fanfare_channel_published", "Messages published to channels", totals.published)?;
        let help = "Messages that histories of channels dropped because of hub.history";
        writer.counter("fanfare_channel_evicted", help, totals.evicted_messages)?;
        let help = "Messages of channels that did not arrive, and that the home of the channel has sent again";
        writer.counter("fanfare_channel_mended", help, totals.mended)?;
        let help = "How often members of channels missed messages of another node";
        writer.counter("fanfare_channel_gaps", help, totals.gaps)?;
        let help = "Channels whose history was dropped for other channels because of hub.topics";
        writer.counter("fanfare_channels_evicted", help, totals.evicted)?;
        let help = "Subscriptions and messages beyond hub.topics";
        writer.counter("fanfare_channels_refused", help, totals.refused)?;
        let census = self.service.census();
        let help = "The memory of the members of channels that this node knows for other nodes";
        writer.gauge("fanfare_census_bytes", help, census.bytes as u64)?;
        let help = "How often this node has told another one all members of channels again";
        writer.counter("fanfare_census_told_again", help, census.told_again)?;
        let kept = self.service.keeping();
        let help = "Messages that the histories of the cluster do not have yet";
        writer.gauge("fanfare_histories_queued_messages", help, kept.queued)?;
        writer.gauge("fanfare_histories_queued_bytes", "Bytes of the messages that wait", kept.queued_bytes)?;
        for (name, help, count) in [
            ("fanfare_histories_written", "Messages of this node that the histories of the cluster have", kept.written),
            (
                "fanfare_histories_overtaken",
                "Times that the history of a channel was not written, because another node had",
                kept.overtaken,
            ),
            (
                "fanfare_histories_failed",
                "Times that the history of a channel could not be read or written, or that this is not known",
                kept.failed,
            ),
            ("fanfare_histories_refused", "Messages that cluster.histories.queue had no room for", kept.refused),
            ("fanfare_histories_read", "Histories that this node has read from the cluster", kept.read),
        ] {
            writer.counter(name, help, count)?;
        }
        let refused = self.service.counters().refused();
        let refused = refused.map(|(action, count)| member("action", action.as_str(), count));
        let help = "Actions that the route of a channel refused, or could not be asked about";
        writer.family("fanfare_channel_refused", help, Counter, refused)
    }
}
