//! The result of a call.

use serde::{Deserialize, Serialize};

use super::{CallError, Extra, Failure, IsolateId, Payload, pairs, written};

/// The result of a handler that did not fail.
#[derive(Debug, Clone)]
pub enum Outcome {
    Reply(Reply),
    /// The call continues with its next step.
    Pass(Passed),
}

/// The data for the next step of a call, from the step that passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// The new payload. `None` keeps the payload that arrived.
    pub payload: Option<Payload>,
    /// Facts for the next steps. The last step drops them.
    pub extra: Extra,
}

impl Passed {
    /// Applies what a step of `module` passes to the payload and the facts of the next step.
    pub fn apply(self, module: &str, payload: &mut Payload, facts: &mut Extra) {
        if let Some(new) = self.payload {
            *payload = new;
        }
        facts.extend(self.extra.into_iter().map(|(name, value)| (format!("{module}.{name}"), value)));
    }
}

/// The facts of a step before a route: those of the earlier steps, and the route.
pub fn facts_before(facts: &Extra, route: &str) -> Extra {
    let mut extra = facts.clone();
    extra.push(("for".to_owned(), route.to_owned()));
    extra
}

impl Outcome {
    /// Converts to the reply that the caller of a plain route receives: see `outcome` in
    /// `wit/types.wit`.
    pub fn into_reply(self) -> Reply {
        match self {
            Outcome::Reply(reply) => reply,
            Outcome::Pass(passed) => Reply { payload: passed.payload.unwrap_or_default(), ..Reply::default() },
        }
    }
}

/// The reply of a handler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// The HTTP status: 200 to 599, or 0 for the default. [`Reply::effective_status`] resolves it.
    pub status: u16,
    /// The names and values of header fields, in the handler's order. A name can repeat.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub payload: Payload,
    /// Pairs that later versions may add.
    pub extra: Extra,
}

impl Reply {
    /// The size of the text besides the payload, in bytes.
    fn text_len(&self) -> usize {
        pairs(&self.headers) + pairs(&self.extra)
    }

    /// The status, with 0 resolved to 200, or to 204 for a reply without payload.
    pub fn effective_status(&self) -> u16 {
        match (self.status, &self.payload) {
            (0, Payload::None) => 204,
            (0, _) => 200,
            (status, _) => status,
        }
    }
}

/// The final result of a call, as its caller receives it.
pub type CallResult = Result<Outcome, CallError>;

/// The result from one isolate, of a call that goes to several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatherEntry {
    /// The isolate.
    pub isolate: IsolateId,
    /// The isolate's node. `None` means this node.
    pub node: Option<String>,
    /// The reply, or why there is none.
    #[serde(with = "written::outcome")]
    pub outcome: Result<Reply, CallError>,
}

/// The sizes of a handler's result in bytes: of the payload, and of the text besides it.
pub fn sizes(result: &Result<Outcome, Failure>) -> (usize, usize) {
    match result {
        Ok(Outcome::Reply(reply)) => (reply.payload.len(), reply.text_len()),
        Ok(Outcome::Pass(passed)) => (passed.payload.as_ref().map_or(0, Payload::len), pairs(&passed.extra)),
        Err(failure) => (failure.data.len(), failure.name.len() + failure.message.len() + pairs(&failure.extra)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(bytes: usize) -> Extra {
        vec![("n".repeat(bytes), "v".repeat(bytes))]
    }

    #[test]
    fn a_pass_in_the_last_step_becomes_a_reply_with_its_payload_only() {
        let reply = |payload| Outcome::Pass(Passed { payload, extra: extra(1) }).into_reply();
        assert_eq!(reply(None), Reply::default());
        let payload = Payload::Text("new".into());
        assert_eq!(reply(Some(payload.clone())), Reply { payload, ..Reply::default() });
    }

    #[test]
    fn a_step_replaces_the_payload_and_adds_facts_under_the_name_of_its_module() {
        let (mut payload, mut facts) = (Payload::Text("old".into()), Extra::new());
        let fact = |value: &str| vec![("uid".to_owned(), value.to_owned())];
        Passed { payload: None, extra: fact("1") }.apply("lobby", &mut payload, &mut facts);
        assert_eq!((&payload, facts_before(&facts, "POST say").len()), (&Payload::Text("old".into()), 2));
        Passed { payload: Some(Payload::None), extra: fact("2") }.apply("lobby", &mut payload, &mut facts);
        let expected = [("lobby.uid".to_owned(), "1".to_owned()), ("lobby.uid".to_owned(), "2".to_owned())];
        assert_eq!((payload, facts.as_slice()), (Payload::None, expected.as_slice()));
    }

    #[test]
    fn the_size_of_a_handlers_result_includes_its_facts() {
        let payload = Some(Payload::Text("abc".into()));
        assert_eq!(sizes(&Ok(Outcome::Pass(Passed { payload, extra: extra(5) }))), (3, 10));
        assert_eq!(sizes(&Ok(Outcome::Reply(Reply { extra: extra(5), ..Reply::default() }))), (0, 10));
        assert_eq!(sizes(&Err(Failure { extra: extra(5), ..Failure::default() })), (0, 10));
    }
}
