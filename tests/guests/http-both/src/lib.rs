//! Serves routes of Fanfare and, on all other paths, requests through `wasi:http` 0.3.

use std::cell::RefCell;

use fanfare_sdk::prelude::*;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_bindgen::spawn_local;
use wasip3::{wit_future, wit_stream};

wasip3::http::service::export!(Guest);

struct Guest;

thread_local! {
    static HEARD: RefCell<String> = RefCell::default();
}

#[handler]
fn emit(body: Payload) -> Result<()> {
    broadcast::emit("news", body)?;
    Ok(())
}

/// The inner route of the broadcast `news`: keeps its text.
#[handler]
fn hear(body: Payload) {
    HEARD.replace(body.as_text().unwrap_or_default().to_owned());
}

impl wasip3::exports::http::handler::Guest for Guest {
    /// Answers with the last broadcast that this worker has heard.
    async fn handle(_: Request) -> std::result::Result<Response, ErrorCode> {
        let (mut writer, reader) = wit_stream::new();
        let (trailers, received) = wit_future::new(|| Ok(None));
        let (response, _) = Response::new(Fields::new(), Some(reader), received);
        drop(trailers);
        let heard = HEARD.with_borrow(|heard| heard.clone().into_bytes());
        spawn_local(async move { drop(writer.write_all(heard).await) });
        Ok(response)
    }
}

fanfare_sdk::module!(emit, hear);
