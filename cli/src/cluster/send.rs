//! `fanfare cluster send`: calls a route of a module on one node.

use std::process::ExitCode;

use crate::call::{CallArgs, RouteArgs};
use crate::client::{self, Effect};

/// Flags of `fanfare cluster send`.
#[derive(Debug, clap::Args)]
pub struct SendArgs {
    /// The id of the node.
    pub id: String,
    #[command(flatten)]
    pub route: RouteArgs,
}

pub fn run(args: &SendArgs) -> ExitCode {
    let call = CallArgs { method: None, target: format!("node:{}", args.id), route: args.route.clone() };
    client::run(&args.route.admin, Effect::Uses, None, async |client| call.output(client).await)
}
