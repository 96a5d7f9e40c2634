//! Follows a stream of server-sent events.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use fanfare::tooling::{EventParser, ServerEvent};

use super::exchange::{ExchangeError, stream};
use super::{AdminClient, AdminResponse, ClientError, checked};

/// The most bytes of an event, and of a problem. The host sends shorter ones.
pub const MAX_EVENT: usize = 1 << 20;

/// The longest pause in a stream, also before its head. The host writes at least a comment every
/// ten seconds.
pub const PAUSE: Duration = Duration::from_secs(30);

/// Passes each event of a stream to `read` until it returns `false` or the host ends the stream.
pub async fn follow(
    client: &AdminClient,
    path: &str,
    mut read: impl FnMut(ServerEvent) -> bool,
) -> Result<(), ClientError> {
    let endpoint = &client.endpoint;
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let (mut parser, mut problem) = (EventParser::new(MAX_EVENT), None);
    let streamed = stream(&endpoint.authority, request, PAUSE, PAUSE, |head, part| {
        if head.status.is_success() {
            return parser.parse(&part).into_iter().all(&mut read) && !parser.is_too_long();
        }
        let body: &mut Response<Vec<u8>> = problem.get_or_insert_with(|| Response::new(Vec::new()));
        *body.status_mut() = head.status;
        body.body_mut().extend_from_slice(&part);
        body.body().len() <= MAX_EVENT
    });
    let endpoint = endpoint.clone();
    match streamed.await {
        Ok(()) => match problem {
            None if parser.is_too_long() => Err(ClientError::Strange { endpoint, status: StatusCode::OK }),
            None => Ok(()),
            Some(problem) => {
                let (status, body) = (problem.status(), problem.into_body().into());
                checked(AdminResponse { endpoint: endpoint.clone(), status, body })?;
                Err(ClientError::Strange { endpoint, status: StatusCode::OK })
            }
        },
        Err(ExchangeError::Unreachable(error)) => Err(ClientError::Unreachable { endpoint, error }),
        Err(ExchangeError::Broken(error)) => Err(ClientError::Broken { endpoint, error }),
        Err(ExchangeError::Slow(within)) => Err(ClientError::Slow { endpoint, within }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_event_that_is_too_long_is_an_error_and_not_the_end() {
        let half = format!("data: {}\n", "x".repeat(MAX_EVENT / 2));
        for (body, is_error) in [
            ("x".repeat(MAX_EVENT), false),
            ("x".repeat(MAX_EVENT + 1), true),
            (half.clone(), false),
            (half.clone() + &half, true),
        ] {
            let (client, _requests) = crate::client::fake::admin(200, &body).await;
            let followed = follow(&client, "/v1/events", |_| true).await;
            assert_eq!(followed.is_err(), is_error, "{} bytes", body.len());
        }
    }
}
