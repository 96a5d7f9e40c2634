//! `fanfare cluster`: the nodes of a cluster.

mod lines;
mod restarts;
mod select;
mod send;
mod stop;
mod supervise;
mod up;

use std::fmt::Write as _;
use std::process::ExitCode;

use http::Method;

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, printable};
use super::table::aligned;
use fanfare::api::{ClusterState, ClusterStatus, NodeStatus};

/// Commands of `fanfare cluster`.
#[derive(Debug, clap::Subcommand)]
pub enum ClusterCommand {
    /// Start the servers of this machine in one terminal, and restart those that die.
    Up(up::UpArgs),
    /// Show the nodes of the cluster, as a running host knows them.
    List(ListArgs),
    /// Let all nodes of the cluster drain and stop.
    Stop(stop::StopArgs),
    /// Let some nodes of the cluster drain and stop.
    Remove(stop::RemoveArgs),
    /// Call a route of a module on one node.
    Send(send::SendArgs),
}

/// Flags of `fanfare cluster list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
}

pub fn run(command: &ClusterCommand) -> ExitCode {
    match command {
        ClusterCommand::Up(args) => up::run(args),
        ClusterCommand::List(args) => {
            client::run(&args.admin, Effect::Uses, None, async |client| args.output(client).await)
        }
        ClusterCommand::Stop(args) => stop::run(args),
        ClusterCommand::Remove(args) => stop::remove(args),
        ClusterCommand::Send(args) => send::run(args),
    }
}

impl ListArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let response = client.send(Method::GET, "/v1/nodes", None).await?;
        let status: ClusterStatus = response.parse()?;
        Ok(Output::of(if client.json { response.text() } else { text(&status) }))
    }
}

/// The state of the cluster, and a row for each node.
fn text(status: &ClusterStatus) -> String {
    let mut text = match &status.cluster {
        None => "this node is alone: cluster.nats is not set\n\n".to_owned(),
        Some(name) => {
            let nats = status.nats.as_ref().map(|server| format!(", {}", printable(server))).unwrap_or_default();
            let reason = status.reason.as_ref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
            format!("cluster {}: {}{nats}{reason}\n\n", printable(name), status.state.as_str())
        }
    };
    let head = ["NODE", "TYPE", "HOST", "PID", "WORKERS", "SENT", "RECEIVED", "ROUND TRIP", "MODULES"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(status.nodes.iter().map(row));
    text += &aligned(&rows);
    if status.state == ClusterState::Up {
        for (module, nodes) in different(&status.nodes) {
            // Writing to a string cannot fail.
            _ = writeln!(text, "\n{} has different generations: {nodes}", printable(module));
        }
    }
    text
}

fn row(node: &NodeStatus) -> [String; 9] {
    let info = &node.info;
    let name = printable(&info.id) + if node.own { " (this)" } else { "" };
    if let Some(protocol) = node.protocol {
        let why = format!("has version {protocol} of the protocol between nodes, and is not reached");
        let empty = String::new;
        return [name, "-".into(), "-".into(), "-".into(), "-".into(), empty(), empty(), empty(), why];
    }
    let figure = |figure: String| if node.own { "-".to_owned() } else { figure };
    let modules: Vec<String> = info
        .modules
        .iter()
        .map(|(name, generation)| format!("{}@{}", printable(name), printable(generation)))
        .collect();
    [
        name,
        printable(&info.server),
        printable(&info.host),
        info.pid.to_string(),
        info.workers.to_string(),
        figure(node.sent.to_string()),
        figure(node.received.to_string()),
        figure(format!("{} us", node.round_trip_micros)),
        modules.join(", "),
    ]
}

/// The modules that do not have the same generation on all their nodes, with the nodes of each.
fn different(nodes: &[NodeStatus]) -> Vec<(&str, String)> {
    let mut modules: Vec<&str> = nodes.iter().flat_map(|node| node.info.modules.keys().map(String::as_str)).collect();
    modules.sort_unstable();
    modules.dedup();
    let of = |module: &str| {
        let generation = |node: &NodeStatus| Some((node.info.id.clone(), node.info.modules.get(module)?.clone()));
        let all: Vec<(String, String)> = nodes.iter().filter_map(generation).collect();
        let differ = all.windows(2).any(|pair| matches!(pair, [one, other] if one.1 != other.1));
        let text = |(node, generation): &(String, String)| format!("{} on {}", printable(generation), printable(node));
        differ.then(|| all.iter().map(text).collect::<Vec<_>>().join(", "))
    };
    modules.into_iter().filter_map(|module| Some((module, of(module)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    async fn listed(body: &str) -> String {
        let (client, mut requests) = fake::admin(200, body).await;
        let output = ListArgs { admin: AdminArgs::default() }.output(&client).await.unwrap();
        assert_eq!(requests.recv().await.unwrap().1, "/v1/nodes");
        output.text
    }

    #[tokio::test]
    async fn every_node_has_a_row_and_different_generations_are_named() {
        let status = r#"{"cluster":"fanfare","state":"up","nats":"nats://127.0.0.1:4222","nodes":[
            {"id":"a-1","server":"alpha","host":"one","pid":7,"workers":2,"own":true,"modules":{"m":"aaa","n":"ccc"}},
            {"id":"b-1","server":"beta","host":"two","pid":8,"workers":4,"sent":3,"received":5,"roundTripMicros":210,
             "modules":{"m":"bbb","n":"ccc"}},
            {"id":"z-9","protocol":9}]}"#;
        let expected = "\
cluster fanfare: up, nats://127.0.0.1:4222

NODE        TYPE   HOST  PID  WORKERS  SENT  RECEIVED  ROUND TRIP  MODULES
a-1 (this)  alpha  one   7    2        -     -         -           m@aaa, n@ccc
b-1         beta   two   8    4        3     5         210 us      m@bbb, n@ccc
z-9         -      -     -    -                                    has version 9 of the protocol between nodes, and is not reached

m has different generations: aaa on a-1, bbb on b-1
";
        assert_eq!(listed(status).await, expected);
    }

    #[tokio::test]
    async fn a_node_that_is_alone_says_so() {
        let text = listed(r#"{"state":"alone","nodes":[{"id":"node-1","server":"node","own":true}]}"#).await;
        assert!(text.starts_with("this node is alone: cluster.nats is not set\n\nNODE"), "{text}");
        let text = listed(r#"{"cluster":"x","state":"down","reason":"refused","nodes":[]}"#).await;
        assert!(text.starts_with("cluster x: down: refused\n\n"), "{text}");
    }
}
