use std::sync::Arc;

use super::*;
use crate::call::{Context, Deadline, Extra, Route};

fn extra() -> Extra {
    vec![("first".into(), "1".into()), ("first".into(), "2".into()), (String::new(), String::new())]
}

#[test]
fn extra_facts_and_nodes_reach_the_guest() {
    let origin = Origin::Guest { module: "m".into(), isolate: IsolateId::Worker(1), node: Some("n-2".into()) };
    let deadline = Deadline::AfterStart(Duration::from_secs(1));
    let route = Route { deployment: 0, handler: "h".into(), text: "POST h".into(), chain: Vec::new() };
    let call = Call {
        context: Arc::new(Context::root(7, "m".into(), IsolateId::Worker(0), origin, deadline)),
        route: Arc::new(route),
        trigger: Trigger::Rpc,
        params: vec![],
        query: String::new(),
        payload: Payload::None,
        extra: extra(),
        exchange: None,
    };
    let call = super::call(call, Duration::from_secs(1));
    assert_eq!(call.extra, extra());
    let wit::Origin::Guest(origin) = call.origin else { panic!("{:?}", call.origin) };
    assert_eq!(origin.node.as_deref(), Some("n-2"));

    let (isolate, node) = (IsolateId::Worker(1), Some("n-2".to_owned()));
    let reply = Reply { extra: extra(), ..Reply::default() };
    let entry = wit::Entry::from(GatherEntry { isolate, node: node.clone(), outcome: Ok(reply) });
    assert_eq!((entry.node.as_deref(), entry.outcome.unwrap().extra), (Some("n-2"), extra()));

    let skipped = vec![Skipped { isolate, node, reason: "failed".into() }];
    let receipt = wit::Receipt::from(Receipt { id: 1, seq: 2, accepted: 3, skipped, extra: extra() });
    assert_eq!((receipt.skipped[0].node.as_deref(), receipt.extra), (Some("n-2"), extra()));

    let failure = Failure { extra: extra(), ..Failure::default() };
    let wit::CallError::Failure(failure) = CallError::Failure(failure).into() else { panic!() };
    assert_eq!(failure.extra, extra());
    let wit::CallError::Other(other) = CallError::Other("kind".into(), "why".into()).into() else { panic!() };
    assert_eq!(other, ("kind".into(), "why".into()));
}

#[test]
fn extra_facts_of_a_guest_reach_the_host() {
    let payload = Some(wit::Payload::Text("new".into()));
    let Outcome::Pass(passed) = wit::Outcome::Pass(wit::Passed { payload, extra: extra() }).into() else { panic!() };
    assert_eq!(passed, Passed { payload: Some(Payload::Text("new".into())), extra: extra() });
    let reply = wit::Reply { status: 0, headers: vec![], payload: wit::Payload::None, extra: extra() };
    assert_eq!(Reply::from(reply).extra, extra());
    let (name, message, data) = (String::new(), String::new(), wit::Payload::None);
    assert_eq!(Failure::from(wit::Failure { name, message, status: 0, data, extra: extra() }).extra, extra());
    let what = wit::Emission { module: None, name: "n".into(), subdomain: None, extra: extra() };
    assert_eq!(Emission::from(what).extra, extra());
    let options = wit::CallOptions { timeout_ms: None, subdomain: None, extra: extra() };
    assert_eq!(CallOptions::from(options).extra, extra());
}

#[test]
fn a_stream_reaches_the_guest_with_its_key_and_its_last_event_id_as_json() {
    for (id, expected) in
        [(None, r#"{"key":"a\"b","lastEventId":null}"#), (Some("1-2"), r#"{"key":"a\"b","lastEventId":"1-2"}"#)]
    {
        let trigger = Trigger::Stream { key: "a\"b".into(), last_event_id: id.map(Arc::from) };
        let wit::Trigger::Other((kind, data)) = trigger.into() else { panic!() };
        assert_eq!((kind.as_str(), data.as_str()), ("stream", expected));
    }
}

#[test]
fn a_clients_message_and_its_filters_reach_the_guest() {
    let message =
        || ClientTrigger { session: "n-1/a".into(), name: "chat.say".into(), socket: None, wants_reply: true };
    for trigger in [Trigger::Client(message()), Trigger::Filter(FilterStage::Before(message()))] {
        let wit::Trigger::Client(message) = trigger.into() else { panic!() };
        assert_eq!((&*message.session, &*message.name, message.wants_reply), ("n-1/a", "chat.say", true));
    }
    let after = FilterStage::After { route: "POST say".into(), status: 0 };
    let wit::Trigger::Other((kind, data)) = Trigger::Filter(after).into() else { panic!() };
    assert_eq!((kind.as_str(), data.as_str()), ("after", r#"{"route":"POST say","status":0}"#));
    let route = Trigger::Route { server: "chat".into(), event: "room.say".into() };
    let wit::Trigger::Other((kind, data)) = route.into() else { panic!() };
    assert_eq!((kind.as_str(), data.as_str()), ("route", r#"{"server":"chat","event":"room.say"}"#));
    let wit::Origin::Session(id) = (&Origin::Session("n-1/a".into())).into() else { panic!() };
    assert_eq!(id, "n-1/a");
}

#[test]
fn every_target_and_group_keeps_its_kind_and_its_name() {
    let text = || "t".to_owned();
    let targets = [
        (wit::Target::Any, Target::Any),
        (wit::Target::Worker(1), Target::Isolate(IsolateId::Worker(1))),
        (wit::Target::Broker(1), Target::Isolate(IsolateId::Broker(1))),
        (wit::Target::Master, Target::Isolate(IsolateId::Master)),
        (wit::Target::Node(text()), Target::Node(text())),
        (wit::Target::Server(text()), Target::Server(text())),
        (wit::Target::Channel(text()), Target::Channel(text())),
        (wit::Target::Session(text()), Target::Session(text())),
        (wit::Target::Other(("kind".into(), text())), Target::Other("kind".into(), text())),
    ];
    for (given, expected) in targets {
        assert_eq!(Target::from(given), expected);
    }
    let groups = [
        (wit::Group::Workers, Group::Workers),
        (wit::Group::Brokers, Group::Brokers),
        (wit::Group::Servers(text()), Group::Servers(text())),
        (wit::Group::Nodes, Group::Nodes),
        (wit::Group::Cluster, Group::Cluster),
        (wit::Group::Other(("kind".into(), text())), Group::Other("kind".into(), text())),
    ];
    for (given, expected) in groups {
        assert_eq!(Group::from(given), expected);
    }
}
