//! `fanfare:module/sse`.

use std::time::Duration;

use crate::bindings::fanfare::module::sse::{Event, Host, Reach};
use crate::bindings::fanfare::module::types::CallError;
use crate::call::{StreamEvent, StreamReach};
use crate::isolate::state::State;

impl Host for State {
    fn publish(&mut self, caller: Option<u64>, key: String, event: Event, reach: Reach) -> Result<u32, CallError> {
        let guest = &self.guest;
        let published = guest.ports.streams.publish(guest.caller(caller), key, event.into(), reach.into());
        published.map_err(Into::into)
    }

    fn publish_all(&mut self, caller: Option<u64>, event: Event, reach: Reach) -> Result<u32, CallError> {
        let guest = &self.guest;
        guest.ports.streams.publish_all(guest.caller(caller), event.into(), reach.into()).map_err(Into::into)
    }

    fn close(&mut self, caller: Option<u64>, key: String, reach: Reach) -> Result<u32, CallError> {
        let guest = &self.guest;
        guest.ports.streams.close(guest.caller(caller), key, reach.into()).map_err(Into::into)
    }

    fn close_all(&mut self, caller: Option<u64>, reach: Reach) -> Result<u32, CallError> {
        let guest = &self.guest;
        guest.ports.streams.close_all(guest.caller(caller), reach.into()).map_err(Into::into)
    }

    fn count(&mut self, key: Option<String>) -> u32 {
        self.guest.ports.streams.count(key.as_deref())
    }
}

impl From<Event> for StreamEvent {
    fn from(event: Event) -> StreamEvent {
        // This version knows no facts of an event.
        let Event { data, event, id, retry_ms, comment, extra: _ } = event;
        let retry = retry_ms.map(|retry| Duration::from_millis(retry.into()));
        StreamEvent { data: data.into(), event, id, retry, comment }
    }
}

impl From<Reach> for StreamReach {
    fn from(reach: Reach) -> StreamReach {
        match reach {
            Reach::Everywhere => StreamReach::Everywhere,
            Reach::ThisNode => StreamReach::ThisNode,
            Reach::ThisWorker => StreamReach::ThisWorker,
        }
    }
}
