//! Gets from the homes of channels what has not arrived here, and follows channels that move.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;

use super::actor::Actor;
use super::routed::Rule;
use super::service::ChannelService;
use crate::call::channel::BYTES_OF_PAGE;
use crate::call::{CallError, ChannelAsk, ChannelPage, ChannelPosition, TopicKind};
use crate::hub::{Assigned, Mended};

/// How long a home may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The channels whose homes are asked at the same time.
const AT_ONCE: usize = 16;

/// How often a home is asked without success, and the pause between two attempts.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause until a home is told again which places this node has given.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A task that tells homes what this node knows of their channels.
struct Telling(Arc<ChannelService>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.telling.send_modify(|count| *count -= 1);
    }
}

impl ChannelService {
    /// Gets what is missing of a channel, in a task of its own.
    pub(super) fn mend_soon(&self, channel: &Arc<str>) {
        if let Some(telling) = self.begin_to_tell() {
            let channel = channel.clone();
            self.runtime.spawn(async move { telling.0.mend(&channel).await });
        }
    }

    /// Gets what is missing of a channel. Members and listeners learn what cannot be had.
    async fn mend(&self, channel: &Arc<str>) {
        let actor = Actor::host(TIMEOUT);
        let Ok(_permit) = self.mends.acquire().await else { return };
        let mut missing = match self.home_for(channel, &actor) {
            Ok(Some((_, node))) => self.hub.channels.begin_mend(channel, &node),
            Ok(None) | Err(_) => None,
        };
        let mut failures = 0;
        while let Some(Mended::After(after)) = missing {
            // The channel may move meanwhile.
            let (rule, node) = match self.home_for(channel, &actor) {
                Ok(Some(home)) => home,
                Ok(None) if self.is_own_and_kept(channel) => {
                    // This node gets it from the stream.
                    self.hub.channels.wait_for_history(channel);
                    self.read_soon(channel);
                    return;
                }
                Ok(None) => break,
                Err(_) if failures < ATTEMPTS => {
                    failures += 1;
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(_) => break,
            };
            let next = match self.missed_page(&node, channel, after, &actor).await {
                Ok(page) => self.hub.channels.mend(channel, page, &rule.settings),
                Err(error) => {
                    tracing::debug!(%channel, %node, %error, "the home of a channel does not tell what is missing");
                    tokio::time::sleep(PAUSE).await;
                    Mended::After(after)
                }
            };
            failures = if next == Mended::After(after) { failures + 1 } else { 0 };
            missing = Some(next).filter(|next| *next != Mended::Whole);
            if failures >= ATTEMPTS {
                break;
            }
        }
        if missing.is_some() {
            self.hub.channels.end_mend(channel);
        }
    }

    async fn missed_page(
        &self,
        node: &str,
        channel: &Arc<str>,
        after: Option<ChannelPosition>,
        actor: &Actor,
    ) -> Result<ChannelPage, CallError> {
        self.history_at(node, channel, ChannelAsk::Missed { after, max_bytes: BYTES_OF_PAGE }, actor).await
    }

    /// The rule of a channel, and its home if that is another node.
    fn home_for(&self, channel: &Arc<str>, actor: &Actor) -> Result<Option<(Rule, Arc<str>)>, CallError> {
        let rule = self.rule(channel, actor)?;
        Ok(self.elsewhere(channel, &rule)?.map(|node| (rule, node)))
    }

    /// Learns the numbers of a channel from its home, so that nothing can go missing unnoticed from
    /// then on.
    pub(super) async fn settle(&self, channel: &Arc<str>) {
        if self.is_own_and_kept(channel) {
            if self.until_read(channel, None, false).await.is_err() {
                self.read_soon(channel);
            }
            return;
        }
        let is_elsewhere = matches!(self.home_for(channel, &Actor::host(TIMEOUT)), Ok(Some(_)));
        if !is_elsewhere || !self.hub.channels.is_unknown(channel) {
            return;
        }
        self.mend(channel).await;
        // Another one may be under way.
        let until = Instant::now() + TIMEOUT;
        while self.hub.channels.is_unknown(channel) && self.hub.channels.is_mending(channel) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until everything arrives that the home of a channel publishes from then on, if
    /// somebody listens here.
    pub(super) async fn until_followed(&self, channel: &Arc<str>) {
        if self.hub.channels.is_unknown(channel) {
            self.topics.follow(TopicKind::Channel, channel).confirmed().await;
            self.settle(channel).await;
        }
    }

    /// Messages of other nodes may be missing in any channel.
    pub fn missed(&self) {
        self.doubt_all();
        self.mend_all(self.hub.channels.names());
    }

    /// Channels may have another home.
    pub fn follow_homes(&self) {
        let actor = Actor::host(TIMEOUT);
        let home = |channel: &Arc<str>| {
            let rule = self.rule(channel, &actor).ok().filter(Rule::has_home)?;
            self.elsewhere(channel, &rule).ok()
        };
        let mut missing = Vec::new();
        for channel in self.hub.channels.names() {
            let Some(home) = home(&channel) else { continue };
            if home.is_none() && self.is_own_and_kept(&channel) {
                self.hub.channels.wait_for_history(&channel);
                self.read_soon(&channel);
                continue;
            }
            let Assigned { follows, left } = self.hub.channels.assign(&channel, home.as_ref());
            if let Some(last) = left {
                self.tell_last(channel.clone(), last);
            }
            if follows {
                missing.push(channel);
            }
        }
        let ended = self.hub.channels.take_ended(|channel| home(channel).flatten().is_some());
        ended.into_iter().for_each(|(channel, last)| self.tell_last(channel, last));
        self.mend_all(missing);
    }

    /// Follows the homes of all channels, and waits until they know what this node knows of their
    /// places.
    pub(super) async fn settle_all(&self) {
        self.follow_homes();
        // The sender lives as long as the service.
        _ = self.telling.subscribe().wait_for(|count| *count == 0).await;
    }

    /// A task that tells homes what this node knows, as long as the result is not dropped.
    fn begin_to_tell(&self) -> Option<Telling> {
        let service = self.me.upgrade()?;
        self.telling.send_modify(|count| *count += 1);
        Some(Telling(service))
    }

    /// Tells the new home of a channel which places this node has given, so that it continues with
    /// later ones. It is tried until a home knows, because otherwise nobody would be told that
    /// messages are missing which others have received.
    fn tell_last(&self, channel: Arc<str>, last: ChannelPosition) {
        let mut telling = self.begin_to_tell();
        let Some(service) = self.me.upgrade() else { return };
        self.runtime.spawn(async move {
            let (actor, mut pause) = (Actor::host(TIMEOUT), PAUSE);
            // Later places that this node knows of are told or given by others.
            while service.hub.channels.seen(&channel).is_none_or(|epoch| epoch <= last.epoch) {
                match service.home_for(&channel, &actor) {
                    Ok(Some((_, node))) => {
                        let Ok(_permit) = service.mends.acquire().await else { return };
                        if service.missed_page(&node, &channel, Some(last), &actor).await.is_ok() {
                            return;
                        }
                        telling = telling.or_else(|| service.begin_to_tell());
                    }
                    // This node is the home again, or nobody is.
                    Ok(None) => telling = None,
                    Err(_) => {}
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    fn mend_all(&self, channels: Vec<Arc<str>>) {
        if channels.is_empty() {
            return;
        }
        let Some(telling) = self.begin_to_tell() else { return };
        self.runtime.spawn(async move {
            let service = &telling.0;
            stream::iter(channels).for_each_concurrent(AT_ONCE, async |channel| service.mend(&channel).await).await;
        });
    }
}
