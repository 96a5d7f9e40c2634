//! A client of a good module that asks again and again, and remembers what did not go well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::Connection;

/// An answer that takes longer is a failed one.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Steady {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl Steady {
    /// Connects anew for every tenth request.
    pub fn start(address: SocketAddr, path: &'static str) -> Steady {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut answered, mut failed) = (0, Vec::new());
            while !stopped.load(Ordering::Acquire) && failed.len() < 10 {
                let some = tokio::spawn(async move {
                    let mut connection = Connection::open(address).await;
                    for _ in 0..10 {
                        let answer = timeout(PATIENCE, connection.send("GET", path, &[], "")).await;
                        let answer = answer.map_err(|_| "no answer in time".to_owned())?;
                        if answer.status != 404 || !answer.text().contains("dark-mode") {
                            return Err(format!("{} {}", answer.status, answer.text()));
                        }
                    }
                    Ok(10)
                });
                match some.await {
                    Ok(Ok(count)) => answered += count,
                    Ok(Err(why)) => failed.push(why),
                    Err(panic) => failed.push(panic.to_string()),
                }
            }
            (answered, failed)
        });
        Steady { stop, task }
    }

    /// How many requests were answered well, and what came of the others.
    pub async fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        self.task.await.unwrap()
    }
}
