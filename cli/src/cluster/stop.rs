//! `fanfare cluster stop` and `fanfare cluster remove`: stop nodes in order.

use std::process::ExitCode;

use http::Method;

use super::select::{Named, select};
use crate::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, encoded, printable};
use fanfare::api::{ClusterStatus, NodeStatus};

/// Flags of `fanfare cluster stop`.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Flags of `fanfare cluster remove`.
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The nodes: ids, server types, or ranges such as `chat-1~3`.
    #[arg(value_name = "NAMES", required = true)]
    pub names: Vec<String>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

pub fn run(args: &StopArgs) -> ExitCode {
    client::run(&args.admin, Effect::Changes, None, async |client| stop(&args.admin, client, &[]).await)
}

pub fn remove(args: &RemoveArgs) -> ExitCode {
    client::run(&args.admin, Effect::Changes, None, async |client| stop(&args.admin, client, &args.names).await)
}

/// Asks the nodes with these names to stop; without names, all nodes.
async fn stop(args: &AdminArgs, client: &AdminClient, names: &[String]) -> Result<Output, ClientError> {
    let status: ClusterStatus = client.send(Method::GET, "/v1/nodes", None).await?.parse()?;
    let nodes = in_order(&status.nodes);
    let own = nodes.iter().find(|node| node.own).map(|node| node.info.id.as_str());
    // Servers that do not know each other are asked one by one.
    let alone = status.cluster.is_none() && args.admin.is_none();
    let local = if alone { args.local_clients() } else { Vec::new() };
    let others = local.iter().filter(|(id, _, _)| own != Some(id.as_str()));
    let others = others.map(|(id, server, _)| Named { id, server });
    let known = nodes.iter().map(|node| Named { id: &node.info.id, server: &node.info.server });
    let all: Vec<Named> = others.chain(known).collect();
    let chosen = match select(names, &all) {
        Ok(chosen) => chosen,
        Err(error) => return Ok(Output { text: String::new(), failure: Some(printable(&error)) }),
    };
    let (mut text, mut failed) = (String::new(), Vec::new());
    for Named { id, .. } in chosen {
        let path = format!("/v1/nodes/{}/stop", encoded(id));
        let direct = local.iter().find(|(local, _, _)| local == id).map(|(_, _, client)| client);
        match direct.unwrap_or(client).send(Method::POST, &path, None).await {
            Ok(_) => text += &format!("{} stops\n", printable(id)),
            Err(error @ ClientError::Refused(_)) => failed.push(format!("{}: {error}", printable(id))),
            Err(error) => return Err(error),
        }
    }
    let failure = (!failed.is_empty()).then(|| failed.join("\n"));
    Ok(Output { text, failure })
}

/// Frontends first, because they need the others; the node that answers last.
fn in_order(nodes: &[NodeStatus]) -> Vec<&NodeStatus> {
    let mut nodes: Vec<&NodeStatus> = nodes.iter().filter(|node| node.protocol.is_none()).collect();
    nodes.sort_by_key(|node| (node.own, !node.info.frontend));
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontends_stop_first_and_the_node_that_answers_last() {
        let node = |id: &str, frontend: bool, own: bool| {
            let info = fanfare::api::NodeInfo { id: id.to_owned(), frontend, ..Default::default() };
            NodeStatus { info, own, ..NodeStatus::default() }
        };
        let nodes = [node("a", true, true), node("b", false, false), node("c", true, false)];
        let order: Vec<&str> = in_order(&nodes).iter().map(|node| node.info.id.as_str()).collect();
        assert_eq!(order, ["c", "b", "a"]);
    }
}
