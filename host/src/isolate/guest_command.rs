//! Calls the `wasi:cli/run` export of a guest.

use wasmtime::component::{Accessor, TypedFunc};
use wasmtime_wasi::I32Exit;

use super::state::State;
use crate::call::{Failure, Outcome, Reply};

/// The type of `run`, in each version.
pub type Run = TypedFunc<(), (Result<(), ()>,)>;

/// Runs the command. An error means that the store failed, or that the guest called `exit`.
pub async fn run(accessor: &Accessor<State>, run: &Run) -> wasmtime::Result<Result<Outcome, Failure>> {
    let (ended,) = run.call_concurrent(accessor, ()).await?;
    Ok(outcome(if ended.is_ok() { 0 } else { 1 }))
}

/// The outcome of a guest that called `exit`, if the error says that it has.
pub fn exited(error: &wasmtime::Error) -> Option<Result<Outcome, Failure>> {
    error.downcast_ref::<I32Exit>().map(|exit| outcome(exit.0))
}

fn outcome(code: i32) -> Result<Outcome, Failure> {
    match code {
        0 => Ok(Outcome::Reply(Reply::default())),
        code => Err(Failure {
            name: "exit".to_owned(),
            message: format!("the command ended with the exit code {code}"),
            ..Failure::default()
        }),
    }
}
