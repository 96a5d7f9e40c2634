//! `fanfare reload`: a module's folder is read again, and what is there takes over.

use std::process::ExitCode;

use http::Method;
use serde::Deserialize;

use super::client::{self, AdminArgs, ClientError, Output, encoded};

/// Read a module's folder again, and let what is there take over in every worker.
#[derive(Debug, clap::Args)]
pub struct ReloadArgs {
    /// The module.
    pub module: String,
    #[command(flatten)]
    pub admin: AdminArgs,
}

#[derive(Debug, Deserialize)]
struct Reloaded {
    module: String,
    generation: String,
    /// The generation before, if one was served.
    from: Option<String>,
    #[serde(default)]
    running: usize,
}

pub fn run(args: &ReloadArgs) -> ExitCode {
    client::run(args.output(), args.admin.json)
}

impl ReloadArgs {
    async fn output(&self) -> Result<Output, ClientError> {
        let path = format!("/v1/modules/{}/reload", encoded(&self.module));
        let answer = client::ask(&self.admin.admin, Method::POST, &path, None).await?;
        let text = match self.admin.json {
            true => answer.text(),
            false => told(&answer.parse()?),
        };
        Ok(Output::of(text))
    }
}

fn told(reloaded: &Reloaded) -> String {
    let Reloaded { module, generation, from, running } = reloaded;
    let ran_on = match running {
        0 => String::new(),
        count => format!("; {count} calls ran on in the old instances when their state was saved"),
    };
    match from {
        Some(from) if from == generation => format!("{module}: renewed, generation {generation}{ran_on}\n"),
        Some(from) => format!("{module}: generation {generation} in the place of {from}{ran_on}\n"),
        None => format!("{module}: serves, generation {generation}\n"),
    }
}
