//! Noticing that files change. Events tell only that it is time to look.

use std::io;
use std::time::Duration;

use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, recommended_watcher};
use tokio::sync::mpsc;

/// Watches the folders that it is given and sends a message when something in them may have
/// changed. One message that waits stands for all.
///
/// Does not use `notify-debouncer-full`, whose cost for each folder grows with the number of folders.
pub fn watcher(happened: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    recommended_watcher(move |event: notify::Result<Event>| match event {
        // Looking is no change.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        event => {
            // A folder that is removed while it is watched is a change like any other.
            if let Err(error) = event
                && !is_gone(&error)
            {
                tracing::warn!(%error, "a change of files may have been missed");
            }
            let _ = happened.try_send(());
        }
    })
}

/// Waits for a message, then as long as `debounce` for others that belong to it. `None` when there
/// is no watcher any more.
pub async fn settled(happened: &mut mpsc::Receiver<()>, debounce: Duration) -> Option<()> {
    happened.recv().await?;
    tokio::time::sleep(debounce).await;
    // The look that follows finds what happened so far.
    while happened.try_recv().is_ok() {}
    Some(())
}

/// Whether something could not be watched only because it does not exist any more.
pub fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => true,
        ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}
