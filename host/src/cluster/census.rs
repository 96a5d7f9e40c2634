//! The members of channels on other nodes: the port [`Neighbors`].

use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use super::Cluster;
use super::census_request::{CensusRequest, number_of};
use super::presence::View;
use super::sessions::{Effect, as_json, failed, from_json, unanswered};
use super::wire::{Request, Sender};
use crate::call::{CallError, CensusBatch, CensusPage, ChannelHome, GatherEntry, IsolateId, Payload, Reply};
use crate::ports::{BoxFuture, Neighbors, NodesSeen, Peers};

/// The bytes of a message besides the steps or the members.
const HEAD: usize = 1_024;

impl Cluster {
    fn ask_neighbor(&self, node: &str, request: CensusRequest) -> BoxFuture<Result<Reply, CallError>> {
        let is_batch = matches!(request, CensusRequest::Batch { .. });
        let asked = self.neighbor(node).and_then(|node| {
            let bytes = self.written(Request::Census(self.sender(), request))?;
            match is_batch {
                true => self.ask_beside((node, bytes)),
                false => self.ask_each(vec![(node, bytes)]),
            }
        });
        let within = self.config.gone_after;
        match asked {
            Err(error) => failed(error),
            Ok(asked) => Box::pin(async move {
                let (node, outcome) = asked.outcomes(within).await.pop().ok_or_else(CallError::stopping)?;
                outcome.map_err(|why| unanswered(&node, why, Effect::Reads))
            }),
        }
    }

    /// Does what another node tells or asks about the members of channels. It is done when this
    /// returns.
    pub(super) fn on_census(
        &self,
        from: &Sender,
        request: CensusRequest,
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        let Some(census) = self.node.census.get().and_then(std::sync::Weak::upgrade) else {
            return failed(CallError::stopping());
        };
        let outcome = match request {
            CensusRequest::Batch { mut batch, steps } => {
                batch.steps = steps.to_text().into_owned();
                as_json(&census.receive(&from.node, &from.boot, batch))
            }
            CensusRequest::Page { channel, after, most } => {
                census.page(&channel, after.as_deref(), most).and_then(|page| as_json(&page))
            }
        };
        Box::pin(std::future::ready(Ok(vec![GatherEntry { isolate: IsolateId::Master, node: None, outcome }])))
    }

    /// A number that is the same on nodes that see the same homes.
    fn view_number(&self, view: &View) -> u64 {
        if self.is_leaving() { view.number } else { view.number ^ number_of(&self.info.lock()) }
    }
}

impl Neighbors for Cluster {
    fn own(&self) -> Arc<str> {
        self.own.id.as_str().into()
    }

    fn nodes(&self) -> NodesSeen {
        let view = self.view.load();
        let mut all = view.frontends.clone();
        all.extend(view.nodes.iter().map(|(id, node)| (id.clone(), node.clone())));
        let others = all.values().map(|node| (node.peer.id.clone(), node.info.boot.clone())).collect();
        NodesSeen { others, view: self.view_number(&view) }
    }

    fn view(&self) -> u64 {
        self.view_number(&self.view.load())
    }

    fn home(&self, channel: &str) -> Option<Arc<str>> {
        match self.node.dispatch()?.channel_home(channel) {
            Ok(Some(ChannelHome::Node(node))) => Some(node),
            Ok(Some(ChannelHome::Own) | None) => Some(Neighbors::own(self)),
            Err(_) => None,
        }
    }

    fn changed(&self) -> BoxFuture<()> {
        let changes = self.node.dispatch().map(|dispatch| dispatch.home_changes());
        Box::pin(async move {
            match changes {
                Some(mut changes) => changes.next().await,
                None => std::future::pending().await,
            }
        })
    }

    fn tell(&self, node: &str, mut batch: CensusBatch) -> BoxFuture<Result<bool, CallError>> {
        let steps = Payload::Text(std::mem::take(&mut batch.steps));
        let told = self.ask_neighbor(node, CensusRequest::Batch { batch, steps });
        Box::pin(async move { from_json(&told.await?) })
    }

    fn page(
        &self,
        node: &str,
        channel: &str,
        after: Option<&str>,
        most: usize,
    ) -> BoxFuture<Result<CensusPage, CallError>> {
        let (channel, after) = (channel.to_owned(), after.map(str::to_owned));
        let page = self.ask_neighbor(node, CensusRequest::Page { channel, after, most });
        Box::pin(async move { from_json(&page.await?) })
    }

    fn is_up(&self) -> bool {
        self.client().is_ok() && self.joined.load(Acquire)
    }

    fn max_bytes(&self) -> usize {
        self.link.max_payload().saturating_sub(HEAD)
    }

    fn gone_after(&self) -> Duration {
        self.config.gone_after
    }
}
