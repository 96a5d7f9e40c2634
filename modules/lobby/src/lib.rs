//! A lobby for people: they sign in with a token, choose a name, talk in groups, and write to each
//! other.
//!
//! Each action is a handler. A client of SocketCluster calls it by the name of its route, and gets
//! the reply or the failure as the answer. A plain WebSocket has one socket and no answers, so its
//! messages go to [`message`], which calls the handler that the message names and sends the answer
//! as a message.
//!
//! Everything about a client is in its session, so the module has no state that a swap, a crash or
//! a kill could lose.

use std::collections::BTreeMap;

use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::{Recipient, WhenTaken};

mod files;
mod person;

use files::{page, script, style};
use person::Person;

/// The characters of a text.
const MAX_TEXT: usize = 1_000;

/// The characters of a name, of a person or of a group.
const MAX_NAME: usize = 40;

/// The members of a group that `members` looks at.
const MAX_MEMBERS: usize = 200;

/// `config` of the module.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    /// The user that each token belongs to.
    tokens: BTreeMap<String, String>,
    same_user: SameUser,
}

/// What happens when a user signs in who is signed in already.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum SameUser {
    /// The new session is refused.
    Refuse,
    /// The user has several sessions, and all of them receive private messages.
    Share,
    /// The host closes the old session with the code 4010.
    Replace,
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
}

#[derive(Deserialize)]
struct Rename {
    name: String,
}

#[derive(Deserialize)]
struct Whisper {
    to: String,
    text: String,
}

#[derive(Deserialize)]
struct Group {
    group: String,
}

#[derive(Deserialize)]
struct Say {
    group: String,
    text: String,
}

/// A message of a plain WebSocket, such as `{"do": "rename", "name": "Ada L.", "id": 1}`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Action {
    SignIn(SignIn),
    Rename(Rename),
    Whisper(Whisper),
    Join(Group),
    Leave(Group),
    Members(Group),
    Say(Say),
}

/// Each message of a plain WebSocket. The reply has the `id` of the message, and either `ok` or
/// `error`, because a failure would send nothing to the client.
#[handler]
fn message(session: Session, body: Payload) -> Json<Value> {
    let body: Value = body.json().unwrap_or_default();
    let id = body["id"].clone();
    Json(match Action::deserialize(body).map_err(invalid).and_then(|action| run(session, action)) {
        Ok(Json(ok)) => json!({ "id": id, "ok": ok }),
        Err(failure) => {
            if failure.status >= 500 {
                error!("a message fails: {failure}");
            }
            json!({ "id": id, "error": { "name": failure.name, "message": failure.message } })
        }
    })
}

fn invalid(error: impl std::fmt::Display) -> Failure {
    Failure::bad_request("invalid", format!("not a message of the lobby: {error}"))
}

fn run(session: Session, action: Action) -> Result<Json<Value>> {
    match action {
        Action::SignIn(request) => sign_in(session, Json(request)),
        Action::Rename(request) => rename(session, Json(request)),
        Action::Whisper(request) => whisper(session, Json(request)),
        Action::Join(request) => join(session, Json(request)),
        Action::Leave(request) => leave(session, Json(request)),
        Action::Members(request) => members(session, Json(request)),
        Action::Say(request) => say(session, Json(request)),
    }
}

/// Binds the session to the user of the token.
#[handler]
fn sign_in(session: Session, request: Json<SignIn>) -> Result<Json<Value>> {
    let config: Config = config::all()?;
    let unknown = || Failure::forbidden("unknown-token", "nobody has this token");
    let uid = config.tokens.get(&request.token).ok_or_else(unknown)?;
    if let Some(before) = Person::of(&session)?.filter(|before| before.uid != *uid) {
        before.groups.iter().try_for_each(|group| session.leave(&key(group)).map(drop))?;
        session.remove(Person::KEY)?;
        left_groups(&session, &before)?;
    }
    let taken = match config.same_user {
        SameUser::Refuse => WhenTaken::Refuse,
        SameUser::Share => WhenTaken::Share,
        SameUser::Replace => WhenTaken::Replace,
    };
    session.bind(uid, taken).map_err(|error| match error {
        CallError::Forbidden(_) => Failure::conflict("signed-in", format!("{uid} is signed in elsewhere")),
        other => other.into(),
    })?;
    let person = Person::of(&session)?.unwrap_or_else(|| Person::new(uid));
    person.store(&session)?;
    Ok(Json(json!(person)))
}

/// Changes the name that others see.
#[handler]
fn rename(session: Session, request: Json<Rename>) -> Result<Json<Value>> {
    let mut person = Person::signed_in(&session)?;
    person.name = checked("a name", &request.name, MAX_NAME)?;
    person.store(&session)?;
    for group in &person.groups {
        tell(to_group(group), "renamed", json!({ "group": group, "from": person.public() }))?;
    }
    Ok(Json(json!(person)))
}

/// Sends a private message to a user.
#[handler]
fn whisper(session: Session, request: Json<Whisper>) -> Result<Json<Value>> {
    let person = Person::signed_in(&session)?;
    let text = checked("a text", &request.text, MAX_TEXT)?;
    let message = json!({ "from": person.public(), "to": request.to, "text": text });
    match tell(Recipient::Uid(request.to.clone()), "whispered", message)? {
        0 => Err(Failure::not_found("not-here", format!("{} is not signed in", request.to))),
        reached => Ok(Json(json!({ "reached": reached }))),
    }
}

/// Enters a group, which exists as long as it has members.
#[handler]
fn join(session: Session, request: Json<Group>) -> Result<Json<Value>> {
    let mut person = Person::signed_in(&session)?;
    let group = checked("the name of a group", &request.group, MAX_NAME)?;
    if session.join(&key(&group))? {
        person.groups.insert(group.clone());
        person.store(&session)?;
        tell(to_group(&group), "joined", json!({ "group": group, "from": person.public() }))?;
    }
    members(session, Json(Group { group }))
}

/// Leaves a group.
#[handler]
fn leave(session: Session, request: Json<Group>) -> Result<Json<Value>> {
    let mut person = Person::signed_in(&session)?;
    if person.groups.remove(&request.group) {
        session.leave(&key(&request.group))?;
        person.store(&session)?;
        left_group(&session, &person, &request.group)?;
    }
    Ok(Json(json!(person)))
}

/// Lists who is in a group.
#[handler]
fn members(session: Session, request: Json<Group>) -> Result<Json<Value>> {
    Person::signed_in(&session)?.check_is_in(&request.group)?;
    let ids = sessions::members(&key(&request.group))?;
    // A user may have several sessions. One that has just ended has no person any more.
    let people = ids.iter().take(MAX_MEMBERS).filter_map(|id| Person::with_session(id));
    let people: BTreeMap<String, Value> = people.map(|person| (person.uid.clone(), person.public())).collect();
    let people: Vec<Value> = people.into_values().collect();
    Ok(Json(json!({ "group": request.group, "members": people, "sessions": ids.len() })))
}

/// Sends a text to a group, also to the sender.
#[handler]
fn say(session: Session, request: Json<Say>) -> Result<Json<Value>> {
    let person = Person::signed_in(&session)?;
    person.check_is_in(&request.group)?;
    let text = checked("a text", &request.text, MAX_TEXT)?;
    let message = json!({ "group": request.group, "from": person.public(), "text": text });
    Ok(Json(json!({ "reached": tell(to_group(&request.group), "said", message)? })))
}

/// The hook `disconnect`: tells the groups that the session has ended. The host has already removed
/// it from them.
#[handler]
fn left(session: Session) -> Result<()> {
    Person::of(&session)?.map_or(Ok(()), |person| left_groups(&session, &person))
}

fn left_groups(session: &Session, person: &Person) -> Result<()> {
    person.groups.iter().try_for_each(|group| left_group(session, person, group))
}

/// Tells a group that someone has left it, unless the user has another session in it.
fn left_group(session: &Session, person: &Person, group: &str) -> Result<()> {
    if !person.is_also_in(group, session)? {
        tell(to_group(group), "left", json!({ "group": group, "from": person.public() }))?;
        // The user may have joined again in another worker meanwhile.
        if person.is_also_in(group, session)? {
            tell(to_group(group), "joined", json!({ "group": group, "from": person.public() }))?;
        }
    }
    Ok(())
}

/// Sends an event. Its name is also in the payload, because a plain WebSocket receives nothing
/// else.
fn tell(to: Recipient, event: &str, mut payload: Value) -> Result<u32> {
    payload["event"] = event.into();
    Ok(sessions::send(to, event, payload)?)
}

/// The group of the host. Groups belong to all modules, so those of the lobby have a prefix.
fn key(group: &str) -> String {
    format!("lobby/{group}")
}

fn to_group(group: &str) -> Recipient {
    Recipient::Group(key(group))
}

/// Returns the text without spaces around it.
fn checked(what: &str, text: &str, max: usize) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > max || text.contains(char::is_control) {
        let message = format!("{what} has 1 to {max} characters, and none of them is a control character");
        return Err(Failure::bad_request("invalid", message));
    }
    Ok(text.to_owned())
}

fanfare_sdk::module!(page, style, script, message, sign_in, rename, whisper, join, leave, members, say, left);

#[cfg(test)]
mod tests;
