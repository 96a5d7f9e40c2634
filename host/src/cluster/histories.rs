//! The stream with the histories of channels: the port [`Histories`].
//!
//! All channels share one stream of JetStream, each with a subject of its own. A record has the
//! messages that were published while the previous one was on its way, so that a channel has one
//! record on its way at a time. The stream accepts it only if nobody has written another one since
//! this node has read or written the channel, so that two nodes never give the same position.

mod record;

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind};
use futures_util::future::join_all;

use super::Cluster;
use super::bucket::key;
use super::jetstream::{JetStream, StreamSpec, came_late};
use super::stored::size;
use crate::call::text::{MESSAGE, line};
use crate::call::{CallError, ChannelRecord, RecordPlaces, WriteError, WrittenChannel};
use crate::config::HistoriesConfig;
use crate::ports::{BoxFuture, Histories};

/// How long the stream knows the ids of records, which have none.
const WINDOW: Duration = Duration::from_secs(60);

fn unavailable(reason: &str) -> CallError {
    CallError::Unavailable(format!("the history of the channel cannot be reached: {}", line(reason, MESSAGE)))
}

impl Cluster {
    pub(super) fn histories_stream(&self) -> String {
        format!("{}_histories", self.config.name)
    }

    fn history_subject(&self, channel: &str) -> String {
        format!("{}.history.{}", self.config.name, key(&[channel]))
    }

    /// The connection to the stream, which the first call makes.
    async fn open_histories(&self) -> Result<Context, String> {
        let mut opened = self.histories.lock().await;
        if let Some(context) = &*opened {
            return Ok(context.clone());
        }
        let jetstream = JetStream::by(&self.link)?;
        let HistoriesConfig { max_age, max_bytes, max_messages, .. } = self.config.histories;
        let stream = StreamSpec {
            name: self.histories_stream(),
            setting: "cluster.histories",
            subject: format!("{}.history.>", self.config.name),
            description: "The histories of channels of a Fanfare cluster",
            max_age,
            max_bytes,
            max_per_subject: Some(max_messages),
            window: WINDOW,
        };
        stream.open(&jetstream).await?;
        *opened = Some(jetstream.context.clone());
        Ok(jetstream.context)
    }

    async fn write_record(
        &self,
        subject: String,
        after: RecordPlaces,
        record: ChannelRecord,
    ) -> Result<u64, WriteError> {
        let (headers, payload) = record::write(&record, &after).map_err(CallError::Invalid)?;
        let (bytes, most) = (size(&headers, &payload), self.link.max_payload());
        if most > 0 && bytes > most {
            return Err(WriteError::Refused(CallError::Invalid(format!(
                "the message has {bytes} bytes in the history of the cluster, and max_payload of the NATS server \
                 allows {most}"
            ))));
        }
        let context = self.open_histories().await.map_err(|reason| unavailable(&reason))?;
        let lost = self.link.lost();
        let written = async {
            let acknowledged = context.publish_with_headers(subject, headers, payload).await?;
            acknowledged.await
        };
        let written = tokio::select! {
            biased;
            written = written => written,
            () = lost.cancelled() => return Err(WriteError::Unknown("the connection to NATS was lost".to_owned())),
        };
        match written {
            Ok(written) => Ok(written.sequence),
            Err(error) => {
                if error.kind() == PublishErrorKind::StreamNotFound {
                    *self.histories.lock().await = None;
                }
                Err(unwritten(&error))
            }
        }
    }

    async fn read_records(&self, channel: &str, most: usize, max_bytes: u64) -> Result<WrittenChannel, String> {
        let context = self.open_histories().await?;
        let name = self.histories_stream();
        // The leader of the stream answers, so that nothing is missing that it has acknowledged.
        let stream = context.get_stream_no_info(&name).await.map_err(|error| error.to_string())?;
        let subject = self.history_subject(channel);
        let Some(newest) = found(stream.get_last_raw_message_by_subject(&subject).await)? else {
            return Ok(WrittenChannel::default());
        };
        let parse = |message: &StreamMessage| {
            record::read(&message.headers, &message.payload)
                .map_err(|error| format!("the record {} of {name} cannot be read: {error}", message.sequence))
        };
        let (ChannelRecord { epoch, messages }, mut before) = parse(&newest)?;
        let places = before.with(newest.sequence);
        let (mut count, mut bytes) = (messages.len(), newest.payload.len() as u64);
        let mut records = vec![messages];
        while count < most && bytes < max_bytes && !before.0.is_empty() {
            // As many as are likely to fit, so that few are read in vain.
            let of_count = (most - count).div_ceil((count / records.len()).max(1));
            let of_bytes = (max_bytes - bytes).div_ceil((bytes / records.len() as u64).max(1));
            let wanted = of_count.min(usize::try_from(of_bytes).unwrap_or(of_count));
            let reads = std::mem::take(&mut before.0).into_iter().take(wanted);
            for read in join_all(reads.map(|place| stream.get_raw_message(place))).await {
                let Some(message) = found(read)?.filter(|message| *message.subject == *subject) else { break };
                let (record, earlier) = parse(&message)?;
                if record.epoch != epoch {
                    break;
                }
                (count, bytes) = (count + record.messages.len(), bytes.saturating_add(message.payload.len() as u64));
                records.push(record.messages);
                before = earlier;
            }
        }
        let messages = records.into_iter().rev().flatten().collect();
        Ok(WrittenChannel { places, record: Some(ChannelRecord { epoch, messages }) })
    }
}

/// The message, or `None` if the stream does not have it.
fn found(message: Result<StreamMessage, RawMessageError>) -> Result<Option<StreamMessage>, String> {
    match message {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn unwritten(error: &PublishError) -> WriteError {
    match error.kind() {
        PublishErrorKind::WrongLastSequence => WriteError::Overtaken,
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => WriteError::Unknown(error.to_string()),
        PublishErrorKind::MaxPayloadExceeded => WriteError::Refused(CallError::Invalid(error.to_string())),
        _ if came_late(error) => WriteError::Overtaken,
        _ => WriteError::Refused(unavailable(&error.to_string())),
    }
}

impl Histories for Cluster {
    fn check(&self) -> Result<(), CallError> {
        self.client().map(drop)
    }

    fn max_bytes(&self) -> u64 {
        // The rest is for the header.
        self.link.max_payload() as u64 / 2
    }

    fn write(&self, channel: &str, after: RecordPlaces, record: ChannelRecord) -> BoxFuture<Result<u64, WriteError>> {
        let (cluster, subject) = (self.me.clone(), self.history_subject(channel));
        Box::pin(async move {
            let cluster = cluster.upgrade().ok_or_else(CallError::stopping)?;
            cluster.write_record(subject, after, record).await
        })
    }

    fn read(&self, channel: &str, most: usize, max_bytes: u64) -> BoxFuture<Result<WrittenChannel, CallError>> {
        let (cluster, channel) = (self.me.clone(), channel.to_owned());
        Box::pin(async move {
            let cluster = cluster.upgrade().ok_or_else(CallError::stopping)?;
            cluster.client()?;
            let lost = cluster.link.lost();
            let read = tokio::select! {
                biased;
                read = cluster.read_records(&channel, most, max_bytes) => read,
                () = lost.cancelled() => Err("the connection to NATS was lost".to_owned()),
            };
            if read.is_err() {
                *cluster.histories.lock().await = None;
            }
            read.map_err(|reason| unavailable(&reason))
        })
    }
}
