//! `fanfare subscriptions`: shows the subscriptions of a running host.

use std::fmt::Write as _;
use std::process::ExitCode;

use http::Method;

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, printable};
use super::table::aligned;
use fanfare::api::SubscriptionStatus;

/// Flags of `fanfare subscriptions`.
#[derive(Debug, clap::Args)]
pub struct SubscriptionsArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
}

pub fn run(args: &SubscriptionsArgs) -> ExitCode {
    client::run(&args.admin, Effect::Uses, None, async |client| args.output(client).await)
}

impl SubscriptionsArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let response = client.send(Method::GET, "/v1/subscriptions", None).await?;
        let subscriptions: Vec<SubscriptionStatus> = response.parse()?;
        Ok(Output::of(match subscriptions.as_slice() {
            _ if client.json => response.text(),
            [] => "no module has subscriptions\n".to_owned(),
            subscriptions => table(subscriptions),
        }))
    }
}

/// A row for each subscription, why it receives nothing, and why messages failed last.
pub fn table(subscriptions: &[SubscriptionStatus]) -> String {
    let head =
        ["MODULE", "SUBSCRIPTION", "SOURCE", "DELIVER", "OVERFLOW", "WAITING", "OK", "FAILED", "DROPPED", "GAPS"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(subscriptions.iter().map(|one| {
        let isolate = one.isolate.as_deref().map(|isolate| format!(" ({})", printable(isolate)));
        [
            printable(&one.module),
            printable(&one.name) + &isolate.unwrap_or_default(),
            source(one),
            printable(one.deliver.as_deref().unwrap_or("streams")),
            printable(one.overflow.as_deref().unwrap_or("-")),
            one.waiting.to_string(),
            one.delivered.to_string(),
            one.failed.to_string(),
            one.dropped.to_string(),
            one.gaps.to_string(),
        ]
    }));
    let mut text = aligned(&rows);
    for one in subscriptions {
        let name = format!("{}:{}", printable(&one.module), printable(&one.name));
        if let Some(refusal) = &one.refusal {
            _ = writeln!(text, "\n{name} receives nothing: {}", printable(refusal));
        }
        if let Some(failure) = &one.failure {
            // Writing to a string cannot fail.
            _ = writeln!(text, "\n{name} failed: {}", printable(failure));
        }
    }
    text
}

/// The source, its topic, the stream of JetStream, and the connection if it is not the default one.
fn source(one: &SubscriptionStatus) -> String {
    let stream = one.stream.as_deref().map(|name| format!(" in {}", printable(name))).unwrap_or_default();
    let connection = one.connection.as_deref().filter(|name| *name != "default");
    let connection = connection.map(|name| format!(" of {}", printable(name))).unwrap_or_default();
    format!("{} {}{stream}{connection}", printable(&one.source), printable(&one.topic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    #[tokio::test]
    async fn every_subscription_has_a_row() {
        let subscriptions = r#"[
            {"module":"shop","name":"orders","source":"event","topic":"order/*","deliver":"one",
             "overflow":"drop-oldest","waiting":3,"delivered":7,"failed":1,"dropped":2,"gaps":0,
             "failure":"no \u0001stock"},
            {"module":"shop","name":"a -> b","isolate":"worker-1","source":"event","topic":"a","deliver":"one",
             "overflow":"drop-oldest"},
            {"module":"shop","name":"prices","source":"redisPattern","topic":"price:*","connection":"cache",
             "delivered":5,"gaps":1},
            {"module":"shop","name":"jobs","source":"nats","topic":"jobs.>","stream":"JOBS","group":"g","deliver":"one",
             "overflow":"wait","refusal":"the stream JOBS does not exist"}]"#;
        let (client, mut requests) = fake::admin(200, subscriptions).await;
        let output = SubscriptionsArgs { admin: AdminArgs::default() }.output(&client).await.unwrap();
        let expected = "\
MODULE  SUBSCRIPTION       SOURCE                         DELIVER  OVERFLOW     WAITING  OK  FAILED  DROPPED  GAPS
shop    orders             event order/*                  one      drop-oldest  3        7   1       2        0
shop    a -> b (worker-1)  event a                        one      drop-oldest  0        0   0       0        0
shop    prices             redisPattern price:* of cache  streams  -            0        5   0       0        1
shop    jobs               nats jobs.> in JOBS            one      wait         0        0   0       0        0

shop:orders failed: no \\u{1}stock

shop:jobs receives nothing: the stream JOBS does not exist
";
        assert_eq!(output.text, expected);
        assert_eq!(requests.recv().await.unwrap().1, "/v1/subscriptions");
    }

    #[tokio::test]
    async fn a_host_without_subscriptions_says_so() {
        let (client, _requests) = fake::admin(200, "[]").await;
        let output = SubscriptionsArgs { admin: AdminArgs::default() }.output(&client).await.unwrap();
        assert_eq!(output.text, "no module has subscriptions\n");
    }
}
