//! What a module's entry in `channels` means for one channel, and what its route's outcome means.

use std::sync::Arc;

use crate::call::{
    CallError, CallResult, ChannelAction, ChannelActions, ChannelRule, ChannelSettings, Failure, Outcome, Payload,
    Reply, channel,
};

/// The rule of a channel that may be used.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub settings: ChannelSettings,
    /// The module whose route is asked, and about what.
    route: Option<(Arc<str>, ChannelActions)>,
    /// The channel that the route is asked about.
    pub subject: Arc<str>,
}

impl Rule {
    /// The rule of a channel that no route decides about.
    pub fn open(channel: &Arc<str>, settings: ChannelSettings) -> Rule {
        Rule { settings, route: None, subject: channel.clone() }
    }

    /// `None` if no module declares the channel.
    pub fn new(channel: &Arc<str>, rule: ChannelRule) -> Result<Option<Rule>, CallError> {
        match rule {
            ChannelRule::Undeclared => Ok(None),
            ChannelRule::Open(settings) => Ok(Some(Rule::open(channel, settings))),
            ChannelRule::Routed { module, settings, on } => {
                let subject = channel::announced(channel).map_or_else(|| channel.clone(), Arc::from);
                let settings = ChannelSettings { is_for_each: on.has(ChannelAction::Deliver), ..settings };
                Ok(Some(Rule { settings, route: Some((module, on)), subject }))
            }
            ChannelRule::Unavailable(error) => Err(error),
        }
    }

    /// The module whose route is asked about an action.
    pub fn asks(&self, action: ChannelAction) -> Option<&Arc<str>> {
        self.route.as_ref().filter(|(_, on)| on.has(action)).map(|(module, _)| module)
    }

    /// The module that has the route. An empty name without a route.
    pub fn module(&self) -> Arc<str> {
        self.route.as_ref().map(|(module, _)| module.clone()).unwrap_or_default()
    }

    /// Whether one node, the home of the channel, gives the messages their places.
    pub fn has_home(&self) -> bool {
        self.settings.count > 0 || self.asks(ChannelAction::Publish).is_some()
    }

    /// Whether an action calls the route before or after it happens, so that it goes through the
    /// line of the channel.
    pub fn needs_line(&self, action: ChannelAction) -> bool {
        let afterwards = match action {
            ChannelAction::Subscribe => Some(ChannelAction::Join),
            ChannelAction::Unsubscribe => Some(ChannelAction::Leave),
            ChannelAction::Publish => Some(ChannelAction::Deliver),
            ChannelAction::Deliver | ChannelAction::Join | ChannelAction::Leave => None,
        };
        self.asks(action).is_some() || afterwards.is_some_and(|action| self.asks(action).is_some())
    }
}

/// What the route decides: it allows the action, perhaps with another payload, or refuses it.
pub(super) fn decision(result: CallResult) -> Result<Option<Payload>, CallError> {
    match result? {
        Outcome::Pass(passed) => Ok(passed.payload),
        Outcome::Reply(reply) if reply.effective_status() < 300 => Ok(None),
        Outcome::Reply(Reply { status, payload, .. }) => Err(CallError::Failure(Failure {
            name: "refused".to_owned(),
            message: format!("the route of the channel refuses with the status {status}"),
            status: if status < 400 { 403 } else { status },
            data: payload,
            ..Failure::default()
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Passed;

    #[test]
    fn a_pass_may_change_the_payload_and_only_a_reply_of_300_or_more_refuses() {
        let text = |text: &str| Payload::Text(text.to_owned());
        let pass = |payload| decision(Ok(Outcome::Pass(Passed { payload, ..Passed::default() })));
        assert_eq!((pass(None), pass(Some(text("b")))), (Ok(None), Ok(Some(text("b")))));
        let reply = |status| decision(Ok(Outcome::Reply(Reply { status, payload: text("c"), ..Reply::default() })));
        assert_eq!((reply(0), reply(200), reply(299)), (Ok(None), Ok(None), Ok(None)));
        for (status, shown) in [(300, 403), (403, 403), (503, 503)] {
            let Err(CallError::Failure(failure)) = reply(status) else { panic!("{status} refuses") };
            assert_eq!((failure.name.as_str(), failure.status, failure.data), ("refused", shown, text("c")));
        }
        assert_eq!(decision(Err(CallError::Timeout(None))), Err(CallError::Timeout(None)));
    }

    #[test]
    fn an_action_needs_the_line_if_the_route_is_asked_before_or_after_it() {
        use ChannelAction::{Deliver, Join, Leave, Publish, Subscribe, Unsubscribe};
        let channel: Arc<str> = "room".into();
        for (on, expected) in [
            (vec![], [false, false, false]),
            (vec![Subscribe], [true, false, false]),
            (vec![Join], [true, false, false]),
            (vec![Leave], [false, true, false]),
            (vec![Deliver], [false, false, true]),
            (vec![Publish, Unsubscribe], [false, true, true]),
        ] {
            let rule = ChannelRule::Routed {
                module: "m".into(),
                settings: ChannelSettings::default(),
                on: on.iter().copied().collect(),
            };
            let rule = Rule::new(&channel, rule).unwrap().unwrap();
            assert_eq!([Subscribe, Unsubscribe, Publish].map(|action| rule.needs_line(action)), expected, "{on:?}");
        }
        assert!(!Rule::open(&channel, ChannelSettings::default()).needs_line(Publish));
    }
}
