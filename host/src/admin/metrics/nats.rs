//! Metrics of the messages of NATS.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::writer::Writer;

/// Each counter with the name of its metric and its help.
#[derive(Debug)]
pub(super) struct Nats(pub Vec<(&'static str, &'static str, u64)>);

impl Collector for Nats {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        self.0.iter().try_for_each(|(metric, help, value)| writer.counter(metric, help, *value))
    }
}
