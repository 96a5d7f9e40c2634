//! Live streams of the embedding program.

use super::RunningHost;
use crate::call::{CallError, StreamEvent, StreamReach};

impl RunningHost {
    /// Publishes an event to the clients of all nodes that listen to a key
    /// (`GET /stream?connectKey=<key>`). Returns the number of streams of this node that it is
    /// queued for. A key without clients is not an error:
    /// the host keeps the event for clients that come back (`sse.history`).
    ///
    /// The empty key means the clients that name no key.
    ///
    /// Fails with [`CallError::Invalid`] if the key has more than 256 bytes or control characters,
    /// if the event has more than `limits.max.payload` bytes, if its data is not UTF-8, or if its
    /// type or its id has a line break; with [`CallError::Overloaded`] if the host cannot queue
    /// more; and with [`CallError::Unavailable`] once a stop has begun.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// use fanfare::StreamEvent;
    ///
    /// host.publish("news", "a plain message")?;
    /// let event = StreamEvent { event: Some("price".to_owned()), ..StreamEvent::from(r#"{ "eur": 12 }"#) };
    /// println!("{} streams", host.publish("shop/7", event)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self, key: &str, event: impl Into<StreamEvent>) -> Result<u32, CallError> {
        self.check_running()?;
        self.publisher.publish_as_operator(Some(key), event.into(), StreamReach::Everywhere)
    }

    /// Publishes an event to the clients of all keys, and to those that name no key. Each client
    /// receives it in one order with all other events. Fails like [`RunningHost::publish`].
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// println!("{} streams", host.publish_all("maintenance begins at noon")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish_all(&self, event: impl Into<StreamEvent>) -> Result<u32, CallError> {
        self.check_running()?;
        self.publisher.publish_as_operator(None, event.into(), StreamReach::Everywhere)
    }

    /// Ends the streams of a key once everything that waits for them is sent, and returns their
    /// number. `EventSource` connects again by itself.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// println!("{} streams end", host.close_stream("shop/7"));
    /// # }
    /// ```
    pub fn close_stream(&self, key: &str) -> u32 {
        self.publisher.close_as_operator(Some(key))
    }

    /// Ends the streams of all keys, like [`RunningHost::close_stream`].
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// println!("{} streams end", host.close_streams());
    /// # }
    /// ```
    pub fn close_streams(&self) -> u32 {
        self.publisher.close_as_operator(None)
    }

    /// Returns the number of open streams: of a key, of the clients that name no key (`Some("")`),
    /// or all.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// println!("{} of {} streams", host.stream_count(Some("news")), host.stream_count(None));
    /// # }
    /// ```
    pub fn stream_count(&self, key: Option<&str>) -> u32 {
        self.publisher.count(key)
    }
}
