//! A client that sends requests to a good module all the time, and records every failure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::Connection;

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct SteadyClient {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl SteadyClient {
    /// Opens a new connection for every tenth request.
    pub fn start(address: SocketAddr, path: &'static str) -> SteadyClient {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let (mut answered, mut failed) = (0, Vec::new());
            while !stopped.load(Ordering::Acquire) && failed.len() < 10 {
                let ten = tokio::spawn(async move {
                    let mut connection = Connection::open(address).await;
                    for _ in 0..10 {
                        let answer = timeout(TIMEOUT, connection.send("GET", path, &[], "")).await;
                        let answer = answer.map_err(|_| "the request timed out".to_owned())?;
                        if answer.status != 404 || !answer.text().contains("dark-mode") {
                            return Err(format!("{} {}", answer.status, answer.text()));
                        }
                    }
                    Ok(10)
                });
                match ten.await {
                    Ok(Ok(count)) => answered += count,
                    Ok(Err(why)) => failed.push(why),
                    Err(panic) => failed.push(panic.to_string()),
                }
            }
            (answered, failed)
        });
        SteadyClient { stop, task }
    }

    /// Returns the number of successful requests, and the failures.
    pub async fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        self.task.await.unwrap()
    }
}
