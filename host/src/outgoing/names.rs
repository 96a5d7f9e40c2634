//! Looks up the names of servers for a module, a bounded number at a time.
//!
//! The system's resolver occupies a thread for each lookup, and cannot be interrupted. When its
//! name servers are silent, that takes half a minute, whether or not anybody still waits.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::blocking::run_blocking;
use crate::call::bounds;

/// The most lookups of one module that run at the same time. Further ones wait.
const LOOKUPS: usize = 8;

/// The most lookups of all modules that run at the same time, so that other work of the pool finds
/// threads.
const ALL_LOOKUPS: usize = 128;

/// The most names whose addresses a module keeps.
const MOST_NAMES: usize = 64;

/// How long the addresses of a name stay valid.
const FRESH: Duration = Duration::from_secs(10);

/// How long a name whose lookup has failed is not looked up again.
const FRESH_FAILURE: Duration = Duration::from_secs(1);

type Resolver = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Looks up names for all modules.
#[derive(Debug, Clone)]
pub struct AllNames {
    places: Arc<Semaphore>,
    resolver: Resolver,
}

/// Looks up the names of one module, and keeps their addresses for ten seconds.
pub struct Names {
    all: AllNames,
    places: Arc<Semaphore>,
    known: Mutex<VecDeque<Known>>,
}

struct Known {
    name: String,
    /// None if the lookup has failed.
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Default for AllNames {
    fn default() -> AllNames {
        AllNames::new(|name| Ok((name, 0).to_socket_addrs()?.map(|found| found.ip().to_canonical()).collect()))
    }
}

impl AllNames {
    fn new(resolver: Resolver) -> AllNames {
        AllNames { places: Arc::new(Semaphore::new(ALL_LOOKUPS)), resolver }
    }

    pub fn of_module(&self) -> Names {
        Names { all: self.clone(), places: Arc::new(Semaphore::new(LOOKUPS)), known: Mutex::default() }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// The addresses of a name. None if it cannot be resolved.
    pub async fn look_up(&self, name: &str) -> Vec<IpAddr> {
        if let Some(addresses) = self.fresh(name) {
            return addresses;
        }
        let own = place(&self.places).await;
        // Others may have looked it up meanwhile.
        if let Some(addresses) = self.fresh(name) {
            return addresses;
        }
        let places = (own, place(&self.all.places).await);
        let (resolver, target) = (self.all.resolver, name.to_owned());
        // The lookup has its places until it ends, even if nobody waits for it any more.
        let (found, _places) = run_blocking(move || (resolver(&target), places)).await;
        let addresses = found.unwrap_or_default();
        self.keep(name, &addresses);
        addresses
    }

    fn fresh(&self, name: &str) -> Option<Vec<IpAddr>> {
        let (known, now) = (self.known.lock(), Instant::now());
        known.iter().find(|known| known.name == name && known.until > now).map(|known| known.addresses.clone())
    }

    /// Keeps the addresses of a name, or that it has none.
    pub(super) fn keep(&self, name: &str, addresses: &[IpAddr]) {
        let mut known = self.known.lock();
        known.retain(|known| known.name != name);
        if known.len() == MOST_NAMES {
            known.pop_front();
        }
        let until = Instant::now() + if addresses.is_empty() { FRESH_FAILURE } else { FRESH };
        known.push_back(Known { name: name.to_owned(), addresses: addresses.to_vec(), until });
    }
}

async fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = places.clone().try_acquire_owned() {
        return Some(place);
    }
    bounds::LOOKUPS.count();
    // The only error is a closed semaphore, and nobody closes one.
    places.clone().acquire_owned().await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    /// Waits until a condition holds.
    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_module_has_eight_lookups_at_a_time_even_if_nobody_waits_for_them() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static ANSWER: std::sync::OnceLock<()> = std::sync::OnceLock::new();
        fn silent(_: &str) -> io::Result<Vec<IpAddr>> {
            RUNNING.fetch_add(1, SeqCst);
            ANSWER.wait();
            RUNNING.fetch_sub(1, SeqCst);
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        }
        let all = AllNames::new(silent);
        let (module, other) = (all.of_module(), all.of_module());
        for index in 0..1_000 {
            assert!(module.look_up(&format!("n{index}.test")).now_or_never().is_none());
        }
        until(|| RUNNING.load(SeqCst) == LOOKUPS).await;
        let mut waiting = Box::pin(module.look_up("late.test"));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(other.look_up("a.test").now_or_never().is_none());
        until(|| RUNNING.load(SeqCst) == LOOKUPS + 1).await;
        assert_eq!(module.places.available_permits(), 0);
        ANSWER.set(()).unwrap();
        assert_eq!(waiting.await, [IpAddr::from([192, 0, 2, 1])]);
        until(|| module.places.available_permits() == LOOKUPS).await;
        until(|| all.places.available_permits() == ALL_LOOKUPS).await;
    }

    #[tokio::test]
    async fn all_modules_together_leave_threads_to_other_work() {
        let all = AllNames::new(|_| Ok(Vec::new()));
        let _busy = all.places.clone().acquire_many_owned(ALL_LOOKUPS as u32).await.unwrap();
        let reached = bounds::LOOKUPS.reached();
        assert!(all.of_module().look_up("a.test").now_or_never().is_none());
        assert!(bounds::LOOKUPS.reached() > reached);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_in_ten_seconds_for_all_who_wait() {
        static LOOKED_UP: AtomicUsize = AtomicUsize::new(0);
        let all = AllNames::new(|name| {
            LOOKED_UP.fetch_add(1, SeqCst);
            if name == "no.test" { Err(io::ErrorKind::NotFound.into()) } else { Ok(vec![IpAddr::from([192, 0, 2, 1])]) }
        });
        let module = all.of_module();
        assert!(module.look_up("no.test").await.is_empty() && module.look_up("no.test").await.is_empty());
        assert_eq!(LOOKED_UP.load(SeqCst), 1, "a failure is kept, too");
        join_all((0..100).map(|_| module.look_up("a.test"))).await;
        assert!(LOOKED_UP.load(SeqCst) <= 1 + LOOKUPS, "{LOOKED_UP:?}");
        module.known.lock().iter_mut().for_each(|known| known.until -= FRESH);
        let before = LOOKED_UP.load(SeqCst);
        module.look_up("a.test").await;
        assert_eq!(LOOKED_UP.load(SeqCst), before + 1);
        for index in 0..1_000 {
            module.look_up(&format!("n{index}.test")).await;
        }
        assert_eq!(module.known.lock().len(), MOST_NAMES);
    }
}
