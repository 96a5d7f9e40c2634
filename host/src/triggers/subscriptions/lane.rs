//! Delivers what waits in one queue of an outlet.
//!
//! With `"deliver": "one"` a subscription has one lane, and with `all` one for each worker, so that
//! a slow handler delays only its own lane. A message leaves the queue when its call is in a
//! mailbox; if the isolate returns the call before it has started, it becomes the oldest message
//! again. The lane of an isolate that cannot receive messages drops them while another isolate can;
//! otherwise a source that waits would wait for it.
//!
//! A sender announces a message to all lanes at once, and a lane that other lanes replace ends only
//! when what was announced has arrived. So a swap between two lanes skips no worker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backend::PlaceState;
use super::counts::Counts;
use super::message::Message;
use super::queue::{Bounds, Ended, Item, Queue, Received};
use crate::call::{CallEnd, CallError, Failure, IsolateId, Reply};

/// How long a message waits until it is offered again, after no isolate could take it.
const RETRY: Duration = Duration::from_millis(20);

/// The subscription of a lane.
pub(super) trait Outlet: Send + Sync + 'static {
    /// Whether nothing is to be delivered any more.
    fn is_over(&self) -> bool;

    /// Resolves when nothing is to be delivered any more.
    fn over(&self) -> impl Future<Output = ()> + Send;

    /// How many messages an isolate handles at once.
    fn concurrency(&self) -> u32;

    fn places(&self) -> Vec<PlaceState>;

    /// Queues a call. An error means that it was not queued. A call that is `movable` is returned
    /// if it waits for an instance while another isolate has one.
    fn deliver(
        &self,
        isolate: IsolateId,
        movable: bool,
        message: &Message,
    ) -> Result<BoxFuture<'static, CallEnd>, CallError>;

    fn count_outcome(&self, code: &'static str, error: Option<&CallError>);

    fn count_dropped(&self, count: u64);

    /// Counts messages that an isolate does not receive, because it cannot.
    fn count_skipped(&self, isolate: IsolateId, count: u64);
}

/// A queue, and where its messages go.
pub(super) struct Lane {
    pub queue: Queue,
    /// The isolate that receives every message. `None` for the workers, in turns.
    isolate: Option<IsolateId>,
    /// Cancelled when the lane delivers nothing more.
    pub done: CancellationToken,
}

/// A message that its sender is about to add. Until then the lane does not end because other lanes
/// replace it.
pub(super) struct Announced(Arc<Lane>);

impl Announced {
    /// Adds the message as soon as there is room.
    pub async fn push(self, item: Item) -> Result<(), Ended> {
        self.0.queue.push_when_free(item).await
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.queue.end_announcement();
    }
}

/// A call that an isolate is done with.
struct Done {
    isolate: IsolateId,
    item: Item,
    end: CallEnd,
}

/// Where the next message goes.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    At(IsolateId),
    /// Every isolate handles as many messages as it may.
    Busy,
    Nowhere,
}

/// The calls of a lane that have not ended.
#[derive(Default)]
struct Running {
    calls: FuturesUnordered<BoxFuture<'static, Done>>,
    load: BTreeMap<IsolateId, u32>,
    /// The isolate that received the last message.
    last: Option<IsolateId>,
}

impl Lane {
    pub fn new(isolate: Option<IsolateId>, bounds: Bounds) -> Arc<Lane> {
        Arc::new(Lane { queue: Queue::new(bounds), isolate, done: CancellationToken::new() })
    }

    pub fn announce(self: &Arc<Lane>) -> Announced {
        self.queue.announce();
        Announced(self.clone())
    }

    /// Delivers messages until the subscription ends, the host begins to stop, or another lane
    /// replaces this one and nothing waits. Begins when the lanes `before` are done.
    pub async fn run(self: Arc<Lane>, outlet: Arc<impl Outlet>, before: Vec<CancellationToken>) {
        let _done = self.done.clone().drop_guard();
        for lane in before {
            lane.cancelled().await;
        }
        let (mut running, mut pause) = (Running::default(), None);
        loop {
            let is_over = outlet.is_over();
            if !is_over && pause.is_none() {
                pause = self.start(&*outlet, &mut running);
            }
            if running.calls.is_empty() && (is_over || self.queue.is_done()) {
                self.queue.end();
                return;
            }
            let retry = async {
                match pause {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(done) = running.calls.next() => {
                    if let Some(again) = self.ended(&*outlet, &mut running, done) {
                        pause = Some(again);
                    }
                }
                () = self.queue.changed() => {}
                () = retry => pause = None,
                () = outlet.over(), if !is_over => {}
            }
        }
    }

    /// Starts as many calls as possible. Returns when to try again, if something waits that no
    /// isolate can take.
    fn start(&self, outlet: &impl Outlet, running: &mut Running) -> Option<Instant> {
        while !self.queue.is_empty() {
            let mut places = outlet.places();
            let is_open = places.iter().any(|place| !place.failed);
            places.retain(|place| self.isolate.is_none_or(|isolate| isolate == place.isolate));
            let isolate = match running.choose(&places, outlet.concurrency()) {
                Choice::At(isolate) => isolate,
                Choice::Busy => return None,
                Choice::Nowhere => {
                    // An isolate that cannot receive messages does not hold up the others.
                    if let Some(isolate) = self.isolate
                        && is_open
                    {
                        self.skip(outlet, isolate);
                        return None;
                    }
                    // Nobody will ever take what waits for a handler that was replaced.
                    if self.queue.is_replaced() && places.is_empty() {
                        outlet.count_dropped(self.queue.end());
                    }
                    return Some(Instant::now() + RETRY);
                }
            };
            let item = self.queue.pop()?;
            match outlet.deliver(isolate, self.isolate.is_none(), &item.message) {
                Ok(call) => {
                    *running.load.entry(isolate).or_default() += 1;
                    running.last = Some(isolate);
                    running.calls.push(async move { Done { isolate, item, end: call.await } }.boxed());
                }
                Err(error) if was_not_queued(&error) => {
                    running.last = Some(isolate);
                    self.put_back(outlet, item);
                    return Some(Instant::now() + RETRY);
                }
                Err(error) => finish(outlet, item, Err(error)),
            }
        }
        None
    }

    /// Drops what waits for an isolate that cannot receive messages.
    fn skip(&self, outlet: &impl Outlet, isolate: IsolateId) {
        let mut skipped = 0;
        while let Some(item) = self.queue.pop() {
            skipped += 1;
            tell(item, Ok(Received::Skipped));
        }
        outlet.count_skipped(isolate, skipped);
    }

    /// Takes the end of a call. Returns when to offer its message again, if the call did not start.
    fn ended(&self, outlet: &impl Outlet, running: &mut Running, done: Done) -> Option<Instant> {
        let Done { isolate, item, end } = done;
        if let Some(load) = running.load.get_mut(&isolate) {
            *load = load.saturating_sub(1);
        }
        match end {
            CallEnd::Returned(_) => {
                self.put_back(outlet, item);
                Some(Instant::now() + RETRY)
            }
            CallEnd::Ended(result) => {
                finish(outlet, item, result);
                None
            }
        }
    }

    fn put_back(&self, outlet: &impl Outlet, item: Item) {
        if self.queue.put_back(item).is_err() {
            outlet.count_dropped(1);
        }
    }
}

/// Whether the call can be queued later, or in another isolate.
fn was_not_queued(error: &CallError) -> bool {
    matches!(error, CallError::Overloaded(_) | CallError::Unavailable(_) | CallError::NotFound(_))
}

/// Counts the outcome of a message, and tells its sender.
fn finish(outlet: &impl Outlet, item: Item, result: Result<Reply, CallError>) {
    let (code, result) = match result {
        Ok(reply) if reply.effective_status() < 400 => (Counts::OK, Ok(Received::Handled)),
        Ok(reply) => {
            let status = reply.effective_status();
            let message = format!("the handler replied with status {status}");
            ("status", Err(CallError::Failure(Failure { message, status, ..Failure::default() })))
        }
        Err(error) => (error.code(), Err(error)),
    };
    outlet.count_outcome(code, result.as_ref().err());
    tell(item, result);
}

fn tell(item: Item, result: Result<Received, CallError>) {
    if let Some(done) = item.done {
        // The sender may have been dropped.
        let _ = done.send(result);
    }
}

impl Running {
    /// Chooses an isolate that handles fewer than `most` messages, the next one in turn. As long as
    /// one is ready, the others get no message.
    fn choose(&self, places: &[PlaceState], most: u32) -> Choice {
        let open = |ready: bool| places.iter().filter(move |place| !place.failed && (place.ready || !ready));
        let ready = places.iter().any(|place| place.ready && !place.failed);
        let free = |place: &&PlaceState| self.load.get(&place.isolate).is_none_or(|load| *load < most.max(1));
        let is_next = |place: &&PlaceState| self.last.is_none_or(|last| place.isolate > last);
        let next = open(ready).filter(free).find(is_next).or_else(|| open(ready).find(free));
        match next {
            Some(place) => Choice::At(place.isolate),
            None if open(ready).next().is_some() => Choice::Busy,
            None => Choice::Nowhere,
        }
    }
}
