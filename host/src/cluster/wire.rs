//! The messages between nodes: a version byte, the length of a header, the header as JSON, and the
//! payloads as they are.
//!
//! Each payload is a byte for its kind, its length, and its bytes. Lengths are 32 bits, big-endian.

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::census_request::CensusRequest;
use super::session_request::SessionRequest;
use crate::call::{
    AppliedValues, CallError, ChannelRequest, GatherEntry, Payload, PeerBroadcast, PeerCall, PeerMessage, Reply,
    RolloutStep, SessionAct, VERSION,
};

/// The sender of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sender {
    pub(super) node: String,
    pub(super) boot: String,
}

/// What a node asks another one. The payloads of the calls follow the header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Request {
    Call(Sender, PeerCall),
    Notify(Sender, PeerCall),
    /// Reload a module, or roll it back.
    Step(Sender, RolloutStep),
    /// Run a message of a client.
    Message(Sender, Box<PeerMessage>),
    /// Write back the values of a session's copy.
    Apply(Sender, AppliedValues),
    /// Use a channel that has its home on the node.
    Channel(Sender, ChannelRequest),
    /// Use the sessions of the node.
    Sessions(Sender, SessionRequest),
    /// Tell or ask about the members of channels.
    Census(Sender, CensusRequest),
}

/// A broadcast. Only nodes with its module receive it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cast {
    pub(super) from: Sender,
    /// Its number among the broadcasts of this module from this sender, from 1. Receivers notice by
    /// it what they have missed.
    pub(super) number: u64,
    /// Whether the sender waits for an entry of each worker.
    pub(super) gather: bool,
    pub(super) broadcast: PeerBroadcast,
}

/// The answer to a call or a gather. The payloads of its entries follow the header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    /// The node that answers.
    pub(super) node: String,
    /// The place among the answers to a client's message, from 1. 0 for all other answers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) number: usize,
    pub(super) result: Entries,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// An entry for each isolate that a call has reached, or why it has reached none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Entries {
    All(Vec<GatherEntry>),
    Error(CallError),
    /// What the call of a client's message does to the session. Further answers follow.
    Act(SessionAct),
}

/// Why a message cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("it has version {0} of the protocol between nodes, and this node has version {VERSION}")]
    Version(u8),
    #[error("it is malformed: {0}")]
    Malformed(String),
}

fn malformed(what: impl ToString) -> WireError {
    WireError::Malformed(what.to_string())
}

/// Writes a header and the payloads that belong to it.
pub(super) fn write(header: &impl Serialize, payloads: &[Payload]) -> Result<Bytes, CallError> {
    let header = serde_json::to_vec(header).map_err(|error| CallError::Invalid(error.to_string()))?;
    let size = header.len() + payloads.iter().map(|payload| payload.len() + 5).sum::<usize>() + 5;
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put_u8(VERSION);
    let length = |length: usize| u32::try_from(length).map_err(|_| CallError::Invalid("it is too large".to_owned()));
    bytes.put_u32(length(header.len())?);
    bytes.put_slice(&header);
    for payload in payloads {
        bytes.put_u8(match payload {
            Payload::None => 0,
            Payload::Text(_) => 1,
            Payload::Bytes(_) => 2,
        });
        bytes.put_u32(length(payload.len())?);
        bytes.put_slice(payload.as_bytes());
    }
    Ok(bytes.freeze())
}

/// Reads a header, and returns the rest of the message.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), WireError> {
    let (version, rest) = bytes.split_first().ok_or_else(|| malformed("it is empty"))?;
    if *version != VERSION {
        return Err(WireError::Version(*version));
    }
    let (header, rest) = block(rest)?;
    Ok((serde_json::from_slice(header).map_err(malformed)?, rest))
}

/// Splits off a length and what has this length.
fn block(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let short = || malformed("it ends too early");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(malformed)?;
    rest.split_at_checked(length).ok_or_else(short)
}

/// Reads the next payload.
pub(super) fn payload(bytes: &mut &[u8]) -> Result<Payload, WireError> {
    let (kind, rest) = bytes.split_first().ok_or_else(|| malformed("a payload is missing"))?;
    let (content, rest) = block(rest)?;
    *bytes = rest;
    match kind {
        0 => Ok(Payload::None),
        1 => String::from_utf8(content.to_vec()).map(Payload::Text).map_err(malformed),
        2 => Ok(Payload::Bytes(content.to_vec())),
        other => Err(malformed(format!("a payload has the kind {other}"))),
    }
}

impl Request {
    fn payload_mut(&mut self) -> Option<&mut Payload> {
        match self {
            Request::Call(_, call) | Request::Notify(_, call) => Some(&mut call.payload),
            Request::Message(_, message) => Some(&mut message.payload),
            Request::Channel(_, request) => Some(&mut request.payload),
            Request::Sessions(_, request) => request.payload_mut(),
            Request::Census(_, request) => request.payload_mut(),
            Request::Step(..) | Request::Apply(..) => None,
        }
    }

    pub(super) fn write(mut self) -> Result<Bytes, CallError> {
        let payloads: Vec<Payload> = self.payload_mut().map(std::mem::take).into_iter().collect();
        write(&self, &payloads)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Request, WireError> {
        let (mut request, mut rest) = read::<Request>(bytes)?;
        if let Some(place) = request.payload_mut() {
            *place = payload(&mut rest)?;
        }
        Ok(request)
    }
}

impl Cast {
    pub(super) fn write(mut self) -> Result<Bytes, CallError> {
        let payload = std::mem::take(&mut self.broadcast.payload);
        write(&self, &[payload])
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Cast, WireError> {
        let (mut cast, mut rest) = read::<Cast>(bytes)?;
        cast.broadcast.payload = payload(&mut rest)?;
        Ok(cast)
    }
}

/// The payload of an entry: of the reply, or of the failure.
fn payload_of(outcome: &mut Result<Reply, CallError>) -> Option<&mut Payload> {
    match outcome {
        Ok(reply) => Some(&mut reply.payload),
        Err(CallError::Failure(failure)) => Some(&mut failure.data),
        Err(_) => None,
    }
}

impl Answer {
    fn payloads(&mut self) -> Vec<&mut Payload> {
        match &mut self.result {
            Entries::All(all) => all.iter_mut().filter_map(|entry| payload_of(&mut entry.outcome)).collect(),
            Entries::Act(SessionAct::Send { payload, .. }) => vec![payload],
            Entries::Error(_) | Entries::Act(_) => Vec::new(),
        }
    }

    pub(super) fn write(mut self) -> Result<Bytes, CallError> {
        let taken: Vec<Payload> = self.payloads().into_iter().map(std::mem::take).collect();
        write(&self, &taken)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Answer, WireError> {
        let (mut answer, mut rest) = read::<Answer>(bytes)?;
        for place in answer.payloads() {
            *place = payload(&mut rest)?;
        }
        Ok(answer)
    }
}

impl From<Result<Vec<GatherEntry>, CallError>> for Entries {
    fn from(result: Result<Vec<GatherEntry>, CallError>) -> Entries {
        result.map_or_else(Entries::Error, Entries::All)
    }
}

impl From<Entries> for Result<Vec<GatherEntry>, CallError> {
    fn from(entries: Entries) -> Self {
        match entries {
            Entries::All(all) => Ok(all),
            Entries::Error(error) => Err(error),
            Entries::Act(_) => Err(CallError::Crashed("the answer does not belong to a call".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{Address, Envelope, Failure, IsolateId, Origin, RouteName, Target, Trace};

    fn call(payload: Payload) -> PeerCall {
        let envelope = Envelope {
            version: VERSION,
            origin: Origin::Client,
            chain: Vec::new(),
            depth: 0,
            in_startup: false,
            left: Duration::from_secs(1),
            trace: Trace::fresh(),
            subdomain: None,
        };
        let route = RouteName::parse("m/a").unwrap();
        PeerCall { envelope, address: Address::One(Target::Any), route, payload }
    }

    fn payloads() -> [Payload; 4] {
        [Payload::None, Payload::Text("é".into()), Payload::Bytes(vec![0, 255]), Payload::Text(String::new())]
    }

    #[test]
    fn payloads_cross_as_they_are() {
        let from = Sender { node: "a".into(), boot: "1".into() };
        for payload in payloads() {
            let bytes = Request::Call(from.clone(), call(payload.clone())).write().unwrap();
            let Request::Call(_, read) = Request::read(&bytes).unwrap() else { panic!() };
            assert_eq!(read, call_with(&read, payload));
        }
        let big = Payload::Bytes(vec![1; 100_000]);
        let bytes = Request::Notify(from, call(big)).write().unwrap();
        assert!(bytes.len() < 101_000, "the payload is not written as JSON");
    }

    /// A call like another one, with a payload.
    fn call_with(like: &PeerCall, payload: Payload) -> PeerCall {
        PeerCall { payload, ..like.clone() }
    }

    #[test]
    fn an_answer_has_the_payload_of_each_entry() {
        let entry = |outcome| GatherEntry { isolate: IsolateId::Worker(1), node: None, outcome };
        let reply = |payload| Ok(Reply { payload, ..Reply::default() });
        let failure = Failure { data: Payload::Bytes(vec![7]), ..Failure::default() };
        let outcomes = payloads().into_iter().map(reply).chain([
            Err(CallError::Timeout(None)),
            Err(CallError::Failure(failure)),
            reply(Payload::from("last")),
        ]);
        let outcomes: Vec<_> = outcomes.collect();
        let result = Entries::All(outcomes.iter().cloned().map(entry).collect());
        let bytes = Answer { node: "b".into(), number: 0, result }.write().unwrap();
        let Answer { result: Entries::All(read), .. } = Answer::read(&bytes).unwrap() else { panic!() };
        assert_eq!(read.into_iter().map(|entry| entry.outcome).collect::<Vec<_>>(), outcomes);
    }

    #[test]
    fn a_message_that_cannot_be_read_says_why() {
        let bytes = Request::Call(Sender { node: "a".into(), boot: "1".into() }, call("text".into())).write().unwrap();
        for end in 0..bytes.len() {
            assert!(matches!(Request::read(&bytes[..end]), Err(WireError::Malformed(_))), "{end}");
        }
        let mut other = bytes.to_vec();
        other[0] = VERSION + 1;
        assert_eq!(Request::read(&other).unwrap_err(), WireError::Version(VERSION + 1));
        let text = bytes.len() - 1;
        other[0] = VERSION;
        other[text] = 0xff;
        assert!(matches!(Request::read(&other), Err(WireError::Malformed(_))), "text that is not UTF-8");
        let huge = [VERSION, 255, 255, 255, 255, b'{'];
        assert!(matches!(Request::read(&huge), Err(WireError::Malformed(_))));
    }
}
