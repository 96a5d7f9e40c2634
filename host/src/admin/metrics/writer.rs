//! Writes metrics to the encoder.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

pub struct Writer<'a>(pub DescriptorEncoder<'a>);

impl Writer<'_> {
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// Writes a family. Each member is its labels and a function that encodes its value.
    pub fn family<const N: usize, F: FnOnce(MetricEncoder<'_>) -> fmt::Result>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        members: impl Iterator<Item = ([(&'static str, String); N], F)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        members.into_iter().try_for_each(|(labels, encode)| encode(family.encode_family(&labels)?))
    }
}
