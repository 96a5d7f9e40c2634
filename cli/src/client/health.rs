//! Notices that a host does not respond at all.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Uri};
use http_body_util::Full;
use tokio::time::sleep;

use super::exchange::{ExchangeError, exchange};

/// The time between two health checks.
pub const CHECK_PAUSE: Duration = Duration::from_secs(5);

/// How long a host may take to respond to a health check. It does so even when it is overloaded.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks for `/livez` again and again. Resolves when the host does not respond in time.
pub async fn until_frozen(authority: &Authority, pause: Duration, within: Duration) {
    loop {
        sleep(pause).await;
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = Uri::from_static("/livez");
        match exchange(authority, request, within).await {
            Err(ExchangeError::Slow(_)) => return,
            // Not even the kernel of the host's machine has room for the connection.
            Err(ExchangeError::Unreachable(error)) if error.kind() == io::ErrorKind::TimedOut => return,
            // Any response shows that the host runs. Other errors end the command's own exchange.
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_host_that_accepts_but_says_nothing_is_frozen_and_one_that_answers_is_not() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority: Authority = silent.local_addr().unwrap().to_string().parse().unwrap();
        until_frozen(&authority, SHORT, SHORT).await;

        let (client, mut requests) = crate::client::fake::admin(503, "").await;
        let checks = until_frozen(&client.endpoint.authority, SHORT, CHECK_TIMEOUT);
        assert!(timeout(SHORT * 10, checks).await.is_err());
        assert_eq!(requests.recv().await.unwrap().1, "/livez");
    }
}
