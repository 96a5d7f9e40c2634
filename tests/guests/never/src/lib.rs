//! Handlers that never return.

use common::{block, ok, who};
use fanfare_sdk::prelude::*;

/// Waits for an event that never happens.
#[handler]
async fn never() {
    std::future::pending::<()>().await;
}

/// Makes calls that time out, one after another without end.
#[handler]
async fn stubborn() {
    loop {
        let _ = rpc::call("/never", ()).await;
    }
}

fanfare_sdk::module!(never, stubborn, block, who, ok);
