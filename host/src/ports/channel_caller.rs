//! The rules for guests that use channels: which channels and sessions, and the sizes of arguments.

use super::{Caller, SessionCaller};
use crate::call::text::{NAME, line};
use crate::call::{CallError, Payload, channel};

/// A guest that uses channels. It may use its own channels, and needs the capability `channels` for
/// all others.
#[derive(Debug, Clone)]
pub struct ChannelCaller(Caller);

impl ChannelCaller {
    pub fn new(caller: Caller) -> ChannelCaller {
        ChannelCaller(caller)
    }

    /// Returns the caller after the checks.
    pub fn into_caller(self) -> Caller {
        self.0
    }

    /// Checks that the guest may use a channel. The channel `presence/<channel>` needs what
    /// `<channel>` needs.
    pub fn may_use(&self, name: &str) -> Result<(), CallError> {
        let Caller { module, capabilities, .. } = &self.0;
        check(name)?;
        let channel = channel::announced(name).unwrap_or(name);
        if capabilities.allows_channel(module, channel) {
            return Ok(());
        }
        Err(self.0.forbidden("channels", Some(channel)))
    }

    /// Checks that the guest may publish a payload to a channel.
    pub fn may_publish(&self, name: &str, payload: &Payload) -> Result<(), CallError> {
        self.may_use(name)?;
        may_be_published(name)?;
        self.0.check_size("the message", payload.len())
    }

    /// Checks that the guest may add a session to a channel, and remove it.
    pub fn may_change(&self, name: &str, session: &str) -> Result<(), CallError> {
        self.may_use(name)?;
        SessionCaller::new(self.0.clone()).named(session)
    }

    /// Checks the reason that a client receives when its subscription ends.
    pub fn reason(&self, message: &str) -> Result<(), CallError> {
        self.0.check_size("the reason", message.len())
    }
}

/// Checks the name of a channel.
pub fn check(name: &str) -> Result<(), CallError> {
    if channel::accepts(name) {
        return Ok(());
    }
    let shown = line(name, NAME);
    let why = format!("`{shown}` is no channel: its name has 1 to 256 bytes and no control characters");
    Err(CallError::Invalid(why))
}

/// Checks that a channel is not one on which the host announces members: only the host publishes
/// there.
pub fn may_be_published(name: &str) -> Result<(), CallError> {
    if channel::announced(name).is_none() {
        return Ok(());
    }
    let why = format!("only the host publishes to {}: it announces members there", line(name, NAME));
    Err(CallError::Forbidden(why))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::call::{Context, Deadline, IsolateId, Origin};
    use crate::config::Capabilities;
    use crate::config::capabilities::ChannelNames;

    fn caller(sessions: bool, channels: &[&str]) -> ChannelCaller {
        let deadline = Deadline::At(Instant::now() + Duration::from_secs(60));
        let mut context = Context::root(1, "chat".into(), IsolateId::Worker(0), Origin::Host, deadline);
        context.session = Some("n/own".into());
        let channels = ChannelNames(channels.iter().map(|pattern| (*pattern).to_owned()).collect());
        ChannelCaller::new(Caller {
            module: "chat".into(),
            isolate: IsolateId::Worker(0),
            capabilities: Arc::new(Capabilities { sessions, channels, ..Capabilities::default() }.into()),
            default_timeout: Duration::from_secs(1),
            max_payload: 8,
            max_subscriptions: 0,
            context: Some(Arc::new(context)),
        })
    }

    fn text(text: &str) -> Payload {
        Payload::Text(text.to_owned())
    }

    #[test]
    fn a_guest_may_use_its_own_channels_and_those_that_it_has() {
        let caller = caller(false, &["lobby", "room/*"]);
        for name in ["chat", "chat/1", "lobby", "room/7", "presence/chat/1", "presence/room/7"] {
            assert_eq!(caller.may_use(name), Ok(()), "{name}");
        }
        for name in ["chats", "room", "lobby/1", "presence/flags", "presence/"] {
            assert!(matches!(caller.may_use(name), Err(CallError::Forbidden(_))), "{name}");
        }
        let error = caller.may_use("presence/flags").unwrap_err().to_string();
        assert!(
            error.contains("no `channels` capability for flags: add \"flags\" to capabilities.channels"),
            "{error}"
        );
    }

    #[test]
    fn only_the_host_publishes_where_members_are_announced() {
        let caller = caller(false, &[]);
        assert_eq!(caller.may_publish("chat", &text("12345678")), Ok(()));
        let error = caller.may_publish("presence/chat", &text("1")).unwrap_err();
        assert_eq!(
            error,
            CallError::Forbidden("only the host publishes to presence/chat: it announces members there".into())
        );
        let error = caller.may_publish("chat", &text("123456789")).unwrap_err().to_string();
        assert_eq!(error, "the message has 9 bytes, but limits.payload of chat allows 8");
        assert!(caller.reason("12345678").is_ok() && caller.reason("123456789").is_err());
    }

    #[test]
    fn the_name_of_a_channel_is_bounded() {
        let caller = caller(false, &[]);
        assert_eq!(caller.may_use(&format!("chat/{}", "x".repeat(251))), Ok(()));
        for name in ["", "chat/\n", &format!("chat/{}", "x".repeat(252))] {
            assert!(matches!(caller.may_use(name), Err(CallError::Invalid(_))), "{name}");
        }
    }

    #[test]
    fn a_guest_needs_a_grant_for_the_membership_of_other_clients() {
        let own = caller(false, &[]);
        assert_eq!(own.may_change("chat", "n/own"), Ok(()));
        assert!(matches!(own.may_change("chat", "n/b"), Err(CallError::Forbidden(_))));
        assert!(matches!(own.may_change("flags", "n/own"), Err(CallError::Forbidden(_))));
        assert_eq!(caller(true, &[]).may_change("chat", "n/b"), Ok(()));
    }
}
