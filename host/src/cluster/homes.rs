//! Requests about channels to the nodes where these have their home, and the answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::wire::{self, Request, WireError};
use crate::call::{
    CallError, ChannelAnswer, ChannelAsk, ChannelMessage, ChannelPage, ChannelPosition, ChannelRequest, GatherEntry,
    IsolateId, Payload, Reply,
};
use crate::ports::BoxFuture;

/// An answer without its payloads, which follow it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Header {
    Published(Option<ChannelPosition>),
    /// Whether a payload follows.
    Allowed(bool),
    Page {
        epoch: u64,
        latest: u64,
        complete: bool,
        messages: Vec<Line>,
    },
}

/// A message without its payload: its number, its time, and the session of its publisher.
type Line = (u64, u64, Option<String>);

fn write(answer: ChannelAnswer) -> Result<Bytes, CallError> {
    let (header, payloads) = match answer {
        ChannelAnswer::Published(position) => (Header::Published(position), Vec::new()),
        ChannelAnswer::Allowed(changed) => (Header::Allowed(changed.is_some()), changed.into_iter().collect()),
        ChannelAnswer::Page(ChannelPage { epoch, messages, latest, complete }) => {
            let line = |message: ChannelMessage| {
                let ChannelMessage { offset, at, session, payload } = message;
                ((offset, at, session.map(|session| session.to_string())), payload)
            };
            let (messages, payloads) = messages.into_iter().map(line).unzip();
            (Header::Page { epoch, latest, complete, messages }, payloads)
        }
    };
    wire::write(&header, &payloads)
}

fn read(bytes: &[u8]) -> Result<ChannelAnswer, WireError> {
    let (header, mut rest) = wire::read::<Header>(bytes)?;
    Ok(match header {
        Header::Published(position) => ChannelAnswer::Published(position),
        Header::Allowed(false) => ChannelAnswer::Allowed(None),
        Header::Allowed(true) => ChannelAnswer::Allowed(Some(wire::payload(&mut rest)?)),
        Header::Page { epoch, latest, complete, messages } => {
            let mut message = |(offset, at, session): Line| {
                let session = session.as_deref().map(Into::into);
                Ok(ChannelMessage { offset, at, session, payload: wire::payload(&mut rest)? })
            };
            let messages = messages.into_iter().map(&mut message).collect::<Result<_, WireError>>()?;
            ChannelAnswer::Page(ChannelPage { epoch, messages, latest, complete })
        }
    })
}

impl Cluster {
    pub(super) fn send_channel_request(
        &self,
        node: &str,
        request: ChannelRequest,
    ) -> BoxFuture<Result<ChannelAnswer, CallError>> {
        let left = request.envelope.left;
        let id = node.to_owned();
        match self.queue_request(node, |sender| Request::Channel(sender, request)) {
            Ok(mut sent) => Box::pin(async move {
                let answer = tokio::time::timeout(left, sent.next()).await.unwrap_or(Err(CallError::Timeout(None)))?;
                let entries: Result<Vec<GatherEntry>, CallError> = answer.into();
                let unreadable = |why: String| {
                    CallError::Crashed(format!("the answer of node {id} about a channel cannot be read: {why}"))
                };
                let entry = entries?.pop().ok_or_else(|| unreadable("it is empty".to_owned()))?;
                read(entry.outcome?.payload.as_bytes()).map_err(|error| unreadable(error.to_string()))
            }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    pub(super) fn on_channel_request(
        &self,
        mut request: ChannelRequest,
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        let Some(channels) = self.node.channels.get() else {
            return Box::pin(std::future::ready(Err(CallError::stopping())));
        };
        if let ChannelAsk::History { max_bytes, .. } | ChannelAsk::Missed { max_bytes, .. } = &mut request.ask {
            // The page has to fit into a message.
            *max_bytes = (*max_bytes).min(self.link.max_payload() as u64 / 2);
        }
        let answer = channels.answer(request);
        Box::pin(async move {
            let payload = Payload::Bytes(write(answer.await?)?.into());
            let outcome = Ok(Reply { payload, ..Reply::default() });
            Ok(vec![GatherEntry { isolate: IsolateId::Master, node: None, outcome }])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_crosses_as_it_is() {
        let message = |offset, session: Option<&str>, payload| {
            let session = session.map(Into::into);
            ChannelMessage { offset, at: 7, session, payload }
        };
        let messages = vec![message(3, None, "\"a\"".into()), message(4, Some("n/x"), Payload::Bytes(vec![0, 255]))];
        let position = ChannelPosition { epoch: u64::MAX, offset: 4 };
        for answer in [
            ChannelAnswer::Published(None),
            ChannelAnswer::Published(Some(position)),
            ChannelAnswer::Allowed(None),
            ChannelAnswer::Allowed(Some(Payload::None)),
            ChannelAnswer::Allowed(Some("x".into())),
            ChannelAnswer::Page(ChannelPage { epoch: position.epoch, messages, latest: 9, complete: true }),
        ] {
            let bytes = write(answer.clone()).unwrap();
            assert_eq!(read(&bytes).unwrap(), answer);
        }
        assert!(read(&[]).is_err() && read(b"x").is_err());
    }
}
