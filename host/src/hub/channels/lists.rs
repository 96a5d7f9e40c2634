//! Lists of the members of channels, as clients get them.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use super::super::sync::Mutex;
use super::members::Members;
use crate::call::ChannelMember;
use crate::call::session::client_id;

/// The most lists that are kept.
const KEPT: usize = 16;

/// The newest lists as JSON. All clients that ask for the same one share it, so that a list of
/// thousands of members is written once, and not for each of them.
pub struct Lists(Mutex<VecDeque<List>>);

struct List {
    /// The id of the channel.
    channel: u64,
    /// That of its members.
    version: u64,
    json: Arc<str>,
}

impl Lists {
    pub fn new() -> Lists {
        Lists(Mutex::new(VecDeque::new()))
    }

    /// The members of a channel as JSON, in the order in which their clients connected. The caller
    /// holds the lock of the channel.
    pub fn json(&self, channel: u64, members: &Members) -> Arc<str> {
        let version = members.version();
        self.find(channel, version).unwrap_or_else(|| {
            let json: Arc<str> = json(members).into();
            self.keep(List { channel, version, json: json.clone() });
            json
        })
    }

    fn find(&self, channel: u64, version: u64) -> Option<Arc<str>> {
        let lists = self.0.lock();
        lists.iter().find(|list| (list.channel, list.version) == (channel, version)).map(|list| list.json.clone())
    }

    /// Keeps a list, in place of an older one of the channel or of the oldest one.
    fn keep(&self, list: List) {
        let mut lists = self.0.lock();
        lists.retain(|other| other.channel != list.channel);
        if lists.len() >= KEPT {
            lists.pop_front();
        }
        lists.push_back(list);
    }
}

/// The members of a channel as JSON, as clients get them:
/// `[{"id": .., "uid": .., "info": ..}, ..]`.
pub fn list_as_json(members: &[ChannelMember]) -> Arc<str> {
    let each = members.iter().map(|member| (&*member.session, member.uid.as_deref(), member.info.as_deref()));
    write(0, each).into()
}

fn json(members: &Members) -> String {
    let each = members.in_order().map(|member| (&*member.session.id, member.uid.as_deref(), member.info.as_deref()));
    write(members.size().bytes, each)
}

fn write<'a>(bytes: u64, members: impl Iterator<Item = (&'a str, Option<&'a str>, Option<&'a str>)>) -> String {
    let mut json = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default() + 2);
    json.push(b'[');
    for (index, (session, uid, info)) in members.enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(b"{\"id\":");
        // Writing a text to memory does not fail.
        _ = serde_json::to_writer(&mut json, client_id(session));
        json.extend_from_slice(b",\"uid\":");
        _ = serde_json::to_writer(&mut json, &uid);
        _ = write!(json, ",\"info\":{}}}", info.unwrap_or("null"));
    }
    json.push(b']');
    // It consists of texts.
    String::from_utf8(json).unwrap_or_default()
}
