use super::*;
use crate::config::Capabilities;
use crate::config::capabilities::EventTypes;
use crate::ports::{Caller, Events};
use crate::triggers::events::Emitter;

pub(super) fn caller(worker: u32, events: &[&str]) -> Caller {
    let events = EventTypes(events.iter().map(|entry| (*entry).to_owned()).collect());
    Caller {
        module: "m".into(),
        isolate: IsolateId::Worker(worker),
        capabilities: Arc::new(Capabilities { events, ..Capabilities::default() }.into()),
        default_timeout: Duration::ZERO,
        max_payload: 20,
        max_subscriptions: 64,
        context: None,
    }
}

fn test() -> (Test, GuestEvents) {
    let test = Test::new(2);
    test.fake.quick.lock().push("m");
    *test.fake.routes.lock() = (vec!["on-order", "other"], "1");
    test.install("m", &[]);
    let guests = GuestEvents::new(
        Emitter::new(test.log.clone(), None, Arc::new(crate::ports::NoTopics)),
        test.subscriptions.clone(),
    );
    (test, guests)
}

pub(super) fn route(text: &str) -> RouteName {
    RouteName::within("m", text).unwrap()
}

fn pattern(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn a_guest_subscribes_in_its_own_isolate_until_it_ends_the_subscription() {
    let (test, guests) = test();
    let name = guests.subscribe(caller(1, &["*"]), pattern("order/*"), route("POST /on-order")).unwrap();
    assert_eq!(name, "order/* -> POST on-order");
    let again = guests.subscribe(caller(1, &["*"]), pattern("order/*"), route("POST on-order")).unwrap();
    assert_eq!((again, test.subscriptions.all().len()), (name.clone(), 1), "the same type and route");
    test.emit("order/paid", 1);
    test.calls(1).await;
    assert_eq!(test.seen(), [(1, "1".into())]);
    let error = guests.unsubscribe(caller(0, &["*"]), name.clone()).unwrap_err();
    assert_eq!(error.to_string(), "m has made no subscription `order/* -> POST on-order` in worker-0");
    guests.unsubscribe(caller(1, &["*"]), name).unwrap();
    test.emit("order/paid", 2);
    settle().await;
    assert_eq!((test.seen().len(), test.subscriptions.all().len()), (1, 0));
}

#[tokio::test]
async fn a_subscription_of_a_guest_lasts_over_swaps_until_its_route_or_its_module_is_gone() {
    let (test, guests) = test();
    guests.subscribe(caller(0, &["*"]), None, route("on-order")).unwrap();
    guests.subscribe(caller(0, &["*"]), None, route("other")).unwrap();
    test.install("m", &[]);
    assert_eq!(test.subscriptions.all().len(), 2);
    *test.fake.routes.lock() = (vec!["other"], "2");
    test.install("m", &[]);
    let left: Vec<_> = test.subscriptions.all().into_iter().map(|(key, _)| key.name.to_string()).collect();
    assert_eq!(left, ["* -> other"]);
    test.remove("m");
    assert!(test.subscriptions.all().is_empty());
}

#[tokio::test]
async fn a_guest_of_a_module_that_is_being_removed_cannot_subscribe() {
    let (test, guests) = test();
    test.remove("m");
    let error = guests.subscribe(caller(0, &["*"]), None, route("on-order")).unwrap_err();
    assert_eq!(error.to_string(), "m is not installed in worker-0, so it cannot subscribe there");
    assert!(matches!(error, CallError::Unavailable(_)) && test.subscriptions.all().is_empty());
}

#[tokio::test]
async fn a_subscription_of_a_generation_that_a_swap_prepares_stays_until_that_one_or_another_serves() {
    let (test, guests) = test();
    let names = || test.subscriptions.all().into_iter().map(|(key, _)| key.name.to_string()).collect::<Vec<_>>();
    guests.subscribe(caller(0, &["*"]), None, route("new")).unwrap();
    test.install("n", &[]);
    assert_eq!(names(), ["* -> new"], "a change of another module");
    *test.fake.routes.lock() = (vec!["new"], "2");
    test.install("m", &[]);
    assert_eq!(names(), ["* -> new"], "it serves");
    guests.subscribe(caller(0, &["*"]), None, route("newer")).unwrap();
    *test.fake.routes.lock() = (vec!["on-order"], "3");
    test.install("m", &[]);
    assert!(names().is_empty(), "a generation with neither serves");
}

#[tokio::test]
async fn a_guest_makes_a_bounded_number_of_subscriptions() {
    let (test, guests) = test();
    for n in 0..64 {
        guests.subscribe(caller(0, &["*"]), Some(n.to_string()), route("on-order")).unwrap();
    }
    let error = guests.subscribe(caller(0, &["*"]), pattern("64"), route("on-order")).unwrap_err();
    assert!(matches!(&error, CallError::Overloaded(why) if why.contains("64 subscriptions in worker-0")), "{error}");
    guests.subscribe(caller(0, &["*"]), pattern("63"), route("on-order")).unwrap();
    guests.subscribe(caller(1, &["*"]), pattern("64"), route("on-order")).unwrap();
    assert_eq!(test.subscriptions.all().len(), 65);
}

#[tokio::test]
async fn types_of_others_need_the_capability() {
    let (_test, guests) = test();
    let emit =
        |events: &[&str], kind: Option<&str>| guests.emit(caller(0, events), kind.map(str::to_owned), "1".into());
    assert!(emit(&[], Some("m/x")).is_ok() && emit(&["order/*"], Some("order/paid")).is_ok());
    let error = emit(&[], Some("order/paid")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "m has no `events` capability for order/paid: add \"order/paid\" to capabilities.events in its module.json, then run `fanfare grant m`"
    );
    assert!(matches!(emit(&["order/*"], None), Err(CallError::Forbidden(_))), "`message` is not the module's own");
    let subscribe = |events: &[&str], wanted: Option<&str>| {
        guests.subscribe(caller(0, events), wanted.map(str::to_owned), route("on-order"))
    };
    assert!(subscribe(&[], Some("m/*")).is_ok() && subscribe(&["*"], None).is_ok());
    for wanted in [None, Some("order/*"), Some("order/paid")] {
        assert!(matches!(subscribe(&[], wanted), Err(CallError::Forbidden(_))), "{wanted:?}");
    }
    for wrong in ["", "a\n", &"x".repeat(257)] {
        assert!(matches!(emit(&["*"], Some(wrong)), Err(CallError::Invalid(_))), "{wrong:?}");
        assert!(matches!(subscribe(&["*"], Some(wrong)), Err(CallError::Invalid(_))), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_value_is_json_and_has_a_limit() {
    let (test, guests) = test();
    test.install("m", &[("s", handled("*", settings()))]);
    let emit = |value: Payload| guests.emit(caller(0, &["*"]), pattern("t"), value);
    for value in ["{\"a\": 1}", "no json", "\"text\"", "7"] {
        emit(value.into()).unwrap();
    }
    emit(Payload::None).unwrap();
    test.calls(5).await;
    let payloads: Vec<String> = test.seen().into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(payloads, ["{\"a\": 1}", "\"no json\"", "\"text\"", "7", "null"]);
    assert!(matches!(emit(Payload::Bytes(vec![1])), Err(CallError::Invalid(_))));
    assert!(emit(Payload::Text("1".repeat(19))).is_ok());
    let error = emit(Payload::Text("1".repeat(20))).unwrap_err();
    assert_eq!(error.to_string(), "the event has 21 bytes, but limits.payload of m allows 20");
}
