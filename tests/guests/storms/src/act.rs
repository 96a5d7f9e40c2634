//! Each function that a guest can import, and the ways in which a call ends badly.

mod calls;
mod channels;
mod clients;
mod messages;

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Passed;
use fanfare_sdk::wit::rpc;
use fanfare_sdk::wit::types::CallOptions;

use crate::steps::{Content, How, Name, Run, own_session};

/// An act. The names are those of `wit/`, after the interface where two are alike.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Act {
    /// From here on, this call makes the acts. `null` for no call.
    As {
        call: Option<u64>,
    },
    SsePublish {
        key: Name,
        #[serde(default)]
        payload: Content,
        event: Option<Name>,
        id: Option<Name>,
    },
    SsePublishAll {
        #[serde(default)]
        payload: Content,
    },
    SseClose {
        key: Name,
    },
    SseCloseAll,
    SseCount {
        key: Option<Name>,
    },
    ChannelPublish {
        channel: Name,
        #[serde(default)]
        payload: Content,
    },
    ChannelWait {
        channel: Name,
        #[serde(default)]
        payload: Content,
        #[serde(default)]
        how: How,
    },
    ChannelSubscribe {
        channel: Name,
        route: Name,
    },
    ChannelUnsubscribe {
        subscription: Name,
    },
    ChannelAdd {
        channel: Name,
        session: Option<Name>,
    },
    ChannelKick {
        channel: Name,
        session: Option<Name>,
        message: Name,
    },
    ChannelCount {
        channel: Name,
    },
    History {
        channel: Name,
        after: Option<(Name, u64)>,
        most: u32,
        #[serde(default)]
        how: How,
    },
    Members {
        channel: Name,
        #[serde(default)]
        how: How,
    },
    Emit {
        r#type: Option<Name>,
        #[serde(default)]
        payload: Content,
    },
    EventsSubscribe {
        pattern: Option<Name>,
        route: Name,
    },
    EventsUnsubscribe {
        subscription: Name,
    },
    Message {
        connection: Name,
        topic: Name,
        #[serde(default)]
        payload: Content,
    },
    Broadcast {
        name: Name,
        module: Option<Name>,
        #[serde(default)]
        payload: Content,
    },
    Gather {
        name: Name,
        module: Option<Name>,
        #[serde(default)]
        payload: Content,
        #[serde(default)]
        how: How,
    },
    Reload {
        module: Option<Name>,
    },
    Notify {
        to: Name,
        route: Name,
        #[serde(default)]
        payload: Content,
    },
    Call {
        to: Name,
        route: Name,
        #[serde(default)]
        payload: Content,
        timeout_ms: Option<u32>,
        #[serde(default)]
        how: How,
    },
    MasterPost {
        #[serde(default)]
        payload: Content,
    },
    MasterSend {
        #[serde(default)]
        payload: Content,
        #[serde(default)]
        how: How,
    },
    MasterOptions {
        pointer: Name,
    },
    Config {
        pointer: Name,
    },
    Headers,
    Log {
        message: Name,
        fields: Option<usize>,
    },
    Send {
        to: Name,
        name: Name,
        #[serde(default)]
        payload: Content,
    },
    Push {
        to: Name,
        count: usize,
        name: Name,
        #[serde(default)]
        payload: Content,
        #[serde(default)]
        how: How,
    },
    Ask {
        session: Option<Name>,
        name: Name,
        #[serde(default)]
        payload: Content,
        timeout_ms: Option<u32>,
        #[serde(default)]
        how: How,
    },
    /// The same function for each member of a group.
    AskAll {
        group: Name,
        name: Name,
        #[serde(default)]
        payload: Content,
        #[serde(default)]
        how: How,
    },
    Current,
    Look {
        session: Name,
    },
    Find {
        uid: Name,
    },
    FindAll {
        uid: Name,
        #[serde(default)]
        how: How,
    },
    Get {
        session: Option<Name>,
        key: Name,
    },
    Values {
        session: Option<Name>,
    },
    /// Sets `count` values at once, each a JSON text of `size` bytes.
    Set {
        session: Option<Name>,
        key: Name,
        count: usize,
        size: usize,
    },
    Remove {
        session: Option<Name>,
        key: Name,
        count: usize,
    },
    Read {
        session: Option<Name>,
        #[serde(default)]
        how: How,
    },
    Write {
        session: Option<Name>,
        key: Name,
        size: usize,
        #[serde(default)]
        how: How,
    },
    Bind {
        session: Option<Name>,
        uid: Name,
        taken: String,
    },
    Unbind {
        session: Option<Name>,
    },
    Authenticate {
        claims: Name,
        expires_ms: Option<u64>,
    },
    Deauthenticate,
    Disconnect {
        session: Option<Name>,
        code: u16,
        reason: Name,
    },
    Join {
        group: Name,
        count: usize,
    },
    Leave {
        group: Name,
        count: usize,
    },
    GroupMembers {
        group: Name,
    },
    Count,
    /// Ends the call.
    Fail {
        code: Option<String>,
    },
    Reply {
        #[serde(default)]
        payload: Content,
    },
    Pass {
        payload: Content,
    },
    Trap,
    /// Ends the call never.
    Never,
    Spin,
    /// Blocks the thread of the guest in WASI.
    Block {
        ms: u64,
    },
    /// Waits until `release` runs in this instance.
    Gate,
    /// Lets other calls run.
    Pause,
}

fn text(name: Option<&Name>) -> Option<String> {
    name.map(Name::text)
}

/// The id of a session, or that of the call.
fn session(name: Option<&Name>) -> String {
    name.map_or_else(own_session, Name::text)
}

fn options(timeout_ms: Option<u32>) -> CallOptions {
    CallOptions { timeout_ms, subdomain: None, extra: Vec::new() }
}

fn none<T>(_: T) -> Value {
    Value::Null
}

impl Run<'_> {
    pub async fn act(&mut self, act: &Act) {
        let call = self.caller;
        match act {
            Act::As { call } => self.caller = *call,
            Act::Fail { code } => {
                let failure = Failure::forbidden("on-request", "this call fails on request");
                self.end(Err(match code {
                    Some(code) => failure.with_extra("close-code", code),
                    None => failure,
                }));
            }
            Act::Reply { payload } => {
                let payload = self.payload(payload);
                self.end(payload.into_outcome());
            }
            Act::Pass { payload } => {
                let payload = Some(self.payload(payload));
                self.end(Ok(Outcome::Pass(Passed { payload, extra: Vec::new() })));
            }
            Act::Trap => panic!("this call traps on request"),
            Act::Never => std::future::pending().await,
            Act::Spin => loop {
                std::hint::spin_loop();
            },
            Act::Block { ms } => std::thread::sleep(Duration::from_millis(*ms)),
            Act::Gate => common::gate().await,
            Act::Pause => _ = rpc::call(call, &rpc::Target::Any, "/who", &Payload::None, &options(None)).await,
            other => self.messages(other).await,
        }
    }
}
