//! `fanfare call`: calls a route as the operator.

use std::process::ExitCode;

use http::Method;

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, encoded, module};
use super::entries;
use fanfare::api::{GatherEntry, Reply};
use fanfare::tooling::config::formats;

/// Flags of `fanfare call`.
#[derive(Debug, clap::Args)]
pub struct CallArgs {
    /// The method [default: POST, or the route's only method].
    #[arg(short = 'X', long, env = "FANFARE_METHOD", value_name = "METHOD", value_parser = method)]
    pub method: Option<Method>,
    /// Where the call runs: any, worker-0, master, workers for every worker, or, in a cluster,
    /// node:chat-1 or server:chat.
    #[arg(long, env = "FANFARE_TARGET", default_value = "any")]
    pub target: String,
    #[command(flatten)]
    pub route: RouteArgs,
}

/// The route that a command calls.
#[derive(Debug, Clone, clap::Args)]
pub struct RouteArgs {
    /// The module: its name or its folder.
    pub module: String,
    /// The path of the route, with its query. An empty path is the module's root; `inner` routes
    /// are open.
    pub path: String,
    /// The payload: JSON, or `-` to read it from standard input [default: no payload].
    #[arg(value_name = "JSON")]
    pub payload: Option<String>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Parses a method in any case.
fn method(text: &str) -> Result<Method, String> {
    formats::method(text).ok_or_else(|| format!("must be {}", formats::METHOD_RULE))
}

pub fn run(args: &CallArgs) -> ExitCode {
    client::run(&args.route.admin, Effect::Uses, Some(&args.route.module), async |client| args.output(client).await)
}

impl CallArgs {
    pub(super) async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let RouteArgs { module: name, path, payload, admin: _ } = &self.route;
        let payload = client::payload(payload.as_deref())?;
        let method = self.method.as_ref().map(|method| format!("method={method}&")).unwrap_or_default();
        let route = path.strip_prefix('/').unwrap_or(path);
        let (module, route, target) = (module(name), encoded(route), encoded(&self.target));
        let path = format!("/v1/modules/{module}/call?{method}path={route}&target={target}");
        let response = client.send(Method::POST, &path, payload).await?;
        // The host returns a list for a target that means several isolates.
        let output = match response.text().trim_start().starts_with('[') {
            true => entries::output(&response.parse::<Vec<GatherEntry>>()?),
            false => reply_output(response.parse()?),
        };
        Ok(if client.json { Output { text: response.text(), ..output } } else { output })
    }
}

pub(super) fn reply_output(reply: Reply) -> Output {
    let Reply { status, payload, .. } = reply;
    let failure = (status >= 400).then(|| format!("the handler replied with status {status}"));
    Output { text: payload.unwrap_or_default(), failure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    async fn output(
        method: Option<Method>,
        path: &str,
        status: u16,
        body: &str,
    ) -> (Result<Output, ClientError>, fake::RecordedRequest) {
        let (client, mut requests) = fake::admin(status, body).await;
        let (target, module, path) = ("any".into(), "flags".into(), path.into());
        let admin = AdminArgs::default();
        let route = RouteArgs { module, path, payload: Some("1".into()), admin };
        let args = CallArgs { method, target, route };
        (args.output(&client).await, requests.recv().await.unwrap())
    }

    #[tokio::test]
    async fn the_payload_of_the_reply_is_printed() {
        let (output, request) =
            output(Some(Method::GET), "/dark mode?x=1", 200, r#"{"status":200,"headers":[],"payload":"on"}"#).await;
        assert_eq!(output.unwrap(), Output::of("on"));
        let path = "/v1/modules/flags/call?method=GET&path=dark%20mode%3Fx%3D1&target=any";
        assert_eq!(request, ("POST".into(), path.into(), "1".into()));
    }

    #[tokio::test]
    async fn without_a_method_the_host_chooses() {
        let (output, request) = output(None, "", 200, r#"{"status":204,"headers":[],"payload":null}"#).await;
        assert_eq!(output.unwrap(), Output::default());
        assert_eq!(request.1, "/v1/modules/flags/call?path=&target=any");
    }

    #[tokio::test]
    async fn an_error_status_is_a_failure() {
        let (output, _) = output(None, "x", 200, r#"{"status":409,"payload":"no"}"#).await;
        let failure = Some("the handler replied with status 409".to_owned());
        assert_eq!(output.unwrap(), Output { text: "no".into(), failure });
    }

    #[tokio::test]
    async fn a_problem_is_the_error() {
        let problem = r#"{"status":404,"code":"not-found","detail":"no route `x`"}"#;
        let (output, _) = output(None, "x", 404, problem).await;
        assert_eq!(output.unwrap_err().to_string(), "not-found (404): no route `x`");
    }

    #[tokio::test]
    async fn several_isolates_have_a_line_each() {
        let (output, _) = output(
            None,
            "x",
            200,
            r#"[{"isolate":"worker-0","reply":{"status":204}},{"isolate":"worker-1","error":{"status":504,"code":"timeout"}}]"#,
        )
        .await;
        let output = output.unwrap();
        assert_eq!(output.text, "worker-0  204\nworker-1  timeout (504)\n");
        assert_eq!(output.failure.as_deref(), Some("1 of 2 workers failed"));
    }
}
