//! Calls that the host itself assigns to an isolate, and how they end there.

use std::sync::Arc;
use std::time::Duration;

use super::{CallError, IsolateId, Payload, Reply, RouteName, ScheduleRun, SubscriptionCall};

/// A run of a schedule in one worker.
#[derive(Debug, Clone)]
pub struct RunCall {
    pub worker: u32,
    /// Whether another worker may run it, so that the worker may return it.
    pub movable: bool,
    pub run: ScheduleRun,
    pub subdomain: Option<Arc<str>>,
    /// The payload. `None` for the data that the generation in the worker has for the schedule.
    pub payload: Option<Payload>,
    /// How long a caller waits, at most, from now on. `None` if no caller waits: `limits.timeout`
    /// then applies from the start of the call, however long it waits for an instance.
    pub timeout: Option<Duration>,
}

/// A message for the handler of a subscription in one isolate.
#[derive(Debug, Clone)]
pub struct MessageCall {
    pub isolate: IsolateId,
    /// Whether another isolate may receive it, so that the isolate may return it.
    pub movable: bool,
    pub message: SubscriptionCall,
    /// The route of a subscription that was made at run time. That of a declared one is in the
    /// manifest.
    pub route: Option<RouteName>,
    pub payload: Payload,
}

/// How an isolate is done with a call.
#[derive(Debug)]
pub enum CallEnd {
    Ended(Result<Reply, CallError>),
    /// The call has not started, and never will in this isolate. The error says why.
    Returned(CallError),
}
