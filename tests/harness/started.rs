//! Requests to a running host.

use std::net::SocketAddr;

use fanfare::{RunningHost, Stopped};
use serde_json::Value;

use super::{Answer, Connection, Log, TempDir, metric_of};

/// A running host.
pub struct Started {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    /// The event service, if the settings have `events.listen`.
    pub events: Option<SocketAddr>,
    pub log: Log,
    pub dir: TempDir,
    /// The content of its `fanfare.json`.
    pub settings: Value,
    pub(super) running: Option<RunningHost>,
}

impl Started {
    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.request("POST", path, &[], body).await
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        Connection::open(self.http).await.send(method, path, headers, body).await
    }

    /// Sends a request to the admin listener.
    pub async fn admin(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        Connection::open(self.admin).await.send(method, path, &[], body).await
    }

    /// Calls an inner route as the operator, in one isolate or in `any`. Returns
    /// `{status, payload}` or `{code, detail}`.
    pub async fn call(&self, target: &str, module: &str, path: &str, body: impl Into<Vec<u8>>) -> Value {
        let url = format!("/v1/modules/{module}/call?target={target}&path={path}");
        self.admin("POST", &url, body).await.json()
    }

    /// Gathers a broadcast as the operator. Returns one entry per worker.
    pub async fn gather(&self, module: &str, name: &str, body: impl Into<Vec<u8>>) -> Vec<Value> {
        let url = format!("/v1/modules/{module}/broadcasts/{name}?gather=true");
        let answer = self.admin("POST", &url, body).await;
        answer.json().as_array().unwrap_or_else(|| panic!("no entries: {}", answer.text())).clone()
    }

    pub async fn status(&self) -> Value {
        self.admin("GET", "/v1/status", "").await.json()
    }

    /// Returns the status of a module in one worker.
    pub async fn slot(&self, module: &str, worker: usize) -> Value {
        let status = self.status().await;
        let modules = status["modules"].as_array().unwrap();
        modules.iter().find(|listed| listed["name"] == module).unwrap()["isolates"][worker].clone()
    }

    pub async fn metrics(&self) -> String {
        self.admin("GET", "/metrics", "").await.text().to_owned()
    }

    /// Returns the sum of all samples of a metric whose labels contain all of `labels`.
    /// `<name>_max` is another metric.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        metric_of(&self.metrics().await, name, labels)
    }

    pub fn running(&self) -> &RunningHost {
        self.running.as_ref().unwrap()
    }

    pub async fn stop(mut self) -> Stopped {
        self.running.take().unwrap().shutdown().await
    }

    /// Stops the host, and returns its folder for [`TestHost::again`].
    pub async fn leave(mut self) -> TempDir {
        self.running.take().unwrap().shutdown().await;
        self.dir
    }
}
