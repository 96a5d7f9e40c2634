//! `fanfare reload` and `fanfare rollback`: replace the generation that serves.

use std::process::ExitCode;

use clap::builder::FalseyValueParser;

use super::backtrace::shortened;
use super::client::{self, AdminArgs, AdminClient, ClientError, Effect, Output, encoded, module};
use super::terminal::eprint;
use fanfare::api::{NodeReload, RefusedReload, ReloadEntry, ReloadOutcome, Reloaded};

/// Flags of `fanfare reload`.
#[derive(Debug, clap::Args)]
pub struct ReloadArgs {
    /// The module, its name or its folder [default: every module].
    pub module: Option<String>,
    /// Load the folder even if a rollback has pinned another generation. If the state cannot be
    /// handed over, it is lost.
    #[arg(long, env = "FANFARE_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Flags of `fanfare rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The module: its name or its folder. The host serves the earlier generation, across restarts,
    /// until the module's folder changes.
    pub module: String,
    /// The generation, by the first characters of its digest [default: the previous one].
    #[arg(long, value_name = "GENERATION", env = "FANFARE_TO")]
    pub to: Option<String>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

pub fn run(args: &ReloadArgs) -> ExitCode {
    client::run(&args.admin, Effect::Changes, args.module.as_deref(), async |client| args.output(client).await)
}

pub fn roll_back(args: &RollbackArgs) -> ExitCode {
    client::run(&args.admin, Effect::Changes, Some(&args.module), async |client| args.output(client).await)
}

impl RollbackArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let to = self.to.as_ref().map(|to| format!("?to={}", encoded(to))).unwrap_or_default();
        let path = format!("/v1/modules/{}/rollback{to}", module(&self.module));
        let response = client.send_swap(&path, None).await?;
        let reloaded: Reloaded = response.parse()?;
        let text = if client.json { response.text() } else { outcome_line(&reloaded) };
        Ok(Output { text, failure: refused_by(&reloaded) })
    }
}

impl ReloadArgs {
    async fn output(&self, client: &AdminClient) -> Result<Output, ClientError> {
        let force = if self.force { "?force=true" } else { "" };
        let Some(named) = &self.module else { return self.all(client, force).await };
        let path = format!("/v1/modules/{}/reload{force}", module(named));
        let response = client.send_swap(&path, None).await?;
        let reloaded: Reloaded = response.parse()?;
        warn_of_restart(&reloaded.restart);
        let text = if client.json { response.text() } else { outcome_line(&reloaded) };
        Ok(Output { text, failure: refused_by(&reloaded) })
    }

    async fn all(&self, client: &AdminClient, force: &str) -> Result<Output, ClientError> {
        let response = client.send_swap(&format!("/v1/reload{force}"), None).await?;
        let entries: Vec<ReloadEntry> = response.parse()?;
        let restart = entries.iter().find_map(|entry| match entry {
            ReloadEntry::Reloaded(reloaded) => Some(&reloaded.restart),
            ReloadEntry::Refused(_) => None,
        });
        warn_of_restart(restart.map_or(&[], Vec::as_slice));
        let refused = entries.iter().filter(|entry| matches!(entry, ReloadEntry::Refused(_))).count();
        let text = if client.json { response.text() } else { entries.iter().map(entry_line).collect() };
        let elsewhere = entries.iter().find_map(|entry| match entry {
            ReloadEntry::Reloaded(reloaded) => refused_by(reloaded),
            ReloadEntry::Refused(_) => None,
        });
        let failure = (refused > 0).then(|| format!("{refused} of {} modules were refused", entries.len()));
        let failure = failure.or(elsewhere);
        Ok(Output { text, failure })
    }
}

fn warn_of_restart(keys: &[String]) {
    if !keys.is_empty() {
        eprint(&format!("warning: changes in fanfare.json that need a restart: {}\n", keys.join(", ")));
    }
}

fn entry_line(entry: &ReloadEntry) -> String {
    match entry {
        ReloadEntry::Reloaded(reloaded) => outcome_line(reloaded),
        ReloadEntry::Refused(RefusedReload { module, reason, .. }) => {
            format!("{module}: refused: {}\n", shortened(reason).replace('\n', "\n  "))
        }
    }
}

fn outcome_line(reloaded: &Reloaded) -> String {
    let Reloaded { module, outcome, generation, from, running, pinned, durable, restart: _, nodes } = reloaded;
    let generation = generation.as_deref().unwrap_or_default();
    let what = match (outcome, from.as_deref()) {
        (ReloadOutcome::Started, _) => format!("started, generation {generation}"),
        (ReloadOutcome::Unchanged, _) => format!("unchanged, generation {generation}"),
        (ReloadOutcome::Removed, _) => "removed, because its folder no longer exists".to_owned(),
        (ReloadOutcome::Swapped, Some(from)) if from != generation => {
            format!("generation {generation} replaced {from}")
        }
        (ReloadOutcome::Swapped, _) => format!("restarted, generation {generation}"),
    };
    let unsaved = match running {
        0 => String::new(),
        count => format!("; {count} calls still ran when the state was saved, their later changes are lost"),
    };
    let pinned = match pinned {
        true => format!("; pinned until the folder changes or `fanfare reload {module} --force`"),
        false => String::new(),
    };
    let undurable = if *durable { "" } else { "; not saved in stateDir yet, so a restart may load another generation" };
    let nodes: String = nodes.iter().map(node_line).collect();
    format!("{module}: {what}{unsaved}{pinned}{undurable}\n{nodes}")
}

/// What another node of the cluster did.
fn node_line(node: &NodeReload) -> String {
    let NodeReload { node, outcome, generation, reason } = node;
    let generation = generation.as_deref().unwrap_or_default();
    let what = match outcome {
        Some(ReloadOutcome::Started) => format!("started, generation {generation}"),
        Some(ReloadOutcome::Unchanged) => format!("unchanged, generation {generation}"),
        Some(ReloadOutcome::Removed) => "removed".to_owned(),
        Some(ReloadOutcome::Swapped) => format!("generation {generation}"),
        None => format!("refused: {}", shortened(reason.as_deref().unwrap_or_default()).replace('\n', "\n    ")),
    };
    format!("  {node}: {what}\n")
}

/// Why the command fails although this node has reloaded: other nodes have not.
fn refused_by(reloaded: &Reloaded) -> Option<String> {
    let refused: Vec<&str> =
        reloaded.nodes.iter().filter(|node| node.outcome.is_none()).map(|node| node.node.as_str()).collect();
    (!refused.is_empty()).then(|| format!("{} keeps its generation on {}", reloaded.module, refused.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reload_shows_one_frame_of_a_backtrace() {
        let reason = "unreachable\n    at abort\n    at hello::warm (src/lib.rs:9)\n    at hello::outer".to_owned();
        let refused = RefusedReload { module: "hello".to_owned(), outcome: Default::default(), reason };
        let line = entry_line(&ReloadEntry::Refused(refused));
        assert_eq!(line, "hello: refused: unreachable\n      at hello::warm (src/lib.rs:9)\n");
    }
}
