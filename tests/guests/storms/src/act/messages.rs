//! Live streams, events, brokers and the master, and what a guest can read about its call.

use fanfare_sdk::prelude::*;
use fanfare_sdk::wit::{config, events, host, http, master, master_await, messages, sse};

use super::{Act, none, text};
use crate::steps::{Name, Run};

fn event(data: Payload, name: Option<&Name>, id: Option<&Name>) -> sse::Event {
    sse::Event { data, event: text(name), id: text(id), retry_ms: None, comment: None, extra: Vec::new() }
}

impl Run<'_> {
    pub(super) async fn messages(&mut self, act: &Act) {
        let call = self.caller;
        match act {
            Act::SsePublish { key, payload, event: name, id } => {
                let event = event(self.payload(payload), name.as_ref(), id.as_ref());
                let sent = sse::publish(call, &key.text(), &event, sse::Reach::Everywhere);
                self.count("ssePublish", sent.map(Into::into));
            }
            Act::SsePublishAll { payload } => {
                let event = event(self.payload(payload), None, None);
                self.count("ssePublishAll", sse::publish_all(call, &event, sse::Reach::Everywhere).map(Into::into));
            }
            Act::SseClose { key } => {
                self.count("sseClose", sse::close(call, &key.text(), sse::Reach::Everywhere).map(Into::into));
            }
            Act::SseCloseAll => self.count("sseCloseAll", sse::close_all(call, sse::Reach::Everywhere).map(Into::into)),
            Act::SseCount { key } => self.count("sseCount", Ok(sse::count(text(key.as_ref()).as_deref()).into())),
            Act::Emit { r#type, payload } => {
                let sent = events::emit(call, text(r#type.as_ref()).as_deref(), &self.payload(payload));
                self.count("emit", sent.map(none));
            }
            Act::EventsSubscribe { pattern, route } => {
                let name = events::subscribe(call, text(pattern.as_ref()).as_deref(), &route.text());
                self.count("eventsSubscribe", name.map(Into::into));
            }
            Act::EventsUnsubscribe { subscription } => {
                self.count("eventsUnsubscribe", events::unsubscribe(call, &subscription.text()).map(none));
            }
            Act::Message { connection, topic, payload } => {
                let sent = messages::publish(call, &connection.text(), &topic.text(), &self.payload(payload));
                self.count("message", sent.map(none));
            }
            Act::MasterPost { payload } => {
                self.count("masterPost", master::post(call, &self.payload(payload)).map(none));
            }
            Act::MasterSend { payload, how } => {
                let sent = master_await::send(call, &self.payload(payload), None);
                self.future("masterSend", *how, sent, none).await;
            }
            Act::MasterOptions { pointer } => {
                self.count("masterOptions", Ok(master::options(&pointer.text()).map(|text| text.len()).into()));
            }
            Act::Config { pointer } => self.count("config", Ok(config::get(call, &pointer.text()).into())),
            Act::Headers => {
                let id = call.unwrap_or_default();
                let (headers, header) = (http::headers(id).len(), http::header(id, "authorization"));
                let has_head = http::head(id).is_some();
                let facts = json!({ "headers": headers, "header": header, "head": has_head });
                // The last result is that of the last call that has any.
                let is_known = has_head || headers + header.len() > 0;
                self.count("headers", Ok(if is_known { facts } else { Value::Null }));
            }
            Act::Log { message, fields } => {
                let field = |n: usize| (format!("field{n}"), message.text());
                let fields: Vec<_> = (0..fields.unwrap_or(0)).map(field).collect();
                host::log(call, host::Level::Info, &message.text(), &fields);
                self.count("log", Ok(Value::Null));
            }
            other => self.calls(other).await,
        }
    }
}
