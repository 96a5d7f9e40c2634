//! The kept messages of channels over HTTP: `GET <websocket.history>/<channel>?after=&limit=`.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::sync::oneshot;

use super::channel_page::page;
use crate::call::channel::{self, MOST_OF_PAGE};
use crate::call::{CallError, ChannelPosition, stream_key};
use crate::config::WebSocketConfig;
use crate::triggers::channels::{Actor, ChannelService};
use crate::triggers::http::{HostRequest, HostRoute, HttpResponse, ProblemResponse, allow, json, options};
use crate::triggers::sse::{decode, parameters};

/// The histories of channels over HTTP.
pub struct ChannelHistories {
    /// `websocket.history`.
    path: Option<String>,
    service: Arc<ChannelService>,
    /// The most bytes of the messages in one response.
    max_bytes: u64,
    timeout: Duration,
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    channel: Arc<str>,
    after: Option<ChannelPosition>,
    limit: usize,
}

impl ChannelHistories {
    pub fn new(config: &WebSocketConfig, service: Arc<ChannelService>) -> ChannelHistories {
        ChannelHistories {
            path: config.history.clone(),
            service,
            max_bytes: config.queue.bytes,
            timeout: config.ack_timeout,
        }
    }

    /// Returns the route if a path is that of a channel, and the host serves their histories.
    pub fn route(self: &Arc<ChannelHistories>, path: &str) -> Option<HostRoute> {
        let channel = path.strip_prefix(self.path.as_deref()?)?.strip_prefix('/')?.to_owned();
        let histories = self.clone();
        Some(Box::new(move |request| {
            Box::pin(async move {
                let trace = request.trace;
                let answered = histories.answer(&request, &channel).await;
                answered.unwrap_or_else(|problem| problem.with_trace(trace).into_response())
            })
        }))
    }

    async fn answer(&self, request: &HostRequest, channel: &str) -> Result<HttpResponse, ProblemResponse> {
        match request.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => {
                return Ok(options(allow(&[Method::GET])));
            }
            ref other => return Err(ProblemResponse::method_not_allowed(other, &[Method::GET])),
        }
        if request.has_body {
            return Err(ProblemResponse::bad_request("a request for a history has no body: send it without one"));
        }
        let wanted = Wanted::of(channel, request.uri.query()).map_err(ProblemResponse::bad_request)?;
        let read = self.read(wanted).await.map_err(ProblemResponse::of_call)?;
        Ok(json(read))
    }

    async fn read(&self, wanted: Wanted) -> Result<String, CallError> {
        let actor = Actor::reader(self.timeout);
        let (done, admitted) = oneshot::channel();
        self.service.admit(&wanted.channel, actor.clone(), move |result| {
            // The client may have left.
            _ = done.send(result);
        });
        admitted.await.unwrap_or_else(|_| Err(CallError::stopping()))?;
        let Wanted { channel, after, limit } = wanted;
        let read = self.service.history(&channel, after, limit, self.max_bytes, &actor).await?;
        Ok(page(&read))
    }
}

impl Wanted {
    /// Reads the rest of the path, and the query. The error is a sentence for the client.
    fn of(channel: &str, query: Option<&str>) -> Result<Wanted, String> {
        // In a path, `+` is no space.
        let channel = decode(&channel.replace('+', "%2B")).map(|name| name.into_owned()).ok_or_else(|| {
            "cannot decode the name of the channel: write `%` only before two hexadecimal digits, and encode text as \
             UTF-8"
                .to_owned()
        })?;
        if !channel::accepts(&channel) {
            let (most, size) = (stream_key::MAX, channel.len());
            return Err(format!("a channel has 1 to {most} bytes and no control characters, found {size} bytes"));
        }
        let [after, limit] = parameters(query, ["after", "limit"])?;
        let after = after.filter(|text| !text.is_empty()).map(|text| {
            ChannelPosition::parse(&text)
                .ok_or_else(|| "`after` must be the `position` of a message, such as `1f-12`".to_owned())
        });
        let limit = limit.map(|text| {
            let number =
                text.parse::<usize>().map_err(|_| format!("`limit` must be a number from 0 to {MOST_OF_PAGE}"));
            number.map(|number| number.min(MOST_OF_PAGE))
        });
        Ok(Wanted {
            channel: channel.into(),
            after: after.transpose()?,
            limit: limit.transpose()?.unwrap_or(MOST_OF_PAGE),
        })
    }
}

/// What a request asks for: a position, and the most messages.
#[cfg(any(test, fuzzing))]
pub(crate) fn history_after(path: &str, query: Option<&str>) -> Result<(Option<ChannelPosition>, usize), String> {
    let Wanted { channel, after, limit } = Wanted::of(path, query)?;
    assert!(channel::is_channel(&channel) && limit <= MOST_OF_PAGE);
    Ok((after, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(channel: &str, query: &str) -> Result<(String, Option<String>, usize), String> {
        let Wanted { channel, after, limit } = Wanted::of(channel, Some(query))?;
        Ok((channel.to_string(), after.map(|position| position.to_string()), limit))
    }

    #[test]
    fn the_path_and_the_query_say_what_is_wanted() {
        for (channel, query, expected) in [
            ("news", "", ("news", None, 1_000)),
            ("room/1%2Fa+b", "x=1&after=1f-12", ("room/1/a+b", Some("1f-12"), 1_000)),
            ("%C3%A4", "limit=0&after=", ("ä", None, 0)),
            ("a", "limit=1001", ("a", None, 1_000)),
        ] {
            let (name, after, limit) = expected;
            let expected = (name.to_owned(), after.map(str::to_owned), limit);
            assert_eq!(wanted(channel, query), Ok(expected), "{channel}?{query}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_read_says_why() {
        let longer = "k".repeat(257);
        for (channel, query, reason) in [
            ("", "", "a channel has 1 to 256 bytes and no control characters, found 0 bytes"),
            (longer.as_str(), "", "found 257 bytes"),
            ("a%0A", "", "no control characters"),
            ("a%f", "", "cannot decode the name of the channel"),
            ("a%ff", "", "cannot decode the name of the channel"),
            ("a", "after=12", "`after` must be the `position` of a message"),
            ("a", "after=zz-1", "`after` must be the `position` of a message"),
            ("a", "limit=-1", "`limit` must be a number from 0 to 1000"),
            ("a", "limit=", "`limit` must be a number"),
            ("a", "limit=1&limit=2", "twice"),
            ("a", "after=%", "cannot decode the parameter `after`"),
        ] {
            let error = wanted(channel, query).unwrap_err();
            assert!(error.contains(reason), "{channel}?{query}: {error}");
        }
    }
}
