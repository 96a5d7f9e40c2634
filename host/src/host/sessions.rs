//! Connected clients, for the embedding program.

use std::time::Duration;

use super::RunningHost;
use crate::call::{CallError, Payload, Pushed, Recipient, SessionInfo};
use crate::ports::{ClientEvent, SessionValues, session_caller as rules};

impl RunningHost {
    /// Returns the session of a connected client. `None` if this node has no session with this id:
    /// the client has disconnected.
    ///
    /// [`Status::clients`](crate::api::Status) counts the sessions.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost, id: &str) {
    /// if let Some(session) = host.session(id) {
    ///     println!("{} is {:?}, from {}", session.id, session.uid, session.ip);
    /// }
    /// # }
    /// ```
    pub fn session(&self, id: &str) -> Option<SessionInfo> {
        self.services.ports.sessions.look(id)
    }

    /// Returns the sessions that modules have bound to a user.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// println!("ada has {} windows", host.sessions_of("ada").len());
    /// # }
    /// ```
    pub fn sessions_of(&self, uid: &str) -> Vec<SessionInfo> {
        let sessions = &self.services.ports.sessions;
        sessions.find(uid).iter().filter_map(|id| sessions.look(id)).collect()
    }

    /// Returns the ids of the sessions in a group, sorted.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// for session in host.group_members("room/7").iter().filter_map(|id| host.session(id)) {
    ///     println!("{:?}", session.uid);
    /// }
    /// # }
    /// ```
    pub fn group_members(&self, group: &str) -> Vec<String> {
        self.services.ports.sessions.members(group).iter().map(|id| id.to_string()).collect()
    }

    /// Returns the values of a session, sorted by name: each name with its JSON text. Fails with
    /// [`CallError::NotFound`] without such a session.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost, id: &str) -> Result<(), fanfare::CallError> {
    /// for (name, json) in host.session_values(id)? {
    ///     println!("{name}: {json}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn session_values(&self, id: &str) -> Result<Vec<(String, String)>, CallError> {
        self.services.ports.sessions.values(id)
    }

    /// Sets values of a session, each a name with its JSON text: all of them, or none if this
    /// fails.
    ///
    /// Fails with [`CallError::NotFound`] without such a session, with [`CallError::Invalid`] if a
    /// text is not JSON or the values exceed `websocket.sessionSize`, and with
    /// [`CallError::Unavailable`] once a stop has begun.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost, id: &str) -> Result<(), fanfare::CallError> {
    /// host.set_session_values(id, vec![("plan".to_owned(), r#""gold""#.to_owned())])?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_session_values(&self, id: &str, values: Vec<(String, String)>) -> Result<(), CallError> {
        self.check_running()?;
        let values: SessionValues = values;
        rules::values(&values)?;
        self.services.ports.sessions.set(id, values, &[])
    }

    /// Sends a message to clients of all nodes: to a session, a user, a group, or all. Returns the
    /// number of sessions of this node that it is queued for, and does not wait for the other
    /// nodes. A recipient without sessions is not an error. A plain
    /// WebSocket receives the payload without the name.
    ///
    /// Fails with [`CallError::Invalid`] if a name has no bytes or more than 256, or if the message
    /// has more than `limits.max.payload` bytes, and with [`CallError::Unavailable`] once a stop
    /// has begun.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// use fanfare::Recipient;
    ///
    /// let room = Recipient::Group("room/7".to_owned());
    /// host.send_to_clients(room, "notice", r#"{ "text": "closing soon" }"#)?;
    /// let text = r#"{ "text": "hello" }"#;
    /// let reached = host.send_to_clients(Recipient::Everyone, "notice", text)?;
    /// println!("{reached} clients");
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_to_clients(&self, to: Recipient, name: &str, payload: impl Into<Payload>) -> Result<u32, CallError> {
        self.check_running()?;
        rules::recipient(&to)?;
        let event = self.event(name, payload.into(), to.names_len())?;
        self.services.ports.sessions.send(&to, event)
    }

    /// Sends a message to several recipients on all nodes, and returns which of them have no
    /// session, and which nodes have not answered. A session
    /// that several recipients stand for receives the message once for each of them. A recipient
    /// that is named twice counts once. Fails like [`RunningHost::send_to_clients`], and with
    /// [`CallError::Invalid`] for more than 10,000 recipients.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// use fanfare::Recipient;
    ///
    /// let users = ["ada", "bob"].map(|user| Recipient::Uid(user.to_owned()));
    /// let pushed = host.push_to_clients(users, "invited", r#"{ "room": 7 }"#).await?;
    /// println!("{} sessions; away: {:?}", pushed.reached, pushed.unknown);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn push_to_clients(
        &self,
        to: impl IntoIterator<Item = Recipient>,
        name: &str,
        payload: impl Into<Payload>,
    ) -> Result<Pushed, CallError> {
        self.check_running()?;
        let to: Vec<Recipient> = to.into_iter().collect();
        rules::recipients(&to)?;
        let event = self.event(name, payload.into(), to.iter().map(Recipient::names_len).sum())?;
        self.services.ports.sessions.push(to, event).await
    }

    /// Sends a message to a client of SocketCluster, and returns its answer. Waits for at most
    /// `timeout` and `websocket.ackTimeout`.
    ///
    /// Fails with [`CallError::Failure`] if the client answers with an error, with
    /// [`CallError::Timeout`], with [`CallError::NotFound`] without such a session, with
    /// [`CallError::Invalid`] for a plain WebSocket, which has no answers, and with
    /// [`CallError::Unavailable`] if the session ends meanwhile or a stop has begun.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost, id: &str) -> Result<(), fanfare::CallError> {
    /// let answer = host.ask_client(id, "version", (), None).await?;
    /// println!("{}", answer.to_text());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ask_client(
        &self,
        session: &str,
        name: &str,
        payload: impl Into<Payload>,
        timeout: Option<Duration>,
    ) -> Result<Payload, CallError> {
        self.check_running()?;
        let event = self.event(name, payload.into(), session.len())?;
        let timeout = timeout.unwrap_or(Duration::MAX);
        self.services.ports.sessions.ask(session.to_owned(), event, timeout).await
    }

    /// Ends a session after everything that is queued for its client is sent. The code is 1000, or
    /// 4000 to 4999, and the reason has at most 123 bytes.
    ///
    /// Fails with [`CallError::Invalid`] for another code or a longer reason, and with
    /// [`CallError::NotFound`] without such a session.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// for session in host.sessions_of("mallory") {
    ///     host.disconnect_client(&session.id, 4403, "banned")?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn disconnect_client(&self, session: &str, code: u16, reason: &str) -> Result<(), CallError> {
        rules::close(code, reason)?;
        self.services.ports.sessions.disconnect(session, code, reason.to_owned())
    }

    /// Checks a message of the embedding program.
    fn event(&self, name: &str, payload: Payload, names: usize) -> Result<ClientEvent, CallError> {
        let max = self.swapper.config.limits.max.payload;
        rules::event(name.to_owned(), payload, names, max, "limits.max.payload")
    }
}
