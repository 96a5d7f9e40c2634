//! Why a request of a guest failed.

use std::error::Error;
use std::net::IpAddr;

use crate::config::origin::Origin;

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    #[error("{0} is not granted")]
    Denied(Origin),
    #[error("the address of the request is malformed")]
    Uri,
    #[error("{host} is at {address}, which is not public")]
    Private { host: String, address: IpAddr },
    #[error("the name cannot be resolved")]
    Unresolved,
    #[error("too many requests of the module are under way (outgoing.requests)")]
    TooManyRequests,
    #[error("the module has too many connections (outgoing.connections)")]
    TooManyConnections,
    #[error("the server refuses the connection")]
    Refused,
    #[error("the server cannot be reached")]
    Unreachable,
    #[error("connecting took too long")]
    ConnectTimeout,
    #[error("the certificate of the server is not valid")]
    Certificate,
    #[error("TLS failed")]
    Tls,
    #[error("the response took too long")]
    HeadTimeout,
    #[error("the body of the response took too long")]
    BodyTimeout,
    #[error("the body of the request is larger than {0} bytes")]
    RequestTooLarge(u64),
    #[error("the body of the response is larger than {0} bytes")]
    ResponseTooLarge(u64),
    #[error("the connection ended")]
    Ended,
    #[error("{0}")]
    Protocol(String),
    #[error("the guest did not finish the body of the request")]
    Body,
}

impl RequestError {
    /// The cause of an error of hyper: one of these errors if a part of the host returned it.
    pub(super) fn of(error: &(dyn Error + 'static)) -> RequestError {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(own) = error.downcast_ref::<RequestError>() {
                return own.clone();
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>()
                && (error.is_incomplete_message() || error.is_closed() || error.is_canceled())
            {
                return RequestError::Ended;
            }
            next = error.source();
        }
        RequestError::Protocol(innermost(error).to_string())
    }
}

fn innermost<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
