//! Host events become calls of hooks.
//!
//! Each module with hooks has a queue and a task: its hooks run in the order of the events, one at
//! a time, and a slow hook delays no other module. A full queue drops its oldest event, and the
//! host raises a `warning` before the module's next hook. Such a warning pushes no event out of a
//! full queue, because several modules with slow hooks of `warning` would then cause each other's
//! warnings without end.
//!
//! The queue belongs to the module and not to the log, so that events for which the module has no
//! hook push none of its events out. A call finds its hook by its name, so a swap may move it to
//! another route.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::call::{IsolateId, Payload};
use crate::events::{EventItem, EventLog, EventReader, EventRecord, HostEvent, Origin, OriginKind};

/// The modules of the master isolate.
pub trait HookBackend: Send + Sync + 'static {
    /// The modules with a hook of any host event.
    fn modules(&self) -> Vec<HookedModule>;

    /// Whether the module has a hook of this event now.
    fn has_hook(&self, module: &str, event: &str) -> bool;

    /// Calls the hook, if the module still has it. Resolves when the call has ended. Returns
    /// `false` if the module accepts no call, because messages fill its mailbox.
    fn call(&self, module: &str, event: &'static str, payload: Payload) -> impl Future<Output = bool> + Send;

    /// Counts events that the module's queue has dropped.
    fn count_dropped(&self, module: &str, count: u64);
}

/// A module with a hook of a host event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookedModule {
    pub name: Arc<str>,
    /// The most events that may wait for its hooks.
    pub most: usize,
}

/// Calls the hooks of every event that the reader returns, until the log is closed.
pub async fn run<B: HookBackend>(backend: Arc<B>, log: Arc<EventLog>, mut events: EventReader) {
    let mut modules: BTreeMap<Arc<str>, (Arc<Queue>, AbortOnDropHandle<()>)> = BTreeMap::new();
    while let Some(item) = events.next().await {
        let hooked = backend.modules();
        // A module that was removed loses its task and the events that wait.
        modules.retain(|name, _| hooked.iter().any(|module| module.name == *name));
        for HookedModule { name, most } in hooked {
            let (queue, _) = modules.entry(name.clone()).or_insert_with(|| {
                let queue = Arc::new(Queue::default());
                let calls = call_hooks(backend.clone(), log.clone(), name.clone(), queue.clone());
                (queue, AbortOnDropHandle::new(tokio::spawn(calls)))
            });
            match &item {
                EventItem::Missed(count) => queue.drop_events(*count),
                EventItem::Event(event) if backend.has_hook(&name, event.event.name()) => {
                    if !queue.push(event.clone(), most) {
                        backend.count_dropped(&name, 1);
                    }
                }
                EventItem::Event(_) => {}
            }
        }
    }
}

/// Calls the hooks of one module.
async fn call_hooks<B: HookBackend>(backend: Arc<B>, log: Arc<EventLog>, module: Arc<str>, queue: Arc<Queue>) {
    loop {
        let (dropped, event) = queue.next().await;
        if dropped > 0 {
            backend.count_dropped(&module, dropped);
            let message = format!(
                "{dropped} host events for the hooks of {module} were dropped, because its hooks are too slow: \
                 at most limits.mailbox events wait, and as many calls"
            );
            tracing::warn!(%module, dropped, "{message}");
            log.raise(HostEvent::Warning { origin: Origin::module(IsolateId::Master, &module), message });
        }
        // An event is a record of numbers and texts, which JSON can always represent.
        let Ok(payload) = serde_json::to_string(&*event) else { continue };
        if !backend.call(&module, event.event.name(), Payload::Text(payload)).await {
            match is_about_dropped_events(&event.event) {
                true => backend.count_dropped(&module, 1),
                false => queue.drop_events(1),
            }
        }
    }
}

/// The events that wait for the hooks of one module.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Arc<EventRecord>>,
    /// Events that were dropped since the last call.
    dropped: u64,
}

/// Whether this is a warning of [`call_hooks`].
fn is_about_dropped_events(event: &HostEvent) -> bool {
    let HostEvent::Warning { origin, .. } = event else { return false };
    origin.kind == OriginKind::Master && origin.module.is_some()
}

impl Queue {
    /// Returns `false` if the queue is full and the event itself was dropped.
    fn push(&self, event: Arc<EventRecord>, most: usize) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.events.len() >= most.max(1) && is_about_dropped_events(&event.event) {
            return false;
        }
        waiting.events.push_back(event);
        while waiting.events.len() > most.max(1) {
            waiting.events.pop_front();
            waiting.dropped += 1;
        }
        drop(waiting);
        self.changed.notify_one();
        true
    }

    fn drop_events(&self, count: u64) {
        self.waiting.lock().dropped += count;
    }

    /// Waits for the next event. Returns how many events were dropped since the previous one, too.
    async fn next(&self) -> (u64, Arc<EventRecord>) {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if let Some(event) = waiting.events.pop_front() {
                    return (std::mem::take(&mut waiting.dropped), event);
                }
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    /// Modules with hooks of `info` and `warning`, which run while the test allows it.
    struct Backend {
        installed: Mutex<&'static [&'static str]>,
        started: Mutex<Vec<serde_json::Value>>,
        allowed: Semaphore,
        dropped: Mutex<u64>,
        full: AtomicBool,
    }

    impl HookBackend for Backend {
        fn modules(&self) -> Vec<HookedModule> {
            let slow = |name: &&str| HookedModule { name: (*name).into(), most: 3 };
            self.installed.lock().iter().map(slow).collect()
        }

        fn has_hook(&self, _: &str, event: &str) -> bool {
            matches!(event, "info" | "warning")
        }

        async fn call(&self, _: &str, event: &'static str, payload: Payload) -> bool {
            if self.full.load(Ordering::Relaxed) {
                return false;
            }
            let payload: serde_json::Value = serde_json::from_slice(payload.as_bytes()).unwrap();
            assert_eq!(payload["type"], event);
            self.started.lock().push(payload);
            self.allowed.acquire().await.unwrap().forget();
            // Lets the events that are raised meanwhile into the queues.
            tokio::task::yield_now().await;
            true
        }

        fn count_dropped(&self, _: &str, count: u64) {
            *self.dropped.lock() += count;
        }
    }

    fn start(installed: &'static [&'static str]) -> (Arc<Backend>, Arc<EventLog>, tokio::task::JoinHandle<()>) {
        let log = Arc::new(EventLog::new(true, true));
        let backend = Backend {
            installed: Mutex::new(installed),
            started: Mutex::default(),
            allowed: Semaphore::new(0),
            dropped: Mutex::default(),
            full: AtomicBool::default(),
        };
        let backend = Arc::new(backend);
        let task = tokio::spawn(run(backend.clone(), log.clone(), log.read_after(0)));
        (backend, log, task)
    }

    fn info(log: &EventLog, message: impl ToString) {
        log.raise(HostEvent::Info { message: message.to_string() });
    }

    async fn until(condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    }

    fn messages(backend: &Backend) -> Vec<String> {
        backend.started.lock().iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn hooks_run_one_at_a_time_and_in_order() {
        let (backend, log, task) = start(&["slow"]);
        (1..=3).for_each(|n| info(&log, n));
        until(|| messages(&backend) == ["1"]).await;
        backend.allowed.add_permits(3);
        until(|| messages(&backend) == ["1", "2", "3"]).await;
        log.close(HostEvent::Info { message: "last".to_owned() });
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_oldest_events_and_says_so_once() {
        let (backend, log, _task) = start(&["slow"]);
        info(&log, "running");
        until(|| messages(&backend).len() == 1).await;
        // Three may wait; the fourth and fifth replace the first two.
        (1..=5).for_each(|n| info(&log, n));
        // Lets the other task, which never waits, queue all of them.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        backend.allowed.add_permits(100);
        until(|| messages(&backend).len() == 5).await;
        let seen = messages(&backend);
        assert_eq!(seen[..4], ["running", "3", "4", "5"]);
        assert!(seen[4].starts_with("2 host events for the hooks of slow were dropped"), "{seen:?}");
        assert_eq!(*backend.dropped.lock(), 2);
        info(&log, "after");
        until(|| messages(&backend).len() == 6).await;
        assert_eq!(
            (messages(&backend)[5].as_str(), *backend.dropped.lock()),
            ("after", 2),
            "no warning follows another"
        );
    }

    /// The warning about one module's queue is an event for the full queue of the other one.
    #[tokio::test]
    async fn warnings_about_several_full_queues_come_to_an_end() {
        let (backend, log, _task) = start(&["a", "b"]);
        info(&log, "running");
        until(|| messages(&backend).len() == 2).await;
        (1..=5).for_each(|n| info(&log, n));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        backend.allowed.add_permits(100_000);
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        let raised = log.count();
        assert!(raised <= 6 + 4, "{raised} events");
    }

    #[tokio::test]
    async fn events_that_find_the_mailbox_full_of_messages_are_dropped_with_a_warning() {
        let (backend, log, _task) = start(&["a", "b"]);
        backend.allowed.add_permits(100);
        backend.full.store(true, Ordering::Relaxed);
        (1..=3).for_each(|n| info(&log, n));
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        assert!((3..20).contains(&log.count()), "{} events", log.count());
        assert!(*backend.dropped.lock() >= 4, "{} were dropped", backend.dropped.lock());
        backend.full.store(false, Ordering::Relaxed);
        info(&log, "accepted");
        until(|| messages(&backend).iter().filter(|message| *message == "accepted").count() == 2).await;
        until(|| *backend.dropped.lock() >= 6).await;
        let mut reader = log.read_after(0);
        let raised: Vec<String> = std::iter::from_fn(|| reader.try_next()).map(|item| format!("{item:?}")).collect();
        for module in ["a", "b"] {
            let warning = format!("host events for the hooks of {module} were dropped");
            assert!(raised.iter().any(|event| event.contains(&warning)), "{raised:?}");
        }
    }

    #[tokio::test]
    async fn a_removed_module_loses_its_events_and_a_new_one_begins_with_the_next() {
        let (backend, log, _task) = start(&["slow"]);
        info(&log, "running");
        info(&log, "waiting");
        until(|| messages(&backend) == ["running"]).await;
        *backend.installed.lock() = &[];
        info(&log, "removed");
        until(|| Arc::strong_count(&backend) == 2).await;
        *backend.installed.lock() = &["slow"];
        backend.allowed.add_permits(100);
        info(&log, "installed again");
        until(|| messages(&backend).len() == 2).await;
        assert_eq!(messages(&backend), ["running", "installed again"]);
    }
}
