//! The settings of the HTTP trigger, prepared for fast use by requests.

use std::sync::Arc;
use std::time::Duration;

use super::cors::Cors;
use crate::config::HttpConfig;
use crate::net::BufferBudget;

/// The settings of the HTTP trigger. All connections share them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The domain in lower case. Calls get the subdomain below it.
    pub(super) domain: Option<String>,
    /// The module that also answers requests outside `/api/`.
    pub(super) mount: Option<String>,
    pub(super) cors: Option<Cors>,
    pub(super) max_body: u64,
    pub(super) body_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_streams: u32,
    pub(super) local_streams: usize,
    pub(super) max_header_bytes: u32,
    pub(super) max_headers: usize,
    pub(super) buffered: Arc<BufferBudget>,
}

impl Settings {
    pub fn new(http: &HttpConfig, buffered: Arc<BufferBudget>) -> Settings {
        Settings {
            domain: http.domain.as_ref().map(|domain| domain.to_ascii_lowercase()),
            mount: http.mount.clone(),
            cors: Cors::new(&http.cors),
            max_body: http.max_body,
            body_timeout: http.body_timeout,
            header_timeout: http.header_timeout,
            idle_timeout: http.idle_timeout,
            max_streams: http.max_streams,
            local_streams: usize::try_from(http.local_streams).unwrap_or(usize::MAX),
            max_header_bytes: http.max_header_bytes,
            max_headers: http.max_headers,
            buffered,
        }
    }
}
