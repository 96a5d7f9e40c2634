//! Calls and broadcasts of the embedding program, without a socket.

use std::time::Duration;

use super::RunningHost;
use crate::call::{
    CallError, CallOptions, Emission, GatherEntry, IsolateId, Payload, Receipt, Reply, RouteName, Target,
};
use crate::dispatch::Actor;

impl RunningHost {
    /// Calls a route of a module in the worker with the least load, and returns the reply.
    ///
    /// `route` is `[METHOD ]path[?query]`, with the path below the module. Without a method, the
    /// route with POST is meant, or else the only one. Inner routes are open to the program. The
    /// call has as much time as `limits.timeout` of the module allows, or `options.timeout` if that
    /// is less.
    ///
    /// Fails with [`CallError::NotFound`] without such a module or route, [`CallError::Invalid`]
    /// for a malformed route or a payload above `limits.payload`, [`CallError::Unavailable`] while
    /// the module does not serve or the host stops, and with the other errors if the call itself
    /// fails.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// use fanfare::CallOptions;
    ///
    /// let reply = host.call("flags", "GET beta", (), CallOptions::default()).await?;
    /// println!("{}: {}", reply.effective_status(), reply.payload.to_text());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call(
        &self,
        module: &str,
        route: &str,
        payload: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Reply, CallError> {
        self.call_at(Target::Any, module, route, payload.into(), options).await
    }

    /// Like [`RunningHost::call`], in a certain isolate. Fails with [`CallError::NotFound`] if the
    /// node has no such isolate.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// use fanfare::{CallOptions, IsolateId};
    ///
    /// let lead = IsolateId::Worker(0);
    /// let reply = host.call_in(lead, "counter", "visits", (), CallOptions::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call_in(
        &self,
        isolate: IsolateId,
        module: &str,
        route: &str,
        payload: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Reply, CallError> {
        self.call_at(Target::Isolate(isolate), module, route, payload.into(), options).await
    }

    async fn call_at(
        &self,
        target: Target,
        module: &str,
        route: &str,
        payload: Payload,
        options: CallOptions,
    ) -> Result<Reply, CallError> {
        self.check_running()?;
        let name = RouteName::within(module, route).map_err(|error| CallError::Invalid(error.to_string()))?;
        self.dispatch.call(&Actor::Operator, target, &name, payload, options).await
    }

    /// Emits a broadcast of a module to every worker, and returns at once. The receipt says how
    /// many workers have queued it.
    ///
    /// Fails with [`CallError::NotFound`] without such a module or broadcast,
    /// [`CallError::Invalid`] for a payload above `limits.payload` or if `options` have a timeout,
    /// because nobody waits, [`CallError::Overloaded`] if the lane of a worker is full, and
    /// [`CallError::Unavailable`] while the module does not serve or the host stops.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// let options = fanfare::CallOptions::default();
    /// let receipt = host.emit("flags", "set", r#"{ "name": "beta", "value": true }"#, options)?;
    /// println!("{} workers", receipt.accepted);
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit(
        &self,
        module: &str,
        broadcast: &str,
        payload: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Receipt, CallError> {
        self.check_running()?;
        if options.timeout.is_some() {
            let why = "emit does not wait, so its options cannot have a timeout: use gather, or remove the timeout";
            return Err(CallError::Invalid(why.to_owned()));
        }
        self.dispatch.emit(&Actor::Operator, emission(module, broadcast, options), payload.into())
    }

    /// Emits a broadcast like [`RunningHost::emit`], waits for the handlers, and returns one entry
    /// for each worker, in index order. Waits for `options.timeout`, by default
    /// `limits.max.timeout` of the settings. A worker that has not replied by then has the error
    /// [`CallError::Timeout`].
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// use fanfare::CallOptions;
    ///
    /// let payload = r#"{ "name": "beta", "value": true }"#;
    /// for entry in host.gather("flags", "set", payload, CallOptions::default()).await? {
    ///     match entry.outcome {
    ///         Ok(reply) => println!("{}: {}", entry.isolate, reply.payload.to_text()),
    ///         Err(error) => println!("{}: {error}", entry.isolate),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn gather(
        &self,
        module: &str,
        broadcast: &str,
        payload: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Vec<GatherEntry>, CallError> {
        self.check_running()?;
        let timeout: Duration = options.timeout.unwrap_or(self.swapper.config.limits.max.timeout);
        let emission = emission(module, broadcast, options);
        self.dispatch.gather(&Actor::Operator, emission, payload.into(), Some(timeout)).await
    }
}

fn emission(module: &str, broadcast: &str, options: CallOptions) -> Emission {
    let CallOptions { subdomain, extra, .. } = options;
    Emission { module: Some(module.to_owned()), name: broadcast.to_owned(), subdomain, extra }
}
