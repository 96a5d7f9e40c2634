//! The port to dispatch.

use std::sync::Arc;
use std::time::Duration;

use super::BoxFuture;
use crate::call::{
    Address, CallError, CallOptions, CallResult, Context, Emission, GatherEntry, Group, IsolateId, MiddlewareCall,
    Payload, Receipt, Reply, Target, size,
};
use crate::config::capabilities::Granted;

/// The instance that uses an import, with its capabilities and limits.
#[derive(Debug, Clone)]
pub struct Caller {
    pub module: Arc<str>,
    pub isolate: IsolateId,
    pub capabilities: Arc<Granted>,
    /// The timeout of a call that sets none and has no call above it.
    pub default_timeout: Duration,
    /// The largest payload in bytes.
    pub max_payload: u64,
    /// The most subscriptions that the instance may make.
    pub max_subscriptions: usize,
    /// The call in whose name the instance acts. `None` means background work.
    pub context: Option<Arc<Context>>,
}

impl Caller {
    /// The error when the guest uses a capability that it does not have, as
    /// [`Granted::forbidden`] says.
    pub fn forbidden(&self, key: &'static str, target: Option<&str>) -> CallError {
        self.capabilities.forbidden(&self.module, key, target)
    }

    /// Checks the size of something that the guest sends.
    pub fn check_size(&self, what: &str, size: usize) -> Result<(), CallError> {
        size::check(what, size, self.max_payload, format_args!("limits.payload of {}", self.module))
    }
}

/// The functions of dispatch for the imports `broadcast` and `rpc`.
pub trait Calls: Send + Sync {
    fn emit(&self, from: Caller, what: Emission, payload: Payload) -> Result<Receipt, CallError>;

    /// Emits a durable broadcast. Resolves when the stream has it.
    fn emit_durable(&self, from: Caller, what: Emission, payload: Payload) -> BoxFuture<Result<Receipt, CallError>>;

    fn gather(
        &self,
        from: Caller,
        what: Emission,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>>;

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
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>>;

    fn notify(
        &self,
        from: Caller,
        address: Address,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> Result<u32, CallError>;

    /// Calls a middleware of a call that has started.
    fn middleware(&self, call: MiddlewareCall) -> BoxFuture<CallResult>;
}

/// The port of a host that serves no modules.
#[derive(Debug, Clone, Copy)]
pub struct NoCalls;

impl Calls for NoCalls {
    fn emit(&self, _: Caller, _: Emission, _: Payload) -> Result<Receipt, CallError> {
        Err(unavailable())
    }

    fn emit_durable(&self, _: Caller, _: Emission, _: Payload) -> BoxFuture<Result<Receipt, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn gather(
        &self,
        _: Caller,
        _: Emission,
        _: Payload,
        _: Option<Duration>,
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn call(&self, _: Caller, _: Target, _: String, _: Payload, _: CallOptions) -> BoxFuture<Result<Reply, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn call_every(
        &self,
        _: Caller,
        _: Group,
        _: String,
        _: Payload,
        _: CallOptions,
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn notify(&self, _: Caller, _: Address, _: String, _: Payload, _: CallOptions) -> Result<u32, CallError> {
        Err(unavailable())
    }

    fn middleware(&self, _: MiddlewareCall) -> BoxFuture<CallResult> {
        Box::pin(std::future::ready(Err(unavailable())))
    }
}

fn unavailable() -> CallError {
    CallError::Unavailable("this host only inspects modules and makes no calls".to_owned())
}
