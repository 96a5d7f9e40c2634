//! Requests for modules that answer through `wasi:http`.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Dispatch;
use super::calls::ClientCall;
use crate::call::{CallError, Exchange, ExchangeRequest, Payload, StreamedBody, Trigger};
use crate::isolate::Slot;
use crate::registry::{Access, MatchedRoute};

/// A response whose body streams.
type Response = http::Response<StreamedBody>;

impl Dispatch {
    /// Runs a request for the `wasi:http` export of a component. Resolves with the head of the
    /// response, whose body follows.
    pub async fn exchange(&self, here: &Arc<Slot>, request: ExchangeRequest) -> Result<Response, CallError> {
        let ExchangeRequest { request, trace, subdomain, spill } = request;
        let not_served = || CallError::NotFound(format!("{} does not export wasi:http", here.module));
        let route = here.deployment().exchange_route().ok_or_else(not_served)?;
        let matched = MatchedRoute { route, access: Access::default(), params: Vec::new() };
        let trigger = Trigger::Http(request.method().clone());
        let (sender, response) = oneshot::channel();
        let exchange = Some(Box::new(Exchange { request, response: sender }));
        let (query, payload) = (String::new(), Payload::None);
        let call = ClientCall { trigger, head: None, query, payload, trace, subdomain, spill, exchange };
        self.serve_client(here, matched, call).await?;
        let lost = |_| CallError::Crashed(format!("the host lost a response of {}", here.module));
        response.await.map_err(lost)
    }
}
