//! `fanfare broadcasts`: shows the durable broadcasts of a running host, and replays parked ones.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use http::Method;

use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, encoded, printable};
use super::table::aligned;
use fanfare::api::{DurableStatus, ParkedBroadcast, ParkedBroadcasts, ReplayedBroadcasts};

/// Flags of `fanfare broadcasts`.
#[derive(Debug, clap::Args)]
pub struct BroadcastsArgs {
    /// What to do [default: show how far the node is with each module].
    #[command(subcommand)]
    pub action: Option<Action>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show the broadcasts that failed too often.
    Parked {
        /// The module [default: all modules].
        module: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Run parked broadcasts again, in the workers that have not run them.
    Replay {
        /// The number of the parked broadcast.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<u64>,
        /// Replay all of them.
        #[arg(long)]
        all: bool,
        /// With `--all`, only those of this module.
        #[arg(long, requires = "all")]
        module: Option<String>,
        /// Run them in all workers of all nodes.
        #[arg(long)]
        everywhere: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

pub fn run(args: &BroadcastsArgs) -> ExitCode {
    let (admin, effect) = match &args.action {
        None => (&args.admin, Effect::Uses),
        Some(Action::Parked { admin, .. }) => (admin, Effect::Uses),
        Some(Action::Replay { admin, .. }) => (admin, Effect::Changes),
    };
    client::run(admin, effect, None, async |client| args.output(client).await)
}

impl BroadcastsArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        match &self.action {
            None => show(client).await,
            Some(Action::Parked { module, .. }) => parked(client, module.as_deref()).await,
            Some(Action::Replay { id, module, everywhere, .. }) => {
                let mut path = match id {
                    Some(id) => format!("/v1/broadcasts/replay?id={id}"),
                    None => "/v1/broadcasts/replay?all=true".to_owned(),
                };
                if let Some(module) = module {
                    _ = write!(path, "&module={}", encoded(module));
                }
                if *everywhere {
                    path.push_str("&everywhere=true");
                }
                replay(client, &path).await
            }
        }
    }
}

async fn show(client: &AdminClient) -> Result<Output, ClientError> {
    let response = client.send(Method::GET, "/v1/broadcasts", None).await?;
    let status: DurableStatus = response.parse()?;
    if client.json {
        return Ok(Output::of(response.text()));
    }
    let Some(stream) = &status.stream else { return Ok(Output::of("cluster.nats is not set\n".to_owned())) };
    let (queued, bytes) = (status.queued, status.queued_bytes);
    let mut text = format!("stream {}, {queued} broadcasts ({bytes} bytes) wait for it\n", printable(stream));
    if status.modules.is_empty() {
        text.push_str("no module has durable broadcasts\n");
        return Ok(Output::of(text));
    }
    let head = ["MODULE", "READS", "POSITION", "RUNNING", "BEHIND"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(status.modules.iter().map(|one| {
        [
            printable(&one.module),
            if one.reading { "yes" } else { "no" }.to_owned(),
            one.position.to_string(),
            one.running.map_or("-".to_owned(), |running| running.to_string()),
            one.pending.to_string(),
        ]
    }));
    text.push('\n');
    text.push_str(&aligned(&rows));
    for one in &status.modules {
        if let Some(reason) = &one.reason {
            // Writing to a string cannot fail.
            _ = writeln!(text, "\n{}: {}", printable(&one.module), printable(reason));
        }
    }
    Ok(Output::of(text))
}

async fn parked(client: &AdminClient, module: Option<&str>) -> Result<Output, ClientError> {
    let query = module.map(|module| format!("?module={}", encoded(module))).unwrap_or_default();
    let response = client.send(Method::GET, &format!("/v1/broadcasts/parked{query}"), None).await?;
    let parked: ParkedBroadcasts = response.parse()?;
    Ok(Output::of(match parked.broadcasts.as_slice() {
        _ if client.json => response.text(),
        [] => "nothing is parked\n".to_owned(),
        broadcasts => table(broadcasts, parked.more),
    }))
}

fn table(broadcasts: &[ParkedBroadcast], more: bool) -> String {
    let head = ["ID", "MODULE", "BROADCAST", "NODE", "WORKERS", "POSITION", "TRIES", "PAYLOAD"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(broadcasts.iter().map(|one| {
        let workers: Vec<String> = one.workers.iter().map(u32::to_string).collect();
        [
            one.id.to_string(),
            printable(&one.module),
            printable(&one.broadcast),
            printable(&one.node),
            workers.join(","),
            one.position.to_string(),
            one.tries.to_string(),
            printable(&one.payload),
        ]
    }));
    let mut text = aligned(&rows);
    text.push('\n');
    for one in broadcasts {
        // Writing to a string cannot fail.
        _ = writeln!(text, "{}: {}", one.id, printable(&one.reason));
    }
    if more {
        text.push_str("and more: replay some, or name a module\n");
    }
    text
}

async fn replay(client: &AdminClient, path: &str) -> Result<Output, ClientError> {
    let response = client.send(Method::POST, path, None).await?;
    let ReplayedBroadcasts { replayed, failed } = response.parse()?;
    let mut text = String::new();
    for one in &replayed {
        // Writing to a string cannot fail.
        _ = writeln!(text, "{} is at position {} of the stream", one.id, one.position);
    }
    if replayed.is_empty() && failed.is_empty() {
        text.push_str("nothing is parked\n");
    }
    for reason in &failed {
        _ = writeln!(text, "{}", printable(reason));
    }
    let failure = (!failed.is_empty()).then(|| format!("{} stay parked", failed.len()));
    Ok(Output { text: if client.json { response.text() } else { text }, failure })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    fn args(action: Option<Action>) -> BroadcastsArgs {
        BroadcastsArgs { action, admin: AdminArgs::default() }
    }

    #[tokio::test]
    async fn every_module_has_a_row() {
        let status = r#"{"stream":"fanfare_broadcasts","queued":2,"queuedBytes":300,"modules":[
            {"module":"chat","reading":true,"position":7,"pending":0},
            {"module":"shop","reading":true,"position":40,"running":41,"pending":3,"reason":"no \u0001stock"}]}"#;
        let (client, mut requests) = fake::admin(200, status).await;
        let output = args(None).output(&client).await.unwrap();
        let expected = "\
stream fanfare_broadcasts, 2 broadcasts (300 bytes) wait for it

MODULE  READS  POSITION  RUNNING  BEHIND
chat    yes    7         -        0
shop    yes    40        41       3

shop: no \\u{1}stock
";
        assert_eq!(output, Output::of(expected));
        assert_eq!(requests.recv().await.unwrap().1, "/v1/broadcasts");
    }

    #[tokio::test]
    async fn parked_broadcasts_have_their_reasons() {
        let parked = r#"{"broadcasts":[{"id":3,"module":"shop","broadcast":"sold","node":"a-1","workers":[0,2],
            "position":41,"tries":5,"reason":"no stock","size":5,"payload":"chair"}],"more":true}"#;
        let (client, mut requests) = fake::admin(200, parked).await;
        let action = Action::Parked { module: Some("shop".into()), admin: AdminArgs::default() };
        let output = args(Some(action)).output(&client).await.unwrap();
        let expected = "\
ID  MODULE  BROADCAST  NODE  WORKERS  POSITION  TRIES  PAYLOAD
3   shop    sold       a-1   0,2      41        5      chair

3: no stock
and more: replay some, or name a module
";
        assert_eq!(output, Output::of(expected));
        assert_eq!(requests.recv().await.unwrap().1, "/v1/broadcasts/parked?module=shop");
    }

    #[tokio::test]
    async fn a_replay_says_what_stays_parked() {
        let answer = r#"{"replayed":[{"id":3,"position":50}],"failed":["parked broadcast 4 cannot be replayed"]}"#;
        let (client, mut requests) = fake::admin(200, answer).await;
        let module = Some("shop".to_owned());
        let action = Action::Replay { id: None, all: true, module, everywhere: true, admin: AdminArgs::default() };
        let output = args(Some(action)).output(&client).await.unwrap();
        assert_eq!(output.text, "3 is at position 50 of the stream\nparked broadcast 4 cannot be replayed\n");
        assert_eq!(output.failure.as_deref(), Some("1 stay parked"));
        let (method, path, _) = requests.recv().await.unwrap();
        assert_eq!((&*method, &*path), ("POST", "/v1/broadcasts/replay?all=true&module=shop&everywhere=true"));
    }
}
