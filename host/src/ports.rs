//! The traits through which what a guest imports reaches the parts above: filled in when the host starts.

mod peers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{
    Address, CallError, CallOptions, Context, Emission, Entry, Group, IsolateId, Payload, Receipt, Reply, Target,
};
use crate::config::Capabilities;

pub use peers::{NoPeers, Peers};

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who uses an import, and what it may do.
#[derive(Debug, Clone)]
pub struct Caller {
    pub module: Arc<str>,
    pub isolate: IsolateId,
    pub capabilities: Arc<Capabilities>,
    /// How long a call may take that says nothing else and has no call above it.
    pub timeout: Duration,
    /// Bytes a payload may have.
    pub payload: u64,
    /// The call in whose name it acts; `None` is background work.
    pub context: Option<Arc<Context>>,
}

/// What the import `broadcast.reload`, and an instance that is worn, need of the swap.
pub trait Reloads: Send + Sync {
    /// Asks for a reload of one module, or of all. Answers at once.
    fn request(&self, module: Option<&str>) -> Result<Receipt, CallError>;

    /// Puts a new instance in the place of a worn one, with its state. Does nothing when that does not serve any more.
    fn renew(&self, module: &str, isolate: IsolateId, instance: u64) -> BoxFuture<Result<(), CallError>>;
}

/// What the imports `broadcast` and `rpc` need of dispatch.
pub trait Calls: Send + Sync {
    fn emit(&self, from: Caller, what: Emission, payload: Payload) -> Result<Receipt, CallError>;

    fn gather(
        &self,
        from: Caller,
        what: Emission,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<Vec<Entry>, CallError>>;

    fn call(
        &self,
        from: Caller,
        target: Target,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> BoxFuture<Result<Reply, CallError>>;

    fn call_every(
        &self,
        from: Caller,
        group: Group,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> BoxFuture<Result<Vec<Entry>, CallError>>;

    fn notify(
        &self,
        from: Caller,
        address: Address,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> Result<u32, CallError>;
}
