//! Channels whose history a stream of the cluster keeps, on their home: reading the stream, and
//! writing each message before anybody receives it.
//!
//! The reads and writes of one channel run one after the other. Messages that are published while
//! a write is on its way are written together afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use super::actor::Actor;
use super::backend::moves;
use super::keeping::{Done, Line, Next, Reader, Waiting};
use super::keeping_counts::KeepingTotals;
use super::routed::Rule;
use super::service::{ChannelService, Refusal};
use crate::call::{
    CallError, ChannelMessage, ChannelPage, ChannelPlace, ChannelPosition, ChannelRecord, ChannelSettings, Payload,
    Post, RecordPlaces, WriteError, WrittenChannel, time,
};
use crate::hub::{ReadHistory, Written};
use crate::ports::Acted;

/// What a message counts besides its payload.
const MESSAGE_BYTES: u64 = 256;

/// The pauses between attempts to read a history that members wait for.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

impl ChannelService {
    /// The figures of the histories that the cluster keeps.
    pub fn keeping(&self) -> KeepingTotals {
        self.keeping.totals()
    }

    /// Publishes a message that is allowed, on the home of its channel: everybody receives it once
    /// the stream has it.
    pub(super) fn publish_kept(
        &self,
        channel: &Arc<str>,
        (payload, session): (Payload, Option<Arc<str>>),
        (settings, seen): (ChannelSettings, u64),
        done: Done,
    ) {
        let bytes = (payload.len() as u64).saturating_add(MESSAGE_BYTES);
        let post = Post::channel(channel, session.as_deref(), payload.clone());
        let prepared = self.keeping.histories.check().and_then(|()| self.topics.prepare(vec![post]));
        let prepared = match prepared.and_then(|prepared| self.keeping.count(bytes).map(|()| prepared)) {
            Ok(prepared) => prepared,
            Err(error) => return done(Err(error)),
        };
        let since = Instant::now();
        let waiting = Waiting { payload, session, settings, prepared, bytes, seen, since, done };
        self.in_line(channel, |line| line.messages.push_back(waiting));
    }

    /// Waits until this node has read the history of a channel that has its home here. `seen` is a
    /// position that the reader has learned, and `is_node` whether that is another node. If the
    /// stream cannot be reached, what this node has read earlier is enough.
    pub(super) async fn until_read(
        &self,
        channel: &Arc<str>,
        seen: Option<ChannelPosition>,
        is_node: bool,
    ) -> Result<(), CallError> {
        if self.is_read(channel, seen) {
            return Ok(());
        }
        let (done, read) = oneshot::channel();
        self.in_line(channel, |line| line.readers.push(Reader { seen, is_node, done }));
        let read = read.await.unwrap_or_else(|_| Err(CallError::stopping()));
        match self.hub.channels.written(channel).0 {
            Written::Unread => read,
            Written::Doubtful | Written::Read(_) => Ok(()),
        }
    }

    /// The messages after a position, on the home, which has read the history. Those that it has
    /// dropped for `hub.history` come from the stream.
    pub(super) async fn whole_history(
        &self,
        channel: &Arc<str>,
        after: Option<ChannelPosition>,
        most: usize,
        max_bytes: u64,
    ) -> Result<ChannelPage, CallError> {
        if most > 0 && self.hub.channels.is_shrunk(channel, after, most) {
            let settings = self.own_rule(channel)?.settings;
            let history = self.read_stream(channel, &settings).await?;
            return Ok(page_of(history, after, (most, max_bytes), &settings));
        }
        self.hub.channels.history(channel, after, most, max_bytes).ok_or_else(|| moves(channel))
    }

    async fn read_stream(&self, channel: &str, settings: &ChannelSettings) -> Result<WrittenChannel, CallError> {
        let Ok(_permit) = self.keeping.reads.acquire().await else { return Err(CallError::stopping()) };
        let read = self.keeping.histories.read(channel, settings.count, settings.bytes).await;
        read.inspect_err(|_| _ = self.keeping.counts.failed.inc()).inspect(|_| _ = self.keeping.counts.read.inc())
    }

    fn is_read(&self, channel: &str, seen: Option<ChannelPosition>) -> bool {
        let (written, last) = self.hub.channels.written(channel);
        let is_behind =
            seen.is_some_and(|seen| seen.epoch > last.epoch || seen.epoch == last.epoch && seen.offset > last.offset);
        matches!(written, Written::Read(_)) && !is_behind
    }

    fn in_line(&self, channel: &Arc<str>, add: impl FnOnce(&mut Line)) {
        // Without it, nobody waits any more.
        let Some(service) = self.me.upgrade() else { return };
        let mut lines = self.keeping.lines.lock();
        let is_new = !lines.contains_key(channel);
        add(lines.entry(channel.clone()).or_default());
        drop(lines);
        if is_new {
            let channel = channel.clone();
            self.runtime.spawn(async move { service.run_line(&channel).await });
        }
    }

    async fn run_line(&self, channel: &Arc<str>) {
        while let Some(next) = self.keeping.next(channel) {
            match next {
                Next::Read(readers) => {
                    let latest = |readers: &mut dyn Iterator<Item = &Reader>| {
                        readers.filter_map(|reader| reader.seen).max_by_key(|seen| (seen.epoch, seen.offset))
                    };
                    let seen = latest(&mut readers.iter());
                    let by_node = latest(&mut readers.iter().filter(|reader| reader.is_node));
                    let read = self.read_history(channel, seen, by_node).await.map(drop);
                    readers.into_iter().for_each(|reader| _ = reader.done.send(read.clone()));
                }
                Next::Write(messages) => self.write_all(channel, messages).await,
            }
            consume_budget().await;
        }
        self.keeping.unless_busy(channel, || self.hub.channels.release(channel));
    }

    /// The rule of a channel that has its home here. Fails if it has not.
    fn own_rule(&self, channel: &Arc<str>) -> Result<Rule, CallError> {
        let rule = self.rule(channel, &Actor::host(self.keeping.limits.timeout))?;
        match self.elsewhere(channel, &rule)? {
            None if rule.settings.is_in_cluster() => Ok(rule),
            None | Some(_) => Err(moves(channel)),
        }
    }

    /// Whether a channel has its home here, and the cluster keeps its history.
    pub(super) fn is_own_and_kept(&self, channel: &Arc<str>) -> bool {
        self.own_rule(channel).is_ok()
    }

    /// Reads the history of a channel, unless this node has. Returns what it knows of it, and the
    /// position of its last message. `seen` is the latest position that somebody has learned, and
    /// `by_node` another node.
    async fn read_history(
        &self,
        channel: &Arc<str>,
        seen: Option<ChannelPosition>,
        by_node: Option<ChannelPosition>,
    ) -> Result<(ReadHistory, ChannelPosition), CallError> {
        let rule = self.own_rule(channel)?;
        if !self.is_read(channel, seen) {
            let settings = &rule.settings;
            let history = self.read_stream(channel, settings).await?;
            // Another node may have become the home meanwhile.
            self.own_rule(channel)?;
            let (epoch, news) = self
                .hub
                .channels
                .read(channel, history, settings)
                .map_err(|error| CallError::from(Refusal::from(error)))?;
            self.tell_news(channel, epoch, news);
            if let Some(seen) = by_node {
                self.hub.channels.renew_after(channel, seen);
            }
        }
        match self.hub.channels.written(channel) {
            (Written::Read(read), last) => Ok((read, last)),
            (Written::Unread | Written::Doubtful, _) => Err(moves(channel)),
        }
    }

    /// Tells other nodes about messages that they may not have received.
    fn tell_news(&self, channel: &str, epoch: u64, news: Vec<ChannelMessage>) {
        for ChannelMessage { offset, at, session, payload } in news {
            let post = Post::channel(channel, session.as_deref(), payload);
            let place = ChannelPlace { position: ChannelPosition { epoch, offset }, at };
            if let Ok(prepared) = self.topics.prepare(vec![post]) {
                prepared.send(&mut || Acted::Placed(place));
            }
        }
    }

    /// Writes messages together. Their publishers learn the positions, or the error.
    async fn write_all(&self, channel: &Arc<str>, mut messages: Vec<Waiting>) {
        loop {
            let timeout = self.keeping.limits.timeout;
            let late = messages.extract_if(.., |one| one.since.elapsed() >= timeout).collect();
            let away = "the history of the channel has not accepted the message in time";
            self.keeping.end_all(late, &CallError::Unavailable(away.to_owned()));
            let Some(seen) = messages.iter().map(|one| one.seen).max() else { return };
            let seen = (seen > 0).then_some(ChannelPosition { epoch: seen, offset: 0 });
            let (read, last) = match self.read_history(channel, seen, seen).await {
                Ok(read) => read,
                Err(error) => return self.keeping.end_all(messages, &error),
            };
            let place = |(offset, one): (u64, &Waiting)| ChannelMessage {
                offset,
                at: time::now(),
                session: one.session.clone(),
                payload: one.payload.clone(),
            };
            let placed: Vec<_> = (last.offset.saturating_add(1)..).zip(&messages).map(place).collect();
            let record = ChannelRecord { epoch: last.epoch, messages: placed.clone() };
            let error = match self.keeping.histories.write(channel, read.places.clone(), record).await {
                Ok(written) => {
                    let places = read.places.with(written);
                    for (one, message) in messages.into_iter().zip(placed) {
                        self.give_written(channel, last.epoch, (one, message), &places);
                    }
                    return;
                }
                Err(error) => error,
            };
            // What the stream has now is not known.
            self.hub.channels.doubt(channel);
            let error = match error {
                WriteError::Overtaken => {
                    self.keeping.counts.overtaken.inc();
                    // The previous home has written when this one had just read.
                    if read.first_read.is_some_and(|at| at.elapsed() < self.keeping.limits.gone_after / 2) {
                        continue;
                    }
                    moves(channel)
                }
                WriteError::Unknown(reason) => {
                    self.keeping.counts.failed.inc();
                    CallError::Timeout(Some(format!("the history may have the message: {reason}")))
                }
                WriteError::Refused(error) => {
                    self.keeping.counts.failed.inc();
                    error
                }
            };
            self.read_soon(channel);
            return self.keeping.end_all(messages, &error);
        }
    }

    /// Sends a message that the stream has to everybody.
    fn give_written(
        &self,
        channel: &str,
        epoch: u64,
        (one, message): (Waiting, ChannelMessage),
        places: &RecordPlaces,
    ) {
        let Waiting { settings, prepared, bytes, done, .. } = one;
        let place = ChannelPlace { position: ChannelPosition { epoch, offset: message.offset }, at: message.at };
        let mut message = Some(message);
        prepared.send(&mut || {
            // It is called once.
            let Some(message) = message.take() else { return Acted::Failed };
            // If the channel has moved meanwhile, its new home learns of the message.
            self.hub.channels.publish_written(channel, epoch, message, places.clone(), &settings);
            Acted::Placed(place)
        });
        self.keeping.counts.written.inc();
        self.keeping.end(done, bytes, Ok(Some(place.position)));
    }

    /// Reads the history of a channel in a task of its own, until it succeeds, while somebody here
    /// listens and the channel has its home here.
    pub(super) fn read_soon(&self, channel: &Arc<str>) {
        let Some(service) = self.me.upgrade() else { return };
        if !self.keeping.soon.lock().insert(channel.clone()) {
            return;
        }
        let channel = channel.clone();
        self.runtime.spawn(async move {
            let mut pause = PAUSES.0;
            while service.has_to_read(&channel) {
                _ = service.until_read(&channel, None, false).await;
                if service.has_to_read(&channel) {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
            service.keeping.soon.lock().remove(&channel);
            // It may have come into doubt just before.
            if service.has_to_read(&channel) {
                service.read_soon(&channel);
            }
        });
    }

    fn has_to_read(&self, channel: &Arc<str>) -> bool {
        self.hub.channels.has_listeners(channel) && self.is_own_and_kept(channel) && !self.is_read(channel, None)
    }

    /// Another node has given a message of a channel this place. If this node is the home and does
    /// not know of it, it reads the history again.
    pub(super) fn hears(&self, channel: &Arc<str>, position: ChannelPosition) {
        if self.is_own_and_kept(channel) && !self.is_read(channel, Some(position)) {
            self.hub.channels.doubt(channel);
            self.read_soon(channel);
        }
    }

    /// Another node may have been the home of channels meanwhile.
    pub(super) fn doubt_all(&self) {
        for channel in self.hub.channels.names() {
            if self.is_own_and_kept(&channel) {
                self.hub.channels.doubt(&channel);
                self.read_soon(&channel);
            }
        }
    }

    /// Reads histories again after the process was frozen, until the host ends.
    pub async fn watch_for_freezes(self: Arc<Self>) {
        // Other nodes may have taken this one for gone meanwhile.
        let gone_after = self.keeping.limits.gone_after;
        loop {
            let before = Instant::now();
            tokio::time::sleep(gone_after / 6).await;
            if before.elapsed() > gone_after / 2 {
                tracing::debug!("the host was frozen, and reads the histories of channels again");
                self.doubt_all();
            }
        }
    }
}

/// The messages after a position, or the newest ones, of what the stream has of a channel.
fn page_of(
    history: WrittenChannel,
    after: Option<ChannelPosition>,
    (most, max_bytes): (usize, u64),
    settings: &ChannelSettings,
) -> ChannelPage {
    let ChannelRecord { epoch, mut messages } =
        history.record.unwrap_or(ChannelRecord { epoch: 0, messages: Vec::new() });
    let latest = messages.last().map_or(0, |message| message.offset);
    // As many as the channel keeps.
    let oldest = time::now().saturating_sub(u64::try_from(settings.age.as_millis()).unwrap_or(u64::MAX));
    messages.drain(..messages.len().saturating_sub(settings.count));
    messages.retain(|message| message.at >= oldest);
    let first = messages.first().map_or(latest.saturating_add(1), |message| message.offset);
    let known = after.filter(|at| at.epoch == epoch && at.offset <= latest && at.offset.saturating_add(1) >= first);
    messages.retain(|message| known.is_none_or(|at| message.offset > at.offset));
    let mut bytes = 0u64;
    let mut fits = |message: &&ChannelMessage| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(message.payload.len() as u64).saturating_add(MESSAGE_BYTES);
        is_first || bytes <= max_bytes
    };
    let messages: Vec<ChannelMessage> = match after {
        Some(_) => messages.iter().take(most).take_while(&mut fits).cloned().collect(),
        None => {
            let newest: Vec<_> = messages.iter().rev().take(most).take_while(&mut fits).cloned().collect();
            newest.into_iter().rev().collect()
        }
    };
    let complete = match after {
        Some(_) => known.is_some(),
        None => latest == 0 || messages.first().is_some_and(|first| first.offset == 1),
    };
    ChannelPage { epoch, messages, latest, complete }
}
