//! What nodes tell each other about topics, as bytes: the process that sends it, two numbers, the
//! place of a message of a channel, and a message as in `wire.rs`.
//!
//! Topics share a fixed number of subjects, so that their number costs NATS nothing: each topic is
//! in one of the buckets of its kind, and what is about all topics has a subject of its own.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use super::wire::{self, WireError};
use crate::call::{CallError, ChannelPlace, ChannelPosition, Payload, Post, PostAbout};

/// The buckets of each kind of topics.
pub(super) const BUCKETS: usize = 64;

/// The place of what is about all topics of a kind, after those of the buckets.
pub(super) const ALL: usize = BUCKETS;

/// The places of a kind.
pub(super) const PLACES: usize = BUCKETS + 1;

/// The bytes of a stamp.
const STAMP: usize = 24;

/// The bytes before the message: those of a stamp and of a place.
const PREFIX: usize = 48;

/// What precedes each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The start of the host that sends it.
    pub(super) boot: u64,
    /// Its number among those that this process has sent to the same subject, from 1.
    pub(super) number: u64,
    /// The number of the last message about all topics that this process has sent before it.
    pub(super) after: u64,
}

/// The message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Post(Post),
    /// The last numbers that the sender has given for each place, so that others notice what has
    /// not arrived.
    Last {
        last: Vec<u64>,
        /// Whether the sender knows of nothing that was lost.
        is_routine: bool,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    about: Option<PostAbout>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    last: Vec<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    routine: bool,
}

/// The bucket of a topic. All nodes have to agree on it: FNV-1a, then the last steps of SplitMix64.
pub(super) fn bucket(topic: &str) -> usize {
    let hash = topic
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((hash ^ (hash >> 31)) % BUCKETS as u64).unwrap_or_default()
}

/// The start of a host as a number.
pub(super) fn boot_number(boot: &str) -> u64 {
    u64::from_str_radix(boot, 16).unwrap_or_default()
}

/// Writes a message. [`stamp`] completes it.
pub(super) fn write(node: &str, told: Told) -> Result<BytesMut, CallError> {
    let (about, last, routine, payload) = match told {
        Told::Post(Post { about, payload, .. }) => (Some(about), Vec::new(), false, payload),
        Told::Last { last, is_routine } => (None, last, is_routine, Payload::None),
    };
    let header = Header { node: node.to_owned(), about, last, routine };
    let message = wire::write(&header, std::slice::from_ref(&payload))?;
    let mut bytes = BytesMut::with_capacity(PREFIX + message.len());
    bytes.put_bytes(0, PREFIX);
    bytes.put_slice(&message);
    Ok(bytes)
}

/// Sets what precedes a message.
pub(super) fn stamp(bytes: &mut BytesMut, stamp: Stamp) {
    for (place, number) in bytes.chunks_exact_mut(8).zip([stamp.boot, stamp.number, stamp.after]) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

/// Sets the place of a message of a channel.
pub(super) fn set_place(bytes: &mut BytesMut, place: ChannelPlace) {
    let ChannelPlace { position: ChannelPosition { epoch, offset }, at } = place;
    for (field, number) in bytes.chunks_exact_mut(8).skip(3).zip([epoch, offset, at]) {
        field.copy_from_slice(&number.to_be_bytes());
    }
}

/// Reads the place of a message, and returns the rest.
fn read_place(bytes: &[u8]) -> Option<(Option<ChannelPlace>, &[u8])> {
    let (place, rest) = bytes.split_at_checked(PREFIX - STAMP)?;
    let mut numbers = place.chunks_exact(8).map(|eight| u64::from_be_bytes(eight.try_into().unwrap_or_default()));
    let (epoch, offset, at) = (numbers.next()?, numbers.next()?, numbers.next()?);
    // The first message has the number 1.
    let place = (offset > 0).then_some(ChannelPlace { position: ChannelPosition { epoch, offset }, at });
    Some((place, rest))
}

/// Reads what precedes a message, and returns the rest. `None` if it is too short.
pub(super) fn read_stamp(bytes: &[u8]) -> Option<(Stamp, &[u8])> {
    let (prefix, rest) = bytes.split_at_checked(STAMP)?;
    let mut numbers = prefix.chunks_exact(8).map(|eight| u64::from_be_bytes(eight.try_into().unwrap_or_default()));
    let stamp = Stamp { boot: numbers.next()?, number: numbers.next()?, after: numbers.next()? };
    Some((stamp, rest))
}

/// Reads the message after its stamp, and who has sent it.
pub(super) fn read(bytes: &[u8]) -> Result<(String, Told), WireError> {
    let short = || WireError::Malformed("it ends too early".to_owned());
    let (place, bytes) = read_place(bytes).ok_or_else(short)?;
    let (Header { node, about, last, routine }, mut rest) = wire::read::<Header>(bytes)?;
    let payload = wire::payload(&mut rest)?;
    let told = match about {
        Some(about) => Told::Post(Post { about, payload, place }),
        None => Told::Last { last, is_routine: routine },
    };
    Ok((node, told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::StreamEvent;

    #[test]
    fn a_message_crosses_as_it_is() {
        let event = StreamEvent { event: Some("e".into()), id: Some("7".into()), ..StreamEvent::from("é") };
        let last = |is_routine| Told::Last { last: (0..PLACES as u64).collect(), is_routine };
        let posts = [Post::stream(Some("k"), &event), Post::close(None)].map(Told::Post);
        for told in posts.into_iter().chain([last(false), last(true)]) {
            let mut bytes = write("a-1", told.clone()).unwrap();
            let sent = Stamp { boot: boot_number("00000000000000ff"), number: u64::MAX, after: 3 };
            stamp(&mut bytes, sent);
            let (stamp, rest) = read_stamp(&bytes).unwrap();
            assert_eq!((stamp, stamp.boot), (sent, 255));
            assert_eq!(read(rest).unwrap(), ("a-1".to_owned(), told));
        }
        let place = ChannelPlace { position: ChannelPosition { epoch: u64::MAX, offset: 1 }, at: 7 };
        let post = Post { place: Some(place), ..Post::channel("c", None, "x".into()) };
        let mut bytes = write("a-1", Told::Post(post.clone())).unwrap();
        set_place(&mut bytes, place);
        assert_eq!(read(&bytes[STAMP..]).unwrap().1, Told::Post(post));
        assert_eq!(read_stamp(&[0; STAMP - 1]), None);
        assert!(read(&[]).is_err() && read(&[9; PREFIX - STAMP]).is_err());
    }

    #[test]
    fn topics_are_spread_evenly_over_the_buckets() {
        let mut counts = [0; BUCKETS];
        (0..64_000).for_each(|number| counts[bucket(&format!("shop/{number}"))] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        // A part of the protocol between nodes: it must not change without its version.
        assert_eq!(["", "news", "shop/7"].map(bucket), [27, 11, 58]);
    }
}
