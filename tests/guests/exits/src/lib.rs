//! Exits as a process would.

use common::{ok, who};
use fanfare_sdk::prelude::*;

#[handler]
fn exit(code: Json<i32>) {
    std::process::exit(*code);
}

#[handler]
fn abort() {
    std::process::abort();
}

fanfare_sdk::module!(exit, abort, who, ok);
