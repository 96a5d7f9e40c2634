//! `fanfare reload` and `fanfare rollback`: another generation takes over.

use std::process::ExitCode;

use clap::builder::FalseyValueParser;

use super::client::{self, AdminArgs, ClientError, Output, encoded};
use super::terminal::complain;
use fanfare::api::{Outcome, RefusedReload, ReloadEntry, Reloaded};

/// Read fanfare.json and a module's folder again, or all of them, and let what is there take over in every worker.
#[derive(Debug, clap::Args)]
pub struct ReloadArgs {
    /// The module. Without one, every module.
    pub module: Option<String>,
    /// What is in the folder even when a rollback has pinned another generation, or the state cannot go over: it is lost then.
    #[arg(long, env = "FANFARE_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Go back to a generation that served before. It stays, across restarts, until the module's folder changes.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The module.
    pub module: String,
    /// The generation, by the beginning of its digest. Default the one before that which serves.
    #[arg(long, value_name = "GENERATION", env = "FANFARE_TO")]
    pub to: Option<String>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

pub fn run(args: &ReloadArgs) -> ExitCode {
    client::run(args.output(), args.admin.json)
}

pub fn roll_back(args: &RollbackArgs) -> ExitCode {
    client::run(args.output(), args.admin.json)
}

impl RollbackArgs {
    async fn output(&self) -> Result<Output, ClientError> {
        let to = self.to.as_ref().map(|to| format!("?to={}", encoded(to))).unwrap_or_default();
        let path = format!("/v1/modules/{}/rollback{to}", encoded(&self.module));
        let answer = client::ask_for_a_swap(&self.admin.admin, &path).await?;
        Ok(Output::of(if self.admin.json { answer.text() } else { told(&answer.parse()?) }))
    }
}

impl ReloadArgs {
    async fn output(&self) -> Result<Output, ClientError> {
        let force = if self.force { "?force=true" } else { "" };
        let Some(module) = &self.module else { return self.all(force).await };
        let path = format!("/v1/modules/{}/reload{force}", encoded(module));
        let answer = client::ask_for_a_swap(&self.admin.admin, &path).await?;
        let reloaded: Reloaded = answer.parse()?;
        warn_of_restart(&reloaded.restart);
        Ok(Output::of(if self.admin.json { answer.text() } else { told(&reloaded) }))
    }

    async fn all(&self, force: &str) -> Result<Output, ClientError> {
        let answer = client::ask_for_a_swap(&self.admin.admin, &format!("/v1/reload{force}")).await?;
        let entries: Vec<ReloadEntry> = answer.parse()?;
        let restart = entries.iter().find_map(|entry| match entry {
            ReloadEntry::Reloaded(reloaded) => Some(&reloaded.restart),
            ReloadEntry::Refused(_) => None,
        });
        warn_of_restart(restart.map_or(&[], Vec::as_slice));
        let refused = entries.iter().filter(|entry| matches!(entry, ReloadEntry::Refused(_))).count();
        let line = |entry: &ReloadEntry| match entry {
            ReloadEntry::Reloaded(reloaded) => told(reloaded),
            ReloadEntry::Refused(RefusedReload { module, reason, .. }) => format!("{module}: refused: {reason}\n"),
        };
        let text = if self.admin.json { answer.text() } else { entries.iter().map(line).collect() };
        let failure = (refused > 0).then(|| format!("{refused} of {} modules are refused", entries.len()));
        Ok(Output { text, failure })
    }
}

fn warn_of_restart(keys: &[String]) {
    if !keys.is_empty() {
        complain(&format!(
            "warning: changed in fanfare.json, and not taken up before a restart: {}\n",
            keys.join(", ")
        ));
    }
}

fn told(reloaded: &Reloaded) -> String {
    let Reloaded { module, outcome, generation, from, running, pinned, durable, restart: _ } = reloaded;
    let generation = generation.as_deref().unwrap_or_default();
    let what = match (outcome, from.as_deref()) {
        (Outcome::Started, _) => format!("serves, generation {generation}"),
        (Outcome::Unchanged, _) => format!("unchanged, generation {generation}"),
        (Outcome::Removed, _) => "its folder is gone, not served any more".to_owned(),
        (Outcome::Swapped, Some(from)) if from != generation => {
            format!("generation {generation} in the place of {from}")
        }
        (Outcome::Swapped, _) => format!("renewed, generation {generation}"),
    };
    let ran_on = match running {
        0 => String::new(),
        count => format!("; {count} calls ran on in the old instances when their state was saved"),
    };
    let pinned = if *pinned { "; pinned until the folder changes, or `fanfare reload --force`" } else { "" };
    let memory = if *durable { "" } else { "; not saved in stateDir yet, a restart may serve another generation" };
    format!("{module}: {what}{ran_on}{pinned}{memory}\n")
}
