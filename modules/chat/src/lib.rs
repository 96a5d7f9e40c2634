//! A chat in rooms. A room is a channel of the host, `chat/room/<name>`, so the host keeps the last
//! messages, knows who is there, and sends each message to everyone in the room.
//!
//! The module only decides: who has which name ([`sign_in`]), who may enter a room, and what may be
//! said there ([`room`]). It has no state of its own that a swap, a crash or a kill could lose,
//! because the name of a client is in its session.

use fanfare_sdk::channels::Action;
use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::{self, WhenTaken};
use fanfare_sdk::types::Passed;

mod files;
mod spam;

use files::{connection_script, page, room_script, script, style};

/// What the names of the channels begin with. A room's name follows.
const ROOM: &str = "chat/room/";

/// The values of a session. The host never sends a value whose name begins with `_` to another
/// node.
const NAME: &str = "chat-name";
const SECRET: &str = "_chat-secret";

/// The most characters of a person's name, a room's name and a text.
const MAX_NAME: usize = 24;
const MAX_ROOM: usize = 24;
const MAX_TEXT: usize = 500;

/// The characters of a secret and of a message's key.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

#[derive(Deserialize)]
struct SignIn {
    name: String,
    /// A random text that only this person knows.
    secret: String,
}

/// A message as the client sends it.
#[derive(Deserialize)]
struct Draft {
    text: String,
    /// A random text of the client. If it does not learn whether a message was published, it sends
    /// the message again with the same key, and readers show a key once.
    #[serde(default)]
    key: String,
}

/// Gives the session a name, which nobody else has meanwhile.
///
/// A client that connects again may find that the host has not noticed the end of its old
/// connection. Its secret lets it replace that connection, which ends with the code 4010.
#[handler]
fn sign_in(session: Session, request: Json<SignIn>) -> Result<Json<Value>> {
    let name = clean("a name", &request.name, MAX_NAME)?;
    if !SECRET_LENGTH.contains(&request.secret.len()) {
        return Err(invalid(format!("a secret has {SECRET_LENGTH:?} characters")));
    }
    if session.get::<String>(NAME)?.is_some_and(|old| old != name) {
        return Err(Failure::conflict("signed-in", "connect again to take another name"));
    }
    let uid = format!("chat:{}", name.to_lowercase());
    match session.bind(&uid, WhenTaken::Refuse) {
        Err(CallError::Forbidden(_)) if are_all_of(&uid, &request.secret)? => session.bind(&uid, WhenTaken::Replace)?,
        Err(CallError::Forbidden(_)) => {
            return Err(Failure::conflict("name-taken", format!("{name} is here already: choose another name")));
        }
        other => other?,
    }
    session.set_all([(NAME, &name), (SECRET, &request.secret)])?;
    Ok(Json(json!({ "name": name })))
}

/// Returns whether every session of a user has this secret.
fn are_all_of(uid: &str, secret: &str) -> Result<bool> {
    for id in sessions::find(uid)? {
        // A session that has ended meanwhile is in nobody's way.
        let Some(session) = sessions::look(&id)? else { continue };
        if session.get::<String>(SECRET)?.as_deref() != Some(secret) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The route of the channels: the host asks it before a client enters a room, and about each
/// message before it is published.
#[handler]
async fn room(event: ChannelEvent, session: Option<Session>, body: Payload) -> Result<Passed> {
    match event.action {
        Action::Subscribe => enter(&event.channel, session.as_ref()),
        Action::Publish => say(session.as_ref(), &body).await,
        _ => Ok(Passed::new()),
    }
}

/// Lets a client enter a room. The payload is what others see of a member.
fn enter(channel: &str, session: Option<&Session>) -> Result<Passed> {
    let room = channel.strip_prefix(ROOM).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(1..=MAX_ROOM).contains(&room.len()) || !room.chars().all(is_name) {
        return Err(invalid(format!("a room has a name of 1 to {MAX_ROOM} of the characters a-z, 0-9 and -")));
    }
    Passed::new().with_payload(json!({ "name": name_of(session)? }))
}

/// Publishes a text under the name in the session, so that nobody can speak for somebody else. A
/// guest or the operator has no session: its messages have no name, and no scorer sees them.
async fn say(session: Option<&Session>, body: &Payload) -> Result<Passed> {
    let draft: Draft = body.json().map_err(|error| invalid(format!("not a message: {error}")))?;
    if draft.key.len() > *SECRET_LENGTH.end() {
        return Err(invalid(format!("a key has at most {} characters", SECRET_LENGTH.end())));
    }
    let text = clean("a text", &draft.text, MAX_TEXT)?;
    let name = session.map(|session| name_of(Some(session))).transpose()?;
    if name.is_some() {
        spam::refuse_spam(&text).await?;
    }
    Passed::new().with_payload(json!({ "name": name, "text": text, "key": draft.key }))
}

fn name_of(session: Option<&Session>) -> Result<String> {
    let name = session.map(|session| session.get(NAME)).transpose()?.flatten();
    name.ok_or_else(|| Failure::new("not-signed-in", "sign in first").with_status(401))
}

/// Replaces each run of spaces and control characters by one space. Refuses a text that is then
/// empty or too long.
fn clean(what: &str, text: &str, max: usize) -> Result<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let text = words.collect::<Vec<_>>().join(" ");
    if text.is_empty() || text.chars().count() > max {
        return Err(invalid(format!("{what} has 1 to {max} characters")));
    }
    Ok(text)
}

fn invalid(message: String) -> Failure {
    Failure::bad_request("invalid", message)
}

fanfare_sdk::module!(page, style, script, room_script, connection_script, sign_in, room);

#[cfg(test)]
mod tests;
