//! Handlers that use the event service and brokers outside.

use fanfare_sdk::prelude::*;

/// An event or a message, as a test writes it.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// The type of an event. Null for an event without a type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    pub connection: String,
    /// The topic of a message.
    pub topic: String,
    /// The value of an event, or the message as JSON.
    pub value: Value,
    /// Text in place of `value`.
    pub text: Option<String>,
    /// Bytes in place of `value`.
    pub bytes: Option<Vec<u8>>,
    /// Text of this many bytes in place of `value`.
    pub size: Option<usize>,
    /// How many times to send it. The default is once.
    pub count: Option<u32>,
}

impl Spec {
    fn payload(&self) -> Payload {
        match (&self.bytes, &self.text, self.size) {
            (Some(bytes), _, _) => Payload::Bytes(bytes.clone()),
            (None, Some(text), _) => Payload::Text(text.clone()),
            (None, None, Some(size)) => Payload::Text("x".repeat(size)),
            (None, None, None) => Payload::Text(self.value.to_string()),
        }
    }

    /// Sends it `count` times. Stops at the first error.
    fn send(&self, mut send: impl FnMut() -> Result<(), CallError>) -> Result<Json<u32>> {
        let count = self.count.unwrap_or(1);
        (0..count).try_for_each(|_| send())?;
        Ok(Json(count))
    }
}

/// Emits an event. Returns how many times.
#[handler]
pub fn emit_event(spec: Json<Spec>) -> Result<Json<u32>> {
    spec.send(|| events::emit(spec.event_type.as_deref(), spec.payload()))
}

/// Publishes a message. Returns how many times.
#[handler]
pub fn publish_message(spec: Json<Spec>) -> Result<Json<u32>> {
    spec.send(|| messages::publish(&spec.connection, &spec.topic, spec.payload()))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    pub pattern: Option<String>,
    pub route: String,
}

/// Subscribes a route. Returns the name of the subscription.
#[handler]
pub fn subscribe(wanted: Json<Wanted>) -> Result<String> {
    Ok(events::subscribe(wanted.pattern.as_deref(), &wanted.route)?)
}

/// Ends the subscription whose name is the body.
#[handler]
pub fn unsubscribe(name: Text) -> Result<()> {
    Ok(events::unsubscribe(&name)?)
}
