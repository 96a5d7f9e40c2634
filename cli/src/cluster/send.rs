//! `fanfare cluster send`: calls a route of a module on one node.

use std::process::ExitCode;

use crate::call::CallArgs;
use crate::client::{self, AdminArgs, Effect};

/// Flags of `fanfare cluster send`.
#[derive(Debug, clap::Args)]
pub struct SendArgs {
    /// The id of the node.
    pub id: String,
    /// The module: its name or its folder.
    pub module: String,
    /// The path of the route, with its query. An empty path is the module's root; `inner` routes
    /// are open.
    pub path: String,
    /// The payload: JSON, or `-` to read it from standard input [default: no payload].
    #[arg(value_name = "JSON")]
    pub payload: Option<String>,
    #[command(flatten)]
    pub admin: AdminArgs,
}

pub fn run(args: &SendArgs) -> ExitCode {
    let call = CallArgs {
        method: None,
        target: format!("node:{}", args.id),
        module: args.module.clone(),
        path: args.path.clone(),
        payload: args.payload.clone(),
        admin: args.admin.clone(),
    };
    client::run(&args.admin, Effect::Uses, None, async |client| call.output(client).await)
}
