//! The way to dispatch.

use std::sync::Arc;
use std::time::Duration;

use super::BoxFuture;
use crate::call::{
    Address, CallError, CallOptions, Context, Emission, Entry, Group, IsolateId, Payload, Receipt, Reply, Target,
};
use crate::config::Capabilities;

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

/// Nothing can be called.
#[derive(Debug, Clone, Copy)]
pub struct NoCalls;

impl Calls for NoCalls {
    fn emit(&self, _: Caller, _: Emission, _: Payload) -> Result<Receipt, CallError> {
        Err(nobody())
    }

    fn gather(
        &self,
        _: Caller,
        _: Emission,
        _: Payload,
        _: Option<Duration>,
    ) -> BoxFuture<Result<Vec<Entry>, CallError>> {
        Box::pin(std::future::ready(Err(nobody())))
    }

    fn call(&self, _: Caller, _: Target, _: String, _: Payload, _: CallOptions) -> BoxFuture<Result<Reply, CallError>> {
        Box::pin(std::future::ready(Err(nobody())))
    }

    fn call_every(
        &self,
        _: Caller,
        _: Group,
        _: String,
        _: Payload,
        _: CallOptions,
    ) -> BoxFuture<Result<Vec<Entry>, CallError>> {
        Box::pin(std::future::ready(Err(nobody())))
    }

    fn notify(&self, _: Caller, _: Address, _: String, _: Payload, _: CallOptions) -> Result<u32, CallError> {
        Err(nobody())
    }
}

fn nobody() -> CallError {
    CallError::Unavailable("this host serves no modules that can be called".to_owned())
}
