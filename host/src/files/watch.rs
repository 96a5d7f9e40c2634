//! Notifies when files may have changed. An event only means that it is time to look at the files.

use std::io;
use std::time::Duration;

use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, recommended_watcher};
use tokio::sync::mpsc;

use crate::blocking::check_thread;

/// Creates a watcher that sends a message when something in its folders may have changed. One
/// message that waits in the channel stands for all changes so far.
///
/// It does not use `notify-debouncer-full`, whose cost per folder grows with the number of folders.
pub fn watcher(happened: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    // Without its thread, the watcher would panic when it gets its first folder.
    check_thread().map_err(notify::Error::io)?;
    recommended_watcher(move |event: notify::Result<Event>| match event {
        // Reading a file does not change it.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        event => {
            // The removal of a watched folder is a change, not an error.
            if let Err(error) = event
                && !is_removed(&error)
            {
                tracing::warn!(%error, "the file watcher reported an error and may have missed a change");
            }
            let _ = happened.try_send(());
        }
    })
}

/// Waits for a message, then for `debounce`, so that one return covers changes that belong
/// together. `None` when the watcher was dropped.
pub async fn next_change(happened: &mut mpsc::Receiver<()>, debounce: Duration) -> Option<()> {
    happened.recv().await?;
    tokio::time::sleep(debounce).await;
    // The caller now looks at the files and sees every change so far.
    while happened.try_recv().is_ok() {}
    Some(())
}

/// Whether a path could not be watched only because it no longer exists.
pub fn is_removed(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => true,
        ErrorKind::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}
