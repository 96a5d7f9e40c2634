//! `fanfare message`: sends a message to a module in an isolate.

use std::process::ExitCode;

use http::Method;

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, module};
use fanfare::api::{Queued, Reply};

/// Flags of `fanfare message`.
#[derive(Debug, clap::Args)]
pub struct MessageArgs {
    /// The isolate: worker-0, broker-1, ..
    #[arg(value_parser = isolate)]
    pub isolate: Receiver,
    /// The module: its name or its folder. It receives the message with its hook `masterMessage`.
    pub module: String,
    /// The message: JSON, or `-` to read it from standard input [default: an empty message].
    #[arg(value_name = "JSON")]
    pub payload: Option<String>,
    /// Do not wait for the reply.
    #[arg(long, env = "FANFARE_NO_WAIT", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_wait: bool,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// A worker or a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// `workers` or `brokers`.
    kind: &'static str,
    index: u32,
}

/// Parses the name of a worker or broker.
fn isolate(text: &str) -> Result<Receiver, String> {
    let indexed = |prefix, kind| Some(Receiver { kind, index: text.strip_prefix(prefix)?.parse().ok()? });
    let found = indexed("worker-", "workers").or_else(|| indexed("broker-", "brokers"));
    found.ok_or_else(|| "must be a worker or a broker, such as `worker-0` or `broker-1`".to_owned())
}

pub fn run(args: &MessageArgs) -> ExitCode {
    client::run(&args.admin, Effect::Uses, Some(&args.module), async |client| args.output(client).await)
}

impl MessageArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let payload = client::payload(self.payload.as_deref())?;
        let Receiver { kind, index } = self.isolate;
        let wait = if self.no_wait { "&wait=false" } else { "" };
        let path = format!("/v1/{kind}/{index}/message?module={}{wait}", module(&self.module));
        let response = client.send(Method::POST, &path, payload).await?;
        let output = match self.no_wait {
            true => {
                let Queued { isolate, module } = response.parse()?;
                Output::of(format!("{module} in {isolate}: queued\n"))
            }
            false => {
                let Reply { status, payload, .. } = response.parse()?;
                let failure = (status >= 400).then(|| format!("the handler replied with status {status}"));
                Output { text: payload.unwrap_or_default(), failure }
            }
        };
        Ok(if client.json { Output { text: response.text(), ..output } } else { output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    async fn output(no_wait: bool, status: u16, body: &str) -> (Result<Output, ClientError>, fake::RecordedRequest) {
        let (client, mut requests) = fake::admin(status, body).await;
        let (isolate, module) = (isolate("broker-2").unwrap(), "a b".into());
        let admin = AdminArgs::default();
        let args = MessageArgs { isolate, module, payload: Some("1".into()), no_wait, admin };
        (args.output(&client).await, requests.recv().await.unwrap())
    }

    #[tokio::test]
    async fn the_payload_of_the_reply_is_printed() {
        let (output, request) = output(false, 200, r#"{"status":200,"headers":[],"payload":"yes"}"#).await;
        assert_eq!(output.unwrap(), Output::of("yes"));
        assert_eq!(request, ("POST".into(), "/v1/brokers/2/message?module=a%20b".into(), "1".into()));
    }

    #[tokio::test]
    async fn without_waiting_the_receiver_is_printed() {
        let (output, request) = output(true, 202, r#"{"isolate":"broker-2","module":"a"}"#).await;
        assert_eq!(output.unwrap(), Output::of("a in broker-2: queued\n"));
        assert_eq!(request.1, "/v1/brokers/2/message?module=a%20b&wait=false");
    }

    #[tokio::test]
    async fn a_problem_is_the_error() {
        let (output, _) =
            output(false, 404, r#"{"status":404,"code":"not-found","detail":"there is no broker-2"}"#).await;
        assert_eq!(output.unwrap_err().to_string(), "not-found (404): there is no broker-2");
    }

    #[test]
    fn only_workers_and_brokers_receive_messages() {
        assert_eq!(isolate("worker-10"), Ok(Receiver { kind: "workers", index: 10 }));
        for wrong in ["", "worker", "worker-", "worker-x", "master", "worker--1", "any"] {
            assert!(isolate(wrong).is_err(), "{wrong}");
        }
    }
}
