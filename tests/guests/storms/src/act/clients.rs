//! The sessions of clients.

use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::WhenTaken;
use fanfare_sdk::types::Recipient;
use fanfare_sdk::wit::types::CallError;
use fanfare_sdk::wit::{sessions, sessions_await};

use super::{Act, none, session, text};
use crate::steps::{Run, own_session, recipient};

impl Run<'_> {
    pub(super) async fn clients(&mut self, act: &Act) {
        let call = self.caller;
        let result: (&'static str, Result<Value, CallError>) = match act {
            Act::Send { to, name, payload } => {
                let sent = sessions::send(call, &recipient(&to.text()), &name.text(), &self.payload(payload));
                ("send", sent.map(Into::into))
            }
            Act::Push { to, count, name, payload, how } => {
                let to: Vec<Recipient> = (0..*count).map(|_| recipient(&to.text())).collect();
                let sent = sessions_await::push(call, &to, &name.text(), &self.payload(payload));
                return self.future("push", *how, sent, |pushed| pushed.reached.into()).await;
            }
            Act::Ask { session: id, name, payload, timeout_ms, how } => {
                let id = session(id.as_ref());
                let answer = sessions_await::ask(call, &id, &name.text(), &self.payload(payload), *timeout_ms);
                return self.future("ask", *how, answer, none).await;
            }
            Act::AskAll { group, name, payload, how } => {
                for id in sessions::members(call, &group.text()).unwrap_or_default() {
                    let answer = sessions_await::ask(call, &id, &name.text(), &self.payload(payload), None);
                    self.future("askAll", *how, answer, none).await;
                }
                return;
            }
            Act::Current => {
                let current = sessions::current(call.unwrap_or_default());
                ("current", Ok(current.map(|session| session.id).into()))
            }
            Act::Look { session } => {
                ("look", sessions::look(call, &session.text()).map(|session| session.map(|session| session.id).into()))
            }
            Act::Find { uid } => ("find", sessions::find(call, &uid.text()).map(|found| found.len().into())),
            Act::FindAll { uid, how } => {
                let found = sessions_await::find(call, &uid.text());
                return self.future("findAll", *how, found, |found| found.len().into()).await;
            }
            Act::Get { session, key } => {
                let value = sessions::get(call, text(session.as_ref()).as_deref(), &key.text());
                ("get", value.map(|value| value.map(|value| value.len()).into()))
            }
            Act::Values { session } => {
                let values = sessions::values(call, text(session.as_ref()).as_deref());
                ("values", values.map(|values| values.len().into()))
            }
            Act::Set { session, key, count, size } => {
                let value = format!("\"{}\"", "x".repeat(size.saturating_sub(2)));
                let values: Vec<_> = (0..*count).map(|_| (key.text(), value.clone())).collect();
                ("set", sessions::set(call, text(session.as_ref()).as_deref(), &values).map(none))
            }
            Act::Remove { session, key, count } => {
                let keys: Vec<_> = (0..*count).map(|_| key.text()).collect();
                ("remove", sessions::remove(call, text(session.as_ref()).as_deref(), &keys).map(none))
            }
            Act::Read { session: id, how } => {
                let read = sessions_await::read(call, &session(id.as_ref()));
                return self.future("read", *how, read, |(_, values)| values.len().into()).await;
            }
            Act::Write { session: id, key, size, how } => {
                let values = [(key.text(), format!("\"{}\"", "x".repeat(*size)))];
                let written = sessions_await::write(call, &session(id.as_ref()), &values, &[]);
                return self.future("write", *how, written, none).await;
            }
            Act::Bind { session, uid, taken } => {
                let taken = match taken.as_str() {
                    "share" => WhenTaken::Share,
                    "replace" => WhenTaken::Replace,
                    _ => WhenTaken::Refuse,
                };
                ("bind", sessions::bind(call, text(session.as_ref()).as_deref(), &uid.text(), taken).map(none))
            }
            Act::Unbind { session } => ("unbind", sessions::unbind(call, text(session.as_ref()).as_deref()).map(none)),
            Act::Authenticate { claims, expires_ms } => {
                ("authenticate", sessions::authenticate(call, None, &claims.text(), *expires_ms).map(none))
            }
            Act::Deauthenticate => ("deauthenticate", sessions::deauthenticate(call, None).map(none)),
            Act::Disconnect { session, code, reason } => {
                let ended = sessions::disconnect(call, text(session.as_ref()).as_deref(), *code, &reason.text());
                ("disconnect", ended.map(none))
            }
            Act::Join { group, count } => {
                let own = own_session();
                let result = (0..*count)
                    .map(|_| sessions::join(call, &group.text(), std::slice::from_ref(&own)))
                    .try_fold(0, |sum, joined| joined.map(|joined| sum + joined));
                ("join", result.map(Into::into))
            }
            Act::Leave { group, count } => {
                ("leave", sessions::leave(call, &group.text(), &vec![own_session(); *count]).map(Into::into))
            }
            Act::GroupMembers { group } => {
                ("groupMembers", sessions::members(call, &group.text()).map(|members| members.len().into()))
            }
            Act::Count => ("count", Ok(json!(sessions::count()))),
            _ => return,
        };
        self.count(result.0, result.1);
    }
}
