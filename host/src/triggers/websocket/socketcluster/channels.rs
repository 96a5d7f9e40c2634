//! The events of the protocol that this host does not serve: channels, and events that it does not
//! know. A client that waits for an answer gets the error of a SocketCluster server.

use serde_json::{Value, json};

use crate::call::Payload;

/// The error of an event whose name begins with `#`. `id` is the session as the client knows it.
pub(super) fn refuse(name: &str, data: &Payload, id: &str, allows_publish: bool) -> Value {
    let channel = channel(data);
    let broker = |message: String| json!({ "message": message, "name": "BrokerError" });
    match name {
        "#subscribe" => {
            broker(format!("Failed to subscribe socket to the {channel} channel - this server has no channels"))
        }
        "#unsubscribe" => broker(format!(
            "Failed to unsubscribe socket from the {channel} channel - Socket {id} tried to unsubscribe from a \
             channel which it is not subscribed to"
        )),
        "#publish" if !allows_publish => {
            json!({ "message": "Client publish feature is disabled", "name": "InvalidActionError" })
        }
        "#publish" => broker(format!("Failed to publish to the {channel} channel - this server has no channels")),
        _ => json!({ "message": "there is no such event", "name": "NotFoundError", "code": "not-found" }),
    }
}

/// The longest name of a channel in an error.
const MAX_NAME: usize = 256;

/// The channel of an event: `{"channel": ".."}` or only the name.
fn channel(data: &Payload) -> String {
    let json: Value = serde_json::from_slice(data.as_bytes()).unwrap_or_default();
    let name = json.get("channel").unwrap_or(&json);
    crate::call::text::line(name.as_str().unwrap_or("undefined"), MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_channels_answers_with_the_errors_of_socketcluster() {
        let error = |name: &str, data: &str, allows| {
            let error = refuse(name, &Payload::Text(data.to_owned()), "ID", allows);
            (error["name"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
        };
        let (name, message) = error("#subscribe", r#"{"channel":"room"}"#, true);
        assert_eq!((name.as_str(), message.contains("the room channel")), ("BrokerError", true), "{message}");
        let (_, message) = error("#unsubscribe", r#""room""#, true);
        assert!(message.ends_with("Socket ID tried to unsubscribe from a channel which it is not subscribed to"));
        let (name, message) = error("#publish", r#"{"channel":"room","data":1}"#, false);
        assert_eq!((name.as_str(), message.as_str()), ("InvalidActionError", "Client publish feature is disabled"));
        assert!(error("#publish", "null", true).1.contains("the undefined channel"));
        assert_eq!(error("#nobody", "1", true).0, "NotFoundError");
    }
}
