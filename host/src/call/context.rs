use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{CallSession, Envelope, IsolateId, Link, Origin, Trace};

/// The head of an HTTP request, which a guest reads on demand.
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub headers: http::HeaderMap,
    pub path: String,
    pub authority: String,
    pub peer: SocketAddr,
}

impl RequestHead {
    /// The memory that it uses, in bytes. Its text is within `http.maxHeaderBytes`.
    fn weight(&self) -> usize {
        let text: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        size_of::<RequestHead>() + text + super::ENTRY * self.headers.len() + self.path.len() + self.authority.len()
    }
}

/// The identity and the limits of a call, which the calls made in its name inherit.
#[derive(Debug)]
pub struct Context {
    pub id: u64,
    pub trace: Trace,
    pub module: Arc<str>,
    /// The isolate that the call runs in.
    pub isolate: IsolateId,
    pub origin: Origin,
    pub subdomain: Option<Arc<str>>,
    /// When the call was made.
    pub made: Instant,
    pub deadline: Deadline,
    /// Whether its instance runs no other call while this one runs.
    pub exclusive: AtomicBool,
    /// The call that waits for this one, if any.
    pub parent: Option<Arc<Context>>,
    /// The envelope, if the call came from another node. `parent` is then the nearest call of its
    /// chain that still runs on this node.
    pub remote: Option<Arc<Envelope>>,
    /// The number of calls above it.
    pub depth: u32,
    /// Whether it descends from a startup.
    pub in_startup: bool,
    /// Whether it is, or descends from, a hook whose failure raises no event
    /// ([`hook::is_quiet`](super::hook::is_quiet)).
    pub in_quiet_hook: bool,
    pub http: Option<Box<RequestHead>>,
    /// The session that the call belongs to: that of a client's message, or of a hook about a
    /// client.
    pub session: Option<CallSession>,
    /// The channel whose route runs.
    pub channel: Option<Arc<str>>,
    until: OnceLock<Instant>,
    ended: AtomicBool,
}

impl Context {
    /// Creates the context of a call that no other call made.
    pub fn root(id: u64, module: Arc<str>, isolate: IsolateId, origin: Origin, deadline: Deadline) -> Context {
        Context {
            id,
            trace: Trace::fresh(),
            module,
            isolate,
            origin,
            subdomain: None,
            made: Instant::now(),
            deadline,
            exclusive: AtomicBool::new(false),
            parent: None,
            remote: None,
            depth: 0,
            in_startup: false,
            in_quiet_hook: false,
            http: None,
            session: None,
            channel: None,
            until: OnceLock::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// The calls that wait for this one, nearest first.
    pub fn waiters(&self) -> impl Iterator<Item = &Arc<Context>> {
        std::iter::successors(self.parent.as_ref(), |context| context.parent.as_ref())
    }

    /// Whether this call, or one that waits for it, is about a channel.
    pub fn is_about(&self, channel: &str) -> bool {
        std::iter::once(self)
            .chain(self.waiters().map(|above| &**above))
            .any(|context| context.channel.as_deref() == Some(channel))
    }

    /// The chain to send to another node: this call and the calls that wait for it, nearest first.
    pub fn chain(&self, node: &Arc<str>) -> Vec<Link> {
        let mut chain = Vec::new();
        for context in std::iter::once(self).chain(self.waiters().map(|above| &**above)) {
            let (module, isolate, call) = (context.module.clone(), context.isolate, context.id);
            chain.push(Link { node: node.clone(), module, isolate, call });
            if let Some(envelope) = &context.remote {
                // The envelope has all calls above this one, on every node.
                chain.extend_from_slice(&envelope.chain);
                break;
            }
        }
        chain
    }

    /// Whether a call of the same module waits for it.
    pub fn is_nested(&self) -> bool {
        self.waiters().any(|above| above.module == self.module)
    }

    pub(super) fn subdomain_len(&self) -> usize {
        self.subdomain.as_ref().map_or(0, |subdomain| subdomain.len())
    }

    /// The memory that it uses, in bytes, with that of the calls that wait for it, because it keeps
    /// them alive.
    pub(super) fn weight(&self) -> usize {
        let head = |context: &Context| context.http.as_ref().map_or(0, |head| head.weight());
        let links = |context: &Context| context.remote.as_ref().map_or(0, |remote| super::ENTRY * remote.chain.len());
        let copy = |context: &Context| {
            let copy = context.session.as_ref().and_then(|session| session.copy.as_ref());
            copy.map_or(0, |copy| copy.weight())
        };
        let own =
            |context: &Context| super::FIXED + context.subdomain_len() + head(context) + links(context) + copy(context);
        own(self) + self.waiters().map(|context| own(context)).sum::<usize>()
    }

    /// Records that the call starts at `now`. Returns when its caller stops waiting.
    pub fn start(&self, now: Instant) -> Instant {
        *self.until.get_or_init(|| self.deadline.from(now))
    }

    /// Whether an instance has started the call.
    pub fn has_started(&self) -> bool {
        self.until.get().is_some()
    }

    /// When its caller stops waiting. `None` if that depends on a start that has not happened.
    pub fn until(&self) -> Option<Instant> {
        match self.deadline {
            Deadline::At(at) => Some(at),
            Deadline::AfterStart(_) => self.until.get().copied(),
        }
    }

    /// Whether its outcome has no receiver any more: it was reported, or the caller has stopped
    /// waiting.
    pub fn is_late(&self, now: Instant) -> bool {
        self.ended.load(Ordering::Acquire) || self.until().is_some_and(|until| until <= now)
    }

    /// Claims the right to report the outcome; true for the first claimant only.
    pub fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }
}

/// When the caller stops waiting.
#[derive(Debug, Clone, Copy)]
pub enum Deadline {
    At(Instant),
    /// Counted from the start of the call. For broadcasts, because they may wait in their lane
    /// without a time limit.
    AfterStart(Duration),
}

impl Deadline {
    /// Returns the deadline of a call that starts at `now`.
    pub fn from(self, now: Instant) -> Instant {
        match self {
            Deadline::At(at) => at,
            Deadline::AfterStart(duration) => now + duration,
        }
    }
}
