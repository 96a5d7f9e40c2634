use std::rc::Rc;
use std::time::Duration;

use crate::http;
use crate::params;
use crate::types::{
    Broadcast, Call, CallId, ChannelEvent, ClientMessage, HeaderFields, Hook, Method, Origin, RequestHead, Schedule,
    Startup, Subscription, Trigger,
};

/// What is known about the call: why and by whom it was made, until when, with which parameters.
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
    /// The call's number, unique on its node.
    pub fn id(&self) -> CallId {
        self.0.id
    }

    /// The name of the handler that runs.
    pub fn handler(&self) -> &str {
        &self.0.handler
    }

    /// Why the call is made.
    pub fn trigger(&self) -> &Trigger {
        &self.0.trigger
    }

    /// Who made it.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// The tenant that the call belongs to.
    pub fn subdomain(&self) -> Option<&str> {
        self.0.subdomain.as_deref()
    }

    /// What was left when the call started. Afterwards the caller has its `timeout`.
    pub fn time_left(&self) -> Duration {
        Duration::from_millis(self.0.deadline_ms.into())
    }

    /// One `{name}` segment of the route's path, decoded.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.0.params.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The `{name}` segments of the route's path, in path order.
    pub fn params(&self) -> &[(String, String)] {
        &self.0.params
    }

    /// What stood after `?`, not decoded.
    pub fn query(&self) -> &str {
        &self.0.query
    }

    /// The names and values after `?`, decoded, in order.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        params::query_pairs(&self.0.query)
    }

    /// A fact by its name: `<module>.<name>` is what a middleware passed on.
    pub fn extra(&self, name: &str) -> Option<&str> {
        self.0.extra.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The method of an HTTP request.
    pub fn method(&self) -> Option<&Method> {
        match &self.0.trigger {
            Trigger::Http(request) => Some(&request.method),
            _ => None,
        }
    }

    triggers! {
        /// The broadcast that runs.
        broadcast: Broadcast => Broadcast;
        /// The schedule that is due.
        schedule: Schedule => Schedule;
        /// The subscription that brought this.
        subscription: Subscription => Subscription;
        /// The client's message.
        client_message: Client => ClientMessage;
        /// What happens on a channel.
        channel_event: Channel => ChannelEvent;
        /// What happened in the host.
        hook: Hook => Hook;
        /// Why there is a new instance.
        startup: Startup => Startup;
    }

    /// The first value of a header field of the request. Asks the host.
    pub fn header(&self, name: &str) -> Option<String> {
        http::header(self.id(), name).into_iter().next()
    }

    /// All values of a header field of the request. Asks the host.
    pub fn header_values(&self, name: &str) -> Vec<String> {
        http::header(self.id(), name)
    }

    /// All header fields of the request. Asks the host.
    pub fn headers(&self) -> HeaderFields {
        http::headers(self.id())
    }

    /// Path, scheme, host and peer of the request. Asks the host.
    pub fn head(&self) -> Option<RequestHead> {
        http::head(self.id())
    }
}
