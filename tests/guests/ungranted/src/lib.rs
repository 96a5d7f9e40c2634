//! Imports everything, asks for nothing: other modules are closed to it.

use common::{emit, every, gather, nested, notify};
use fanfare_sdk::prelude::*;

/// What needs no grant.
#[handler]
fn own(cx: Context) -> Result<Json<Value>> {
    info!("my own log");
    let config: Value = config::all()?;
    let module = host::whoami().module;
    Ok(Json(json!({"module": module, "config": config, "headers": cx.headers().len(), "head": cx.head().is_some()})))
}

fanfare_sdk::module!(own, nested, every, notify, emit, gather);
