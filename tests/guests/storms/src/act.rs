//! Each function that a guest can import, and the ways in which a call ends badly.

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::WhenTaken;
use fanfare_sdk::types::{Passed, Recipient};
use fanfare_sdk::wit::types::{Address, CallError, CallOptions, Emission};
use fanfare_sdk::wit::{
    broadcast, channels, channels_await, config, events, host, http, master, master_await, messages, rpc, sessions,
    sessions_await, sse,
};

use crate::steps::{Content, How, Name, Run, address, own_session, recipient};

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

fn emission(name: &Name, module: Option<&Name>) -> Emission {
    Emission { module: text(module), name: name.text(), subdomain: None, extra: Vec::new() }
}

fn none<T>(_: T) -> Value {
    Value::Null
}

fn event(data: Payload, name: Option<&Name>, id: Option<&Name>) -> sse::Event {
    sse::Event { data, event: text(name), id: text(id), retry_ms: None, comment: None, extra: Vec::new() }
}

impl Run<'_> {
    pub async fn act(&mut self, act: &Act) {
        let call = self.caller;
        match act {
            Act::As { call } => self.caller = *call,
            Act::SsePublish { key, payload, event: name, id } => {
                let event = event(self.payload(payload), name.as_ref(), id.as_ref());
                let sent = sse::publish(call, &key.text(), &event, sse::Reach::Everywhere);
                self.count("ssePublish", sent.map(Into::into));
            }
            Act::SsePublishAll { payload } => {
                let event = event(self.payload(payload), None, None);
                self.count("ssePublishAll", sse::publish_all(call, &event, sse::Reach::Everywhere).map(Into::into));
            }
            Act::SseClose { key } => {
                self.count("sseClose", sse::close(call, &key.text(), sse::Reach::Everywhere).map(Into::into));
            }
            Act::SseCloseAll => self.count("sseCloseAll", sse::close_all(call, sse::Reach::Everywhere).map(Into::into)),
            Act::SseCount { key } => self.count("sseCount", Ok(sse::count(text(key.as_ref()).as_deref()).into())),
            Act::Emit { r#type, payload } => {
                let sent = events::emit(call, text(r#type.as_ref()).as_deref(), &self.payload(payload));
                self.count("emit", sent.map(none));
            }
            Act::EventsSubscribe { pattern, route } => {
                let name = events::subscribe(call, text(pattern.as_ref()).as_deref(), &route.text());
                self.count("eventsSubscribe", name.map(Into::into));
            }
            Act::EventsUnsubscribe { subscription } => {
                self.count("eventsUnsubscribe", events::unsubscribe(call, &subscription.text()).map(none));
            }
            Act::Message { connection, topic, payload } => {
                let sent = messages::publish(call, &connection.text(), &topic.text(), &self.payload(payload));
                self.count("message", sent.map(none));
            }
            Act::MasterPost { payload } => {
                self.count("masterPost", master::post(call, &self.payload(payload)).map(none));
            }
            Act::MasterSend { payload, how } => {
                let sent = master_await::send(call, &self.payload(payload), None);
                self.future("masterSend", *how, sent, none).await;
            }
            Act::MasterOptions { pointer } => {
                self.count("masterOptions", Ok(master::options(&pointer.text()).map(|text| text.len()).into()));
            }
            Act::Config { pointer } => self.count("config", Ok(config::get(call, &pointer.text()).into())),
            Act::Headers => {
                let id = call.unwrap_or_default();
                let facts = json!({
                    "headers": http::headers(id).len(), "header": http::header(id, "authorization"),
                    "head": http::head(id).is_some(),
                });
                self.count("headers", Ok(facts));
            }
            Act::Log { message, fields } => {
                let field = |n: usize| (format!("field{n}"), message.text());
                let fields: Vec<_> = (0..fields.unwrap_or(0)).map(field).collect();
                host::log(call, host::Level::Info, &message.text(), &fields);
                self.count("log", Ok(Value::Null));
            }
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
            other => self.calls(other).await,
        }
    }

    /// Calls, broadcasts and channels.
    async fn calls(&mut self, act: &Act) {
        let call = self.caller;
        match act {
            Act::Broadcast { name, module, payload } => {
                let sent = broadcast::emit(call, &emission(name, module.as_ref()), &self.payload(payload));
                self.count("broadcast", sent.map(|receipt| receipt.accepted.into()));
            }
            Act::Gather { name, module, payload, how } => {
                let sent = broadcast::gather(call, &emission(name, module.as_ref()), &self.payload(payload), None);
                self.future("gather", *how, sent, |entries| entries.len().into()).await;
            }
            Act::Reload { module } => {
                let requested = broadcast::reload(call, text(module.as_ref()).as_deref());
                self.count("reload", requested.map(|receipt| receipt.seq.into()));
            }
            Act::Notify { to, route, payload } => {
                let payload = self.payload(payload);
                let sent = rpc::notify(call, &address(&to.text()), &route.text(), &payload, &options(None));
                self.count("notify", sent.map(Into::into));
            }
            Act::Call { to, route, payload, timeout_ms, how } => {
                let (payload, options, route) = (self.payload(payload), options(*timeout_ms), route.text());
                match address(&to.text()) {
                    Address::One(target) => {
                        let reply = rpc::call(call, &target, &route, &payload, &options);
                        self.future("call", *how, reply, |reply| reply.status.into()).await;
                    }
                    Address::Every(group) => {
                        let replies = rpc::call_every(call, &group, &route, &payload, &options);
                        self.future("call", *how, replies, |entries| entries.len().into()).await;
                    }
                }
            }
            Act::ChannelPublish { channel, payload } => {
                let sent = channels::publish(call, &channel.text(), &self.payload(payload));
                self.count("channelPublish", sent.map(none));
            }
            Act::ChannelWait { channel, payload, how } => {
                let sent = channels_await::publish(call, &channel.text(), &self.payload(payload));
                self.future("channelWait", *how, sent, none).await;
            }
            Act::ChannelSubscribe { channel, route } => {
                let name = channels::subscribe(call, &channel.text(), &route.text());
                self.count("channelSubscribe", name.map(Into::into));
            }
            Act::ChannelUnsubscribe { subscription } => {
                self.count("channelUnsubscribe", channels::unsubscribe(call, &subscription.text()).map(none));
            }
            Act::ChannelAdd { channel, session: id } => {
                self.count("channelAdd", channels::add(call, &channel.text(), &session(id.as_ref())).map(none));
            }
            Act::ChannelKick { channel, session: id, message } => {
                let kicked = channels::kick_out(call, &channel.text(), &session(id.as_ref()), &message.text());
                self.count("channelKick", kicked.map(none));
            }
            Act::ChannelCount { channel } => self.count("channelCount", Ok(channels::count(&channel.text()).into())),
            Act::History { channel, after, most, how } => {
                let after = after
                    .as_ref()
                    .map(|(epoch, offset)| fanfare_sdk::wit::types::Position { epoch: epoch.text(), offset: *offset });
                let page = channels_await::history(call, &channel.text(), after.as_ref(), *most);
                self.future("history", *how, page, |page| page.messages.len().into()).await;
            }
            Act::Members { channel, how } => {
                let members = channels_await::members(call, &channel.text());
                self.future("members", *how, members, |members| members.len().into()).await;
            }
            other => self.sessions(other).await,
        }
    }

    /// The sessions of clients.
    async fn sessions(&mut self, act: &Act) {
        let call = self.caller;
        let result: (&'static str, Result<Value, CallError>) = match act {
            Act::Send { to, name, payload } => {
                let sent = sessions::send(call, &recipient(&to.text()), &name.text(), &self.payload(payload));
                ("send", sent.map(Into::into))
            }
            Act::Push { to, count, name, payload, how } => {
                let to: Vec<Recipient> = (0..*count).map(|_| recipient(&to.text())).collect();
                let sent = sessions_await::push(call, &to, &name.text(), &self.payload(payload));
                return self.future("push", *how, sent, |pushed| pushed.reached.into()).await;
            }
            Act::Ask { session: id, name, payload, timeout_ms, how } => {
                let id = session(id.as_ref());
                let answer = sessions_await::ask(call, &id, &name.text(), &self.payload(payload), *timeout_ms);
                return self.future("ask", *how, answer, none).await;
            }
            Act::AskAll { group, name, payload, how } => {
                for id in sessions::members(call, &group.text()).unwrap_or_default() {
                    let answer = sessions_await::ask(call, &id, &name.text(), &self.payload(payload), None);
                    self.future("askAll", *how, answer, none).await;
                }
                return;
            }
            Act::Current => {
                let current = sessions::current(call.unwrap_or_default());
                ("current", Ok(current.map(|session| session.id).into()))
            }
            Act::Look { session } => {
                ("look", sessions::look(call, &session.text()).map(|session| session.map(|session| session.id).into()))
            }
            Act::Find { uid } => ("find", sessions::find(call, &uid.text()).map(|found| found.len().into())),
            Act::FindAll { uid, how } => {
                let found = sessions_await::find(call, &uid.text());
                return self.future("findAll", *how, found, |found| found.len().into()).await;
            }
            Act::Get { session, key } => {
                let value = sessions::get(call, text(session.as_ref()).as_deref(), &key.text());
                ("get", value.map(|value| value.map(|value| value.len()).into()))
            }
            Act::Values { session } => {
                let values = sessions::values(call, text(session.as_ref()).as_deref());
                ("values", values.map(|values| values.len().into()))
            }
            Act::Set { session, key, count, size } => {
                let value = format!("\"{}\"", "x".repeat(size.saturating_sub(2)));
                let values: Vec<_> = (0..*count).map(|_| (key.text(), value.clone())).collect();
                ("set", sessions::set(call, text(session.as_ref()).as_deref(), &values).map(none))
            }
            Act::Remove { session, key, count } => {
                let keys: Vec<_> = (0..*count).map(|_| key.text()).collect();
                ("remove", sessions::remove(call, text(session.as_ref()).as_deref(), &keys).map(none))
            }
            Act::Read { session: id, how } => {
                let read = sessions_await::read(call, &session(id.as_ref()));
                return self.future("read", *how, read, |(_, values)| values.len().into()).await;
            }
            Act::Write { session: id, key, size, how } => {
                let values = [(key.text(), format!("\"{}\"", "x".repeat(*size)))];
                let written = sessions_await::write(call, &session(id.as_ref()), &values, &[]);
                return self.future("write", *how, written, none).await;
            }
            Act::Bind { session, uid, taken } => {
                let taken = match taken.as_str() {
                    "share" => WhenTaken::Share,
                    "replace" => WhenTaken::Replace,
                    _ => WhenTaken::Refuse,
                };
                ("bind", sessions::bind(call, text(session.as_ref()).as_deref(), &uid.text(), taken).map(none))
            }
            Act::Unbind { session } => ("unbind", sessions::unbind(call, text(session.as_ref()).as_deref()).map(none)),
            Act::Authenticate { claims, expires_ms } => {
                ("authenticate", sessions::authenticate(call, None, &claims.text(), *expires_ms).map(none))
            }
            Act::Deauthenticate => ("deauthenticate", sessions::deauthenticate(call, None).map(none)),
            Act::Disconnect { session, code, reason } => {
                let ended = sessions::disconnect(call, text(session.as_ref()).as_deref(), *code, &reason.text());
                ("disconnect", ended.map(none))
            }
            Act::Join { group, count } => {
                let own = own_session();
                let result = (0..*count)
                    .map(|_| sessions::join(call, &group.text(), std::slice::from_ref(&own)))
                    .try_fold(0, |sum, joined| joined.map(|joined| sum + joined));
                ("join", result.map(Into::into))
            }
            Act::Leave { group, count } => {
                ("leave", sessions::leave(call, &group.text(), &vec![own_session(); *count]).map(Into::into))
            }
            Act::GroupMembers { group } => {
                ("groupMembers", sessions::members(call, &group.text()).map(|members| members.len().into()))
            }
            Act::Count => ("count", Ok(json!(sessions::count()))),
            _ => return,
        };
        self.count(result.0, result.1);
    }
}
