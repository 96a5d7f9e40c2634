use std::rc::Rc;
use std::time::Duration;

use crate::channels::ChannelEvent;
use crate::http;
use crate::params;
use crate::sse::StreamRequest;
use crate::types::{
    Broadcast, Call, CallId, ClientMessage, HeaderFields, Hook, Method, Origin, RequestHead, Schedule, Startup,
    Subscription, Trigger,
};

/// Everything about a call except its body: trigger, origin, deadline, parameters and headers.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[handler]
/// async fn about(cx: Context) -> String {
///     format!("{} from {:?} as {:?}", cx.trigger().kind(), cx.origin(), cx.header("user-agent"))
/// }
/// fanfare_sdk::module!(about);
/// # fn main() {
/// let host = TestHost::new(Module);
/// let reply = host.request("about").header("User-Agent", "curl").send().unwrap();
/// assert_eq!(reply.text(), r#"http from Origin::Client as Some("curl")"#);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Context(pub(crate) Rc<Call>);

macro_rules! triggers {
    ($($(#[$doc:meta])* $name:ident: $variant:ident => $ty:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> Option<&$ty> {
            match &self.0.trigger {
                Trigger::$variant(trigger) => Some(trigger),
                _ => None,
            }
        }
    )*};
}

impl Context {
    /// Returns the number of the call, which is unique on its node.
    pub fn id(&self) -> CallId {
        self.0.id
    }

    /// Returns the name of the running handler.
    pub fn handler(&self) -> &str {
        &self.0.handler
    }

    /// Returns what caused the call.
    pub fn trigger(&self) -> &Trigger {
        &self.0.trigger
    }

    /// Returns who made the call.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Returns the tenant that the call belongs to, or `None` without a tenant.
    pub fn subdomain(&self) -> Option<&str> {
        self.0.subdomain.as_deref()
    }

    /// Returns the time that was left when the call started. When it has passed, the caller
    /// receives `timeout`.
    pub fn time_left(&self) -> Duration {
        Duration::from_millis(self.0.deadline_ms.into())
    }

    /// Returns the value of one `{name}` segment of the route's path, decoded.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.0.params.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the names and values of all `{name}` segments of the route's path, decoded, in path
    /// order.
    pub fn params(&self) -> &[(String, String)] {
        &self.0.params
    }

    /// Returns the query without its `?`, not decoded. Empty without a query.
    pub fn query(&self) -> &str {
        &self.0.query
    }

    /// Returns the names and values of the query, decoded, in order.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        params::query_pairs(&self.0.query)
    }

    /// Returns a fact by its name. A fact that a middleware passed on is named `<module>.<name>`.
    pub fn extra(&self, name: &str) -> Option<&str> {
        self.0.extra.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the names and values of all facts.
    pub fn extras(&self) -> &[(String, String)] {
        &self.0.extra
    }

    /// Returns the method of the HTTP request, or `None` for another trigger.
    pub fn method(&self) -> Option<&Method> {
        match &self.0.trigger {
            Trigger::Http(request) => Some(&request.method),
            _ => None,
        }
    }

    triggers! {
        /// Returns the broadcast, if one caused the call.
        broadcast: Broadcast => Broadcast;
        /// Returns the schedule, if one caused the call.
        schedule: Schedule => Schedule;
        /// Returns the subscription, if one caused the call.
        subscription: Subscription => Subscription;
        /// Returns the client's message, if one caused the call.
        client_message: Client => ClientMessage;
        /// Returns the event of the host, if one caused the call.
        hook: Hook => Hook;
        /// Returns the startup, with the reason for the new instance, if one caused the call.
        startup: Startup => Startup;
    }

    /// Returns the action on a channel, if one caused the call.
    pub fn channel_event(&self) -> Option<ChannelEvent> {
        ChannelEvent::of(self.trigger())
    }

    /// Returns the request of a client for a stream, if one caused the call.
    pub fn stream(&self) -> Option<StreamRequest> {
        StreamRequest::of(self.trigger())
    }

    /// Returns the first value of a header field of the HTTP request. Asks the host.
    pub fn header(&self, name: &str) -> Option<String> {
        http::header(self.id(), name).into_iter().next()
    }

    /// Returns all values of a header field of the HTTP request. Asks the host.
    pub fn header_values(&self, name: &str) -> Vec<String> {
        http::header(self.id(), name)
    }

    /// Returns all header fields of the HTTP request. Asks the host.
    pub fn headers(&self) -> HeaderFields {
        http::headers(self.id())
    }

    /// Returns the path, scheme, host and peer of the HTTP request. Asks the host.
    pub fn head(&self) -> Option<RequestHead> {
        http::head(self.id())
    }
}
