//! What a session knows about its user.

use std::collections::BTreeSet;

use fanfare_sdk::prelude::*;

/// A user who is signed in. It is a value of the session, which lasts as long as the connection.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Person {
    pub uid: String,
    /// The name that others see.
    pub name: String,
    /// The groups of the session. The hook `disconnect` needs them: when it runs, the session is in
    /// no group any more.
    pub groups: BTreeSet<String>,
}

impl Person {
    /// The name of the value. All modules see the values of a session.
    pub const KEY: &str = "lobby";

    pub fn new(uid: &str) -> Person {
        Person { uid: uid.to_owned(), name: uid.to_owned(), groups: BTreeSet::new() }
    }

    pub fn of(session: &Session) -> Result<Option<Person>> {
        session.get(Self::KEY)
    }

    /// Returns the user of a session that is bound. A session that was replaced is not.
    pub fn signed_in(session: &Session) -> Result<Person> {
        let person = session.uid().and_then(|_| Person::of(session).transpose()).transpose()?;
        person.ok_or_else(|| Failure::new("not-signed-in", "sign in first").with_status(401))
    }

    /// Returns `None` if the session has ended, or if it is not signed in.
    pub fn with_session(id: &str) -> Option<Person> {
        Person::of(&sessions::look(id).ok()??).ok()?
    }

    pub fn store(&self, session: &Session) -> Result<()> {
        session.set(Self::KEY, self)
    }

    /// Returns what others may see.
    pub fn public(&self) -> Value {
        json!({ "uid": self.uid, "name": self.name })
    }

    pub fn check_is_in(&self, group: &str) -> Result<()> {
        if self.groups.contains(group) {
            return Ok(());
        }
        Err(Failure::forbidden("not-a-member", format!("join the group {group} first")))
    }

    /// Returns whether the user has another session in this group.
    pub fn is_also_in(&self, group: &str, session: &Session) -> Result<bool> {
        let others = sessions::find(&self.uid)?;
        let mut others = others.iter().filter(|id| *id != session.id()).filter_map(|id| Person::with_session(id));
        Ok(others.any(|other| other.groups.contains(group)))
    }
}
