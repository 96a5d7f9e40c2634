//! `fanfare emit`: emits a broadcast as the operator.

use std::fmt::Write as _;
use std::process::ExitCode;

use http::Method;

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, encoded, module, printable};
use super::entries;
use fanfare::api::{GatherEntry, Receipt, Skipped};

/// Flags of `fanfare emit`.
#[derive(Debug, clap::Args)]
pub struct EmitArgs {
    /// The module: its name or its folder.
    pub module: String,
    /// The name of the broadcast, as in the module's `broadcasts`.
    pub name: String,
    /// The payload: JSON, or `-` to read it from standard input [default: no payload].
    #[arg(value_name = "JSON")]
    pub payload: Option<String>,
    /// Wait for the handlers, and print the reply of each worker.
    #[arg(long, env = "FANFARE_GATHER", value_parser = clap::builder::FalseyValueParser::new())]
    pub gather: bool,
    #[command(flatten)]
    pub admin: AdminArgs,
}

pub fn run(args: &EmitArgs) -> ExitCode {
    client::run(&args.admin, Effect::Uses, Some(&args.module), async |client| args.output(client).await)
}

impl EmitArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let payload = client::payload(self.payload.as_deref())?;
        let query = if self.gather { "?gather=true" } else { "" };
        let path = format!("/v1/modules/{}/broadcasts/{}{query}", module(&self.module), encoded(&self.name));
        let response = client.send(Method::POST, &path, payload).await?;
        let output = match self.gather {
            true => entries::output(&response.parse::<Vec<GatherEntry>>()?),
            false => receipt_output(&self.name, &response.parse()?),
        };
        Ok(if client.json { Output { text: response.text(), ..output } } else { output })
    }
}

fn receipt_output(name: &str, receipt: &Receipt) -> Output {
    let Receipt { id, seq, accepted, skipped, nodes, position } = receipt;
    if let Some(position) = position {
        return Output::of(format!("{name}: id {id}, kept by the stream at position {position}\n"));
    }
    let workers = if *accepted == 1 { "worker" } else { "workers" };
    let others = nodes.map(|nodes| format!(", sent to {nodes} other {}", if nodes == 1 { "node" } else { "nodes" }));
    let others = others.unwrap_or_default();
    let mut text = format!("{name}: id {id}, seq {seq}, accepted by {accepted} {workers}{others}\n");
    for Skipped { isolate, node, reason } in skipped {
        let place = entries::place(node.as_deref(), isolate);
        // Writing to a string cannot fail.
        _ = writeln!(text, "{place} was skipped: {}", printable(reason));
    }
    let failure = (*accepted == 0 && nodes.is_none_or(|nodes| nodes == 0))
        .then(|| "no worker accepted the broadcast: see `fanfare status`".to_owned());
    Output { text, failure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    async fn output(gather: bool, payload: Option<&str>, body: &str) -> (Output, fake::RecordedRequest) {
        let (client, mut requests) = fake::admin(200, body).await;
        let (module, name, payload) = ("test-party".into(), "a/b".into(), payload.map(str::to_owned));
        let args = EmitArgs { module, name, payload, gather, admin: AdminArgs::default() };
        let output = args.output(&client).await.unwrap();
        (output, requests.recv().await.unwrap())
    }

    #[tokio::test]
    async fn a_receipt_says_which_workers_accepted() {
        let receipt = r#"{"id":7,"seq":3,"accepted":1,"skipped":[
            {"isolate":"worker-1","reason":"failed"},{"isolate":"worker-0","node":"chat-2","reason":"starting"}]}"#;
        let (output, request) = output(false, Some("{\"a\":1}"), receipt).await;
        let expected = "\
a/b: id 7, seq 3, accepted by 1 worker
worker-1 was skipped: failed
chat-2/worker-0 was skipped: starting
";
        assert_eq!(output, Output::of(expected));
        assert_eq!(request, ("POST".into(), "/v1/modules/test-party/broadcasts/a%2Fb".into(), "{\"a\":1}".into()));
    }

    #[tokio::test]
    async fn a_receipt_counts_the_other_nodes() {
        let of = async |receipt| output(false, None, receipt).await.0;
        let both = of(r#"{"id":7,"seq":3,"accepted":2,"nodes":1}"#).await;
        assert_eq!(both, Output::of("a/b: id 7, seq 3, accepted by 2 workers, sent to 1 other node\n"));
        let kept = of(r#"{"id":7,"seq":41,"accepted":2,"nodes":1,"position":41}"#).await;
        assert_eq!(kept, Output::of("a/b: id 7, kept by the stream at position 41\n"));
        let others = of(r#"{"id":7,"seq":0,"accepted":0,"nodes":2}"#).await;
        assert_eq!(others, Output::of("a/b: id 7, seq 0, accepted by 0 workers, sent to 2 other nodes\n"));
    }

    #[tokio::test]
    async fn a_broadcast_that_no_worker_accepts_is_a_failure() {
        let (output, _) = output(false, None, r#"{"id":7,"seq":3,"accepted":0,"skipped":[]}"#).await;
        assert_eq!(output.failure.as_deref(), Some("no worker accepted the broadcast: see `fanfare status`"));
    }

    #[tokio::test]
    async fn gathered_entries_have_a_line_each() {
        let entries = r#"[{"isolate":"worker-0","reply":{"status":200,"payload":"{\"seen\":1}"}},
            {"isolate":"worker-1","reply":{"status":204,"payload":null}},
            {"isolate":"worker-2","error":{"status":500,"code":"crashed","detail":"trapped"}}]"#;
        let (output, request) = output(true, None, entries).await;
        assert_eq!(output.text, "worker-0  200  {\"seen\":1}\nworker-1  204\nworker-2  crashed (500): trapped\n");
        assert_eq!(output.failure.as_deref(), Some("1 of 3 workers failed"));
        assert_eq!(
            request,
            ("POST".into(), "/v1/modules/test-party/broadcasts/a%2Fb?gather=true".into(), String::new())
        );
    }
}
