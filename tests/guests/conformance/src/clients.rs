//! Connected clients.

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::serde_json::Map;
use fanfare_sdk::sessions::{Recipient, WhenTaken};
use fanfare_sdk::sse::Event;
use fanfare_sdk::types::Origin;

use crate::kind_of;
use crate::live::KEY;

#[derive(Deserialize)]
pub struct Who {
    r#as: Option<String>,
}

#[handler]
pub fn upgrade(who: Query<Who>, cx: Context) -> Result<Pass> {
    match who.r#as.as_deref() {
        Some("ada" | "bob") => Ok(Pass),
        None if cx.header("x-user").is_some() => Ok(Pass),
        _ => Err(Failure::new("no-such-user", "use ?as=ada or ?as=bob").with_status(401)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "do")]
pub enum Deed {
    Values,
    Group,
    Push,
    Sign,
    Fail,
    Leave,
    Channel,
}

#[handler]
pub async fn room(cx: Context, session: Session, Json(deed): Json<Deed>) -> Result<Outcome> {
    let reply = match deed {
        Deed::Values => values(&cx, &session).await?,
        Deed::Group => group(&session)?,
        Deed::Push => push().await?,
        Deed::Sign => sign(&cx, &session)?,
        Deed::Fail => return Err(Failure::new("no-deed", "there is nothing to do")),
        Deed::Leave => {
            session.leave("team")?;
            session.disconnect(4001, "goodbye")?;
            return ().into_outcome();
        }
        Deed::Channel => attend(&session).await?,
    };
    reply.into_outcome()
}

async fn values(cx: &Context, session: &Session) -> Result<Value> {
    session.bind("user-1", WhenTaken::Share)?;
    session.send("note", json!({ "note": "first" }))?;
    session.set_all([("name", &json!({ "a": 1 })), ("list", &json!([1]))])?;
    let value: Option<Value> = session.get("name")?;
    let values = session.values()?;
    session.remove("name")?;
    sessions::apply().await?;
    let now = session.read_again()?.ok_or("the session has ended")?;
    let message = cx.client_message().ok_or("only a client calls this route")?;
    let is_origin = *cx.origin() == Origin::Session(now.id().to_owned());
    Ok(json!({
        "kind": cx.trigger().kind(), "id": cx.param("id"), "wants": message.wants_reply,
        "mine": message.session == now.id() && session.id() == now.id() && is_origin, "uid": now.uid(),
        "protocol": now.protocol(), "value": value, "values": values,
        "left": session.values()?.keys().collect::<Vec<_>>(), "none": session.get::<Value>("none")?,
    }))
}

fn group(session: &Session) -> Result<Value> {
    session.unbind()?;
    session.bind("user-2", WhenTaken::Refuse)?;
    session.set("name", "bob")?;
    let joined = u32::from(session.join("team")?);
    let found = sessions::find("user-2")?;
    let is_bob = |id: &String| Ok(sessions::look(id)?.is_some_and(|found| found.uid() == Some("user-2")));
    let found = found.iter().map(is_bob).collect::<Result<Vec<bool>>>()?.into_iter().filter(|is_bob| *is_bob).count();
    let (all, bound) = sessions::count();
    let members = sessions::members("team")?.len();
    Ok(json!({ "joined": joined, "members": members, "found": found, "sessions": all, "bound": bound }))
}

async fn push() -> Result<Value> {
    sessions::send(Recipient::Group("team".to_owned()), "note", json!("to the group"))?;
    let to = ["user-2", "nobody"].map(|uid| Recipient::Uid(uid.to_owned()));
    let pushed = sessions::push(to, "note", json!("to user-2")).await?;
    sessions::send(Recipient::Everyone, "note", json!("to all"))?;
    let shown = |one: &Recipient| match one {
        Recipient::Uid(uid) => json!({ "uid": uid }),
        other => format!("{other:?}").into(),
    };
    let unknown: Vec<_> = pushed.unknown.iter().map(shown).collect();
    let bobs = sessions::find_everywhere("user-2").await?;
    let bob = bobs.first().ok_or("bob is not connected")?;
    let (_, read) = sessions::read(bob.id()).await?;
    let five = Map::from_iter([("five".to_owned(), 5.into())]);
    sessions::write(bob.id(), &five, &["name"]).await?;
    let ask = kind_of(sessions::ask(bob.id(), "question", "?").await);
    Ok(json!({
        "reached": pushed.reached, "unknown": unknown, "silent": pushed.silent, "ask": ask, "read": read,
        "written": bob.get::<u32>("five")?,
    }))
}

fn sign(cx: &Context, session: &Session) -> Result<Value> {
    session.authenticate_for(&json!({ "name": "carol" }), Duration::from_secs(60))?;
    let now = session.read_again()?.ok_or("the session has ended")?;
    let mut claims: Map<String, Value> = now.claims()?.ok_or("the client has no token")?;
    let time = |claim: Option<Value>| claim.and_then(|claim| claim.as_f64());
    let expires = time(claims.remove("exp")) > time(claims.remove("iat"));
    session.deauthenticate()?;
    let after: Option<Value> = session.read_again()?.and_then(|session| session.claims().transpose()).transpose()?;
    let message = cx.client_message().ok_or("only a client calls this route")?;
    Ok(json!({
        "name": message.name, "protocol": now.protocol(), "claims": claims, "expires": expires, "after": after,
    }))
}

async fn attend(session: &Session) -> Result<Value> {
    let name = "conformance/room";
    channels::add(name, session.id())?;
    let count = channels::count(name);
    let members = channels::members(name).await?;
    channels::kick_out(name, session.id(), "enough")?;
    let uid = members.first().and_then(|member| member.uid.as_deref());
    Ok(json!({ "count": count, "uid": uid, "after": channels::count(name) }))
}

#[derive(Deserialize)]
pub struct Closed {
    code: u16,
}

#[handler]
pub fn left(cx: Context, closed: Json<Closed>) -> Result<()> {
    let hook = cx.hook().ok_or("only a hook calls this route")?;
    let facts = json!({ "kind": cx.trigger().kind(), "name": hook.name, "code": closed.code });
    sse::publish(KEY, Event::new(facts).with_event("left"))?;
    Ok(())
}

/// Rust has a session only as an argument, so `apply` stands for all functions that need one.
#[handler]
pub async fn clients(session: Option<Session>) -> Result<Json<Value>> {
    let id = |session: Option<Session>| session.map(|session| session.id().to_owned());
    let (get, look) = (kind_of(sessions::apply().await), sessions::look("nobody")?);
    Ok(Json(json!({ "session": id(session), "get": get, "look": id(look) })))
}
