//! Lists of the members of channels, as clients get them.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use super::super::sync::Mutex;
use super::members::{Member, Members};
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

/// Writes `[{"id": .., "uid": .., "info": ..}, ..]`.
fn json(members: &Members) -> String {
    let mut json = Vec::with_capacity(usize::try_from(members.size().bytes).unwrap_or_default() + 2);
    json.push(b'[');
    for (index, member) in members.in_order().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        push(&mut json, member);
    }
    json.push(b']');
    // It consists of texts.
    String::from_utf8(json).unwrap_or_default()
}

fn push(json: &mut Vec<u8>, member: &Member) {
    json.extend_from_slice(b"{\"id\":");
    // Writing a text to memory does not fail.
    _ = serde_json::to_writer(&mut *json, client_id(&member.session.id));
    json.extend_from_slice(b",\"uid\":");
    _ = serde_json::to_writer(&mut *json, &member.uid.as_deref());
    let info = member.info.as_deref().unwrap_or("null");
    _ = write!(json, ",\"info\":{info}}}");
}
