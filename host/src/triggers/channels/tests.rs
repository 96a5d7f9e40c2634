//! Tests of the channels with modules that the test plays.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::call::{
    CallError, CallResult, ChannelAction, ChannelAnswer, ChannelAsk, ChannelCall, ChannelHome, ChannelMessage,
    ChannelPage, ChannelPlace, ChannelPosition, ChannelRule, ChannelSettings, Context as CallContext, Deadline,
    Failure, HomeCall, IsolateId, Origin, Outcome, Passed, Payload, Post, Reply, TopicKind,
};
use crate::config::{HubConfig, SseConfig, WebSocketConfig};
use crate::events::EventLog;
use crate::hub::{
    ChannelListener, Client, Encoding, Form, Gone, Hub, Listening, NewSession, Notice, Outbox, Received, Session,
    SessionSettings, TopicSettings,
};
use crate::ports::{Caller, Followed, NoTopics, Prepared, Topics};
use crate::triggers::websocket::ChannelFrames;

mod homes;
mod lines;
mod members;
mod model;

const CHANNEL: &str = "room";

/// The modules, whose calls wait until the test ends them.
#[derive(Default)]
struct Modules {
    rules: Mutex<HashMap<String, ChannelRule>>,
    /// The calls that have not ended, in the order of their arrival.
    calls: Mutex<Vec<(ChannelCall, oneshot::Sender<CallResult>)>>,
    /// What every call fails with instead.
    rejects: Mutex<Option<CallError>>,
    /// The node that is the home of all channels. `None` for this one.
    home: Mutex<Option<&'static str>>,
    /// What homes answer, one after the other.
    pages: Mutex<VecDeque<ChannelPage>>,
    /// What homes were asked.
    asked: Mutex<Vec<(String, ChannelAsk)>>,
}

impl ChannelBackend for Modules {
    fn rule(&self, channel: &str) -> ChannelRule {
        self.rules.lock().get(channel).cloned().unwrap_or(ChannelRule::Undeclared)
    }

    fn call(&self, call: ChannelCall) -> Result<StartedCall, CallError> {
        if let Some(error) = self.rejects.lock().clone() {
            return Err(error);
        }
        let (sender, outcome) = oneshot::channel();
        self.calls.lock().push((call, sender));
        let outcome = async move { outcome.await.unwrap_or(Err(CallError::Crashed("lost".to_owned()))) };
        Ok(StartedCall { runtime: Handle::current(), outcome: Box::pin(outcome) })
    }

    fn home(&self, _: &str) -> Result<Option<ChannelHome>, CallError> {
        Ok(Some(self.home.lock().map_or(ChannelHome::Own, |node| ChannelHome::Node(node.into()))))
    }

    fn ask_home(&self, node: &str, call: HomeCall) -> BoxFuture<'static, Result<ChannelAnswer, CallError>> {
        self.asked.lock().push((node.to_owned(), call.ask));
        let page = self.pages.lock().pop_front().map(ChannelAnswer::Page);
        Box::pin(std::future::ready(page.ok_or_else(CallError::stopping)))
    }
}

/// Other nodes to which nothing is told.
struct Others;

impl Topics for Others {
    fn prepare(&self, posts: Vec<Post>) -> Result<Box<dyn Prepared>, CallError> {
        NoTopics.prepare(posts)
    }

    fn follow(&self, kind: TopicKind, topic: &str) -> Box<dyn Followed> {
        NoTopics.follow(kind, topic)
    }
}

/// A listener that keeps the texts of all messages.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl ChannelListener for Heard {
    fn message(&self, _: &Arc<str>, message: &ChannelMessage, _: Option<ChannelPosition>) {
        self.0.lock().push(message.payload.to_text().into_owned());
    }
}

/// The frames that a client has received, one after the other.
type Wire = Arc<Mutex<String>>;

struct Frames(Wire);

impl Client for Frames {
    fn peer(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn notice(&mut self, _: Notice) -> Bytes {
        Bytes::new()
    }

    fn poll_write(&mut self, outbox: &mut Outbox, _: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !outbox.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 8];
            let count = outbox.slices(Encoding::Plain, Form::Whole, &mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            self.0.lock().push_str(&String::from_utf8_lossy(&bytes));
            outbox.advance(bytes.len(), Encoding::Plain, Form::Whole);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, _: &mut Outbox, _: &mut Context<'_>) -> Result<Received, Gone> {
        Ok(Received::Nothing)
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

struct Bench {
    modules: Arc<Modules>,
    service: Arc<ChannelService>,
    heard: Arc<Heard>,
    _listening: Listening,
    /// How the actions of the test have ended, in this order.
    done: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(false)
    }

    /// A node with others.
    fn among_others() -> Bench {
        Bench::near(false, Arc::new(Others))
    }

    fn with(only_declared: bool) -> Bench {
        Bench::near(only_declared, Arc::new(NoTopics))
    }

    fn near(only_declared: bool, topics: Arc<dyn Topics>) -> Bench {
        let idle = Duration::from_secs(60);
        let sessions = SessionSettings {
            topics: TopicSettings::of_sessions(&WebSocketConfig::default(), idle, Duration::ZERO),
            node: "n".to_owned(),
            max_values: 1,
            max_channels: 3,
            encoder: Arc::new(ChannelFrames),
        };
        let streams = TopicSettings::new(&SseConfig::default(), idle);
        let events = Arc::new(EventLog::new(true, true));
        let hub = Hub::new(&HubConfig::default(), streams, sessions, 1, events);
        for fanout in hub.fanouts(0) {
            tokio::spawn(fanout.run(CancellationToken::new(), CancellationToken::new()));
        }
        let (modules, heard) = (Arc::new(Modules::default()), Arc::new(Heard::default()));
        let listening = hub.channels.listen(CHANNEL, heard.clone()).unwrap();
        let keeping = Keeping::none();
        let service =
            ChannelService::new(hub, modules.clone(), only_declared, topics, None, keeping, Handle::current());
        Bench { modules, service, heard, _listening: listening, done: Arc::default() }
    }

    /// Lets a route decide about these actions on the channel.
    fn route(&self, on: &[ChannelAction], settings: ChannelSettings) {
        let on = on.iter().copied().collect();
        self.rule(CHANNEL, ChannelRule::Routed { module: "m".into(), settings, on });
    }

    fn rule(&self, channel: &str, rule: ChannelRule) {
        self.modules.rules.lock().insert(channel.to_owned(), rule);
    }

    /// A connected client, and what it receives.
    fn client(&self) -> (Arc<Session>, Wire) {
        let new = NewSession { worker: 0, peer: Ipv4Addr::LOCALHOST.into(), protocol: "plain".into(), socket: None };
        let sessions = &self.service.hub.sessions;
        let (session, place) = sessions.open(new, 100).unwrap();
        let wire = Wire::default();
        sessions.topics.attach(place, 0, None, Box::new(Frames(wire.clone())));
        (session, wire)
    }

    fn note(&self, what: &str) -> impl Fn(String) + Send + use<> {
        let (done, what) = (self.done.clone(), what.to_owned());
        move |how| done.lock().push(format!("{what}: {how}"))
    }

    fn publish(&self, text: &str) {
        self.publish_to(CHANNEL, text, Actor::operator());
    }

    fn publish_to(&self, channel: &str, text: &str, actor: Actor) {
        let note = self.note(text);
        self.service.publish(&channel.into(), Payload::Text(text.to_owned()), actor, move |done| note(said(done)));
    }

    fn subscribe(&self, what: &str, session: &Arc<Session>, info: Payload) {
        let (note, actor) = (self.note(what), Actor::client(session, Duration::from_secs(60)));
        self.service.subscribe(&CHANNEL.into(), session, info, actor, move |done| note(said(done)));
    }

    fn unsubscribe(&self, what: &str, session: &Arc<Session>) {
        let (note, actor) = (self.note(what), Actor::client(session, Duration::from_secs(60)));
        self.service.unsubscribe(&CHANNEL.into(), session, actor, move |done| note(said(done)));
    }

    /// The calls that have not ended: what they are about.
    fn calls(&self) -> Vec<(ChannelAction, Payload)> {
        let calls = self.modules.calls.lock();
        calls.iter().map(|(call, _)| (call.trigger.action, call.payload.clone())).collect()
    }

    async fn until_calls(&self, count: usize) {
        until("calls", || self.modules.calls.lock().len() == count).await;
    }

    /// Ends the call at an index.
    fn end(&self, index: usize, result: CallResult) -> ChannelCall {
        let (call, sender) = self.modules.calls.lock().remove(index);
        sender.send(result).unwrap();
        call
    }

    fn done(&self) -> Vec<String> {
        std::mem::take(&mut *self.done.lock())
    }

    async fn until_done(&self, expected: &[&str]) {
        until("the end of all actions", || self.done.lock().len() >= expected.len()).await;
        assert_eq!(self.done(), expected);
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.0.lock())
    }
}

/// How an action has ended.
fn said<T, E: Into<CallError>>(done: Result<T, E>) -> String {
    match done {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.into().code().to_owned(),
    }
}

fn pass(payload: Option<&str>) -> CallResult {
    let payload = payload.map(|text| Payload::Text(text.to_owned()));
    Ok(Outcome::Pass(Passed { payload, ..Passed::default() }))
}

fn failure() -> CallResult {
    Err(CallError::Failure(Failure { name: "No".to_owned(), ..Failure::default() }))
}

fn status(status: u16) -> CallResult {
    Ok(Outcome::Reply(Reply { status, ..Reply::default() }))
}

/// Lets other tasks run until a condition holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "still waiting for {what}");
        tokio::task::yield_now().await;
    }
}

fn published() -> ChannelSettings {
    ChannelSettings::default()
}
