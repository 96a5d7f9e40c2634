//! The events of a host, for the embedding program.

use std::time::{SystemTime, UNIX_EPOCH};

use super::RunningHost;
use crate::call::text::{MESSAGE, line};
use crate::events::{EventReader, HostEvent};

impl RunningHost {
    /// Reads the host's events in their order: the last 1,024 that were raised before the call, and
    /// then those that follow. A reader that falls further behind is told how many it has missed,
    /// and it ends when the host has stopped.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) {
    /// use fanfare::EventItem;
    /// use fanfare::api::HostEvent;
    ///
    /// let mut events = host.events();
    /// while let Some(item) = events.next().await {
    ///     match item {
    ///         EventItem::Missed(count) => eprintln!("{count} events are lost"),
    ///         EventItem::Event(record) => match &record.event {
    ///             HostEvent::Fail { message, .. } => eprintln!("{message}"),
    ///             event => println!("{} {}", record.number, event.name()),
    ///         },
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> EventReader {
        self.services.events.read_after(0)
    }

    /// Writes `<time> - <message>` to the log, and raises the event `info` with the message, as
    /// SocketCluster's `log` does. The time is in milliseconds since 1970-01-01 UTC, and now by
    /// default. Line breaks in the message are escaped, and a message above 4,096 bytes is cut.
    ///
    /// Has no effect on a host that has stopped, except for the line in the log.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// host.log("the cache is warm", None); // 1790000000000 - the cache is warm
    /// # }
    /// ```
    pub fn log(&self, message: &str, time: impl Into<Option<SystemTime>>) {
        let time = time.into().unwrap_or_else(SystemTime::now);
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let shown = line(message, MESSAGE);
        tracing::info!("{time} - {shown}");
        self.services.events.raise(HostEvent::Info { message: message.to_owned() });
    }
}
