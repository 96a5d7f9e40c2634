//! Never answers.

use common::{block, ok, who};
use fanfare_sdk::prelude::*;

/// Waits for nothing that will ever come.
#[handler]
async fn never() {
    std::future::pending::<()>().await;
}

/// Goes on with calls that each end by timeout, and takes no notice.
#[handler]
async fn stubborn() {
    loop {
        let _ = rpc::call("/never", ()).await;
    }
}

fanfare_sdk::module!(never, stubborn, block, who, ok);
