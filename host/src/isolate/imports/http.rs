//! `fanfare:module/http`.

use std::sync::Arc;

use crate::bindings::fanfare::module::http::{Host, RequestHead};
use crate::call::Context;
use crate::isolate::state::State;

impl State {
    fn request(&self, call: u64) -> Option<Arc<Context>> {
        self.guest.running.context(call)
    }
}

impl Host for State {
    fn header(&mut self, call: u64, name: String) -> Vec<String> {
        let Some(context) = self.request(call) else { return Vec::new() };
        let Some(head) = &context.http else { return Vec::new() };
        head.headers.get_all(name.as_str()).iter().map(text).collect()
    }

    fn headers(&mut self, call: u64) -> Vec<(String, String)> {
        let Some(context) = self.request(call) else { return Vec::new() };
        let Some(head) = &context.http else { return Vec::new() };
        head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
    }

    fn head(&mut self, call: u64) -> Option<RequestHead> {
        let context = self.request(call)?;
        let head = context.http.as_ref()?;
        Some(RequestHead {
            path: head.path.clone(),
            scheme: "http".to_owned(),
            authority: head.authority.clone(),
            peer: head.peer.to_string(),
        })
    }
}

/// Decodes a header value as UTF-8, or as ISO-8859-1 when it is not UTF-8.
pub fn text(value: &http::HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
    }
}
