//! Messages of the embedding program, as methods of a running host.

use super::messages::{GuestMessage, Handler};
use super::running::RunningHost;
use crate::call::{CallError, Failure, IsolateId, Payload};

impl RunningHost {
    /// Sends a message to a worker, and returns the reply of the module that receives it:
    /// SocketCluster's `sendToWorker`.
    ///
    /// The message is a call of the module's hook `masterMessage` in that worker, with the trigger
    /// `hook` and the origin `operator`. Without a module, the only module in the worker with this
    /// hook receives it. A message waits while the module's instance starts or restarts. The
    /// timeout is `master.ipcAckTimeout` (10 s), or `limits.timeout` of the module if that is
    /// shorter.
    ///
    /// # Errors
    ///
    /// - `NotFound`: there is no such worker, module or hook
    /// - `Invalid`: several modules have the hook and none is named, or the message is larger than
    ///   `limits.payload` of the module
    /// - `Failure`: the handler of the hook returned this error
    /// - `Unavailable`: the module has failed in that worker or is loading, or the host stops
    /// - `Overloaded`: the module's mailbox is full (`limits.mailbox`, `limits.queued`)
    /// - `Timeout`: the hook did not reply in time
    /// - `Crashed`: the instance ended while the hook ran
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// let reply = host.send_to_worker(0, Some("chat"), r#"{"log":"debug"}"#).await?;
    /// println!("{}", String::from_utf8_lossy(reply.as_bytes()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_to_worker(
        &self,
        id: u32,
        module: Option<&str>,
        data: impl Into<Payload>,
    ) -> Result<Payload, CallError> {
        self.send_to(IsolateId::Worker(id), module, data.into()).await
    }

    /// Sends a message to a broker, and returns the reply of the module that receives it:
    /// SocketCluster's `sendToBroker`. The module must declare its hook `masterMessage` with
    /// `broker` in the key `in`. See [`RunningHost::send_to_worker`].
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// let reply = host.send_to_broker(0, Some("chat"), r#"{"log":"debug"}"#).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_to_broker(
        &self,
        id: u32,
        module: Option<&str>,
        data: impl Into<Payload>,
    ) -> Result<Payload, CallError> {
        self.send_to(IsolateId::Broker(id), module, data.into()).await
    }

    /// Queues a message for a worker without waiting for the reply. The error says why it was not
    /// queued. See [`RunningHost::send_to_worker`].
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// host.post_to_worker(0, Some("chat"), r#"{"log":"debug"}"#)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn post_to_worker(&self, id: u32, module: Option<&str>, data: impl Into<Payload>) -> Result<(), CallError> {
        self.post_to(IsolateId::Worker(id), module, data.into())
    }

    /// Queues a message for a broker without waiting for the reply. See
    /// [`RunningHost::post_to_worker`].
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// host.post_to_broker(0, Some("chat"), r#"{"log":"debug"}"#)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn post_to_broker(&self, id: u32, module: Option<&str>, data: impl Into<Payload>) -> Result<(), CallError> {
        self.post_to(IsolateId::Broker(id), module, data.into())
    }

    /// Handles the messages that guests send with `master.post`, `master-await.send` and
    /// `master-blocking.send`: SocketCluster's events `workerMessage` and `brokerMessage`. The
    /// result is the reply to the guest. Without a handler, hooks of modules receive the messages.
    /// A handler that is set with [`Builder::on_message`](super::Builder::on_message) also receives
    /// the messages that guests send while the host starts.
    ///
    /// The handler replaces the previous one. It runs on the runtime that started the host, for at
    /// most 1,024 messages at once, and four fifths of them from one module; a guest gets
    /// `overloaded` for the next one. The future is dropped after `master.ipcAckTimeout`, or when
    /// the guest no longer waits. If it panics, the guest gets `crashed`.
    ///
    /// The host owns the handler until it has stopped. A handler that owns the host, in an
    /// [`Arc`](std::sync::Arc), keeps it running when everyone else drops it: use a
    /// [`Weak`](std::sync::Weak), or stop the host with [`RunningHost::shutdown`].
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) {
    /// host.on_message(async |message: fanfare::GuestMessage| {
    ///     println!("{} in {} sent {} bytes", message.module, message.isolate, message.data.len());
    ///     Ok("thanks".into())
    /// });
    /// # }
    /// ```
    pub fn on_message<F, Fut>(&self, handler: F)
    where
        F: Fn(GuestMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Payload, Failure>> + Send + 'static,
    {
        self.messages.set_handler(Handler::new(handler));
    }

    async fn send_to(&self, to: IsolateId, module: Option<&str>, data: Payload) -> Result<Payload, CallError> {
        self.check_running()?;
        self.messages.send(to, module, data).await.map(|reply| reply.payload)
    }

    fn post_to(&self, to: IsolateId, module: Option<&str>, data: Payload) -> Result<(), CallError> {
        self.check_running()?;
        self.messages.post(to, module, data)
    }
}
