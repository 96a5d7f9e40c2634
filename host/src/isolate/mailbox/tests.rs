use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::call::{Context, Deadline, IsolateId, Origin, Payload, Route, Trigger};

const ALL: Capacity = Capacity { accepts_plain: true, nested: 16 };

fn mailbox(mailbox: u32, broadcasts: u32) -> Mailbox {
    Mailbox::new(&Limits { mailbox, broadcasts, ..Limits::default() })
}

fn queued(id: u64) -> QueuedCall {
    let deadline = Deadline::AfterStart(Duration::from_secs(1));
    let context = Arc::new(Context::root(id, "m".into(), IsolateId::Worker(0), Origin::Host, deadline));
    let route = Arc::new(Route { deployment: 0, handler: "h".into(), text: "POST h".into(), chain: Vec::new() });
    let (trigger, query, payload) = (Trigger::Rpc, String::new(), Payload::None);
    let call = Call { context, route, trigger, params: vec![], query, payload, extra: vec![], exchange: None };
    QueuedCall::new(call, None)
}

fn taken(mailbox: &Mailbox, room: Capacity) -> Vec<u64> {
    std::iter::from_fn(|| mailbox.take(0, room)).map(|queued| queued.call.context.id).collect()
}

fn offer(mailbox: &Mailbox, lane: Lane, id: u64) -> bool {
    matches!(mailbox.offer(lane, queued(id)), Offer::Accepted)
}

#[test]
fn a_lane_accepts_as_many_calls_as_its_limit_and_returns_the_next_one() {
    let mailbox = mailbox(2, 1);
    assert!(offer(&mailbox, Lane::Calls, 1) && offer(&mailbox, Lane::Calls, 2));
    assert!(!offer(&mailbox, Lane::Calls, 3));
    assert_eq!(mailbox.refuses_broadcast(0), None);
    assert!(offer(&mailbox, Lane::Broadcasts, 4), "calls do not fill the lane of broadcasts");
    assert_eq!(mailbox.refuses_broadcast(0), Some("limits.broadcasts"));
    assert!(!offer(&mailbox, Lane::Broadcasts, 5));
}

/// A call with a payload of this size, and `other` bytes in every other part that it can have.
fn heavy(payload: usize, other: usize) -> QueuedCall {
    let text = || "x".repeat(other);
    let mut headers = http::HeaderMap::new();
    headers.insert("x-header", text().try_into().unwrap());
    let peer = ([127, 0, 0, 1], 1).into();
    let head = crate::call::RequestHead { headers, path: text(), authority: text(), peer };
    let deadline = Deadline::AfterStart(Duration::from_secs(1));
    let root = || Context::root(1, "m".into(), IsolateId::Worker(0), Origin::Host, deadline);
    let (mut parent, mut context) = (root(), root());
    parent.subdomain = Some(text().into());
    context.subdomain = Some(text().into());
    context.http = Some(Box::new(head));
    context.parent = Some(Arc::new(parent));
    let name = text().into();
    let broadcast = crate::call::Broadcast { name, id: 1, seq: 1, same_as_caller: false };
    let call = Call {
        context: Arc::new(context),
        route: Arc::new(Route { deployment: 0, handler: "h".into(), text: "POST h".into(), chain: Vec::new() }),
        trigger: Trigger::Broadcast(broadcast),
        params: vec![(text(), text())],
        query: text(),
        payload: Payload::Text("x".repeat(payload)),
        extra: vec![(text(), text())],
        exchange: None,
    };
    QueuedCall::new(call, None)
}

#[test]
fn the_weight_of_a_call_includes_every_part_of_it() {
    let bare = heavy(0, 0).call.weight();
    assert_eq!(heavy(10_000, 0).call.weight(), bare + 10_000);
    let context = ["header", "path", "authority", "subdomain", "parent's subdomain"];
    let parts = context.len() + ["name", "key", "value", "query", "fact", "value of the fact"].len();
    assert_eq!(heavy(0, 10_000).call.weight(), bare + 10_000 * parts as u64);
    let fixed = size_of::<QueuedCall>() + size_of::<Context>() + 16;
    assert!(queued(1).call.weight() >= 2 * fixed as u64, "twice, since a full lane has grown to twice its size");
}

#[test]
fn a_lane_accepts_calls_up_to_its_weight_and_an_empty_one_accepts_any_call() {
    let (first, second) = (heavy(500, 0), heavy(500, 10));
    let limits = Limits { queued: first.call.weight() + second.call.weight(), ..Limits::default() };
    let mailbox = Mailbox::new(&limits);
    let offer = |queued| matches!(mailbox.offer(Lane::Calls, queued), Offer::Accepted);
    assert!(offer(first) && offer(second), "exactly as much as the limit allows");
    assert!(matches!(mailbox.offer(Lane::Calls, queued(3)), Offer::Full("limits.queued", _)));
    assert!(mailbox.take(0, ALL).is_some());
    assert!(!offer(heavy(501, 0)), "a call that was taken makes room for its own weight and no more");
    assert!(offer(heavy(500, 0)));
    assert_eq!(taken(&mailbox, ALL).len(), 2);
    assert!(offer(heavy(10_000, 10_000)), "an empty lane accepts any call");
    assert!(!offer(queued(4)), "its weight counts when the next call arrives");
    assert!(mailbox.take_late(Lane::Calls).is_empty() && mailbox.take(0, ALL).is_some());
    assert!(offer(heavy(500, 0)) && offer(heavy(500, 10)), "no weight is left behind");
}

#[test]
fn a_closed_mailbox_returns_the_calls_that_wait_and_rejects_new_ones() {
    let mailbox = mailbox(8, 8);
    for (id, lane) in [(1, Lane::Calls), (2, Lane::Nested), (3, Lane::Broadcasts)] {
        offer(&mailbox, lane, id);
    }
    assert_eq!(mailbox.close(0).iter().map(|queued| queued.call.context.id).collect::<Vec<_>>(), [2, 1, 3]);
    for lane in [Lane::Calls, Lane::Nested, Lane::Broadcasts] {
        assert!(matches!(mailbox.offer(lane, queued(4)), Offer::Closed(_)), "{lane:?}");
    }
    assert_eq!(taken(&mailbox, ALL), [] as [u64; 0]);
}

#[test]
fn a_mark_holds_calls_but_not_nested_ones_and_earlier_broadcasts() {
    let mailbox = mailbox(8, 8);
    for (id, lane) in [(1, Lane::Calls), (2, Lane::Broadcasts), (3, Lane::Broadcasts)] {
        offer(&mailbox, lane, id);
    }
    mailbox.hold();
    for (id, lane) in [(4, Lane::Calls), (5, Lane::Nested), (6, Lane::Broadcasts)] {
        offer(&mailbox, lane, id);
    }
    assert!(!mailbox.has_quiesced());
    assert_eq!(taken(&mailbox, ALL), [5, 2, 3]);
    assert!(mailbox.has_quiesced());
    // A gather of a running call also lets the broadcasts before it start.
    offer(&mailbox, Lane::Broadcasts, 7);
    mailbox.pass_broadcasts();
    offer(&mailbox, Lane::Broadcasts, 8);
    assert_eq!(taken(&mailbox, ALL), [6, 7]);
    mailbox.release();
    assert_eq!(taken(&mailbox, ALL), [1, 8, 4]);
}

#[test]
fn only_the_appointed_instance_takes_calls() {
    let mailbox = mailbox(8, 8);
    mailbox.appoint(1, 0);
    mailbox.hold();
    (1..=3).for_each(|id| assert!(offer(&mailbox, Lane::Calls, id)));
    mailbox.close(0);
    (4..=5).for_each(|id| assert!(!offer(&mailbox, Lane::Calls, id)));
    mailbox.hand_over(2, &Limits { mailbox: 1, ..Limits::default() });
    assert!(offer(&mailbox, Lane::Calls, 6), "it is open again");
    assert!(!offer(&mailbox, Lane::Calls, 7), "with the new limits");
    assert!(mailbox.take(1, ALL).is_none() && !mailbox.is_appointed(1));
    assert_eq!(mailbox.take(2, ALL).map(|queued| queued.call.context.id), Some(6), "and without a mark");
    // An instance of the previous generation may act late: it belongs to an earlier era.
    mailbox.appoint(1, 0);
    assert!(mailbox.close(0).is_empty() && mailbox.is_appointed(2));
    assert!(offer(&mailbox, Lane::Calls, 8), "it stays open");
    mailbox.appoint(3, 1);
    assert_eq!(mailbox.take(3, ALL).map(|queued| queued.call.context.id), Some(8));
}

#[test]
fn a_full_lane_does_not_fill_another_one() {
    let mailbox = mailbox(1, 4);
    for id in 1..=4 {
        assert!(offer(&mailbox, Lane::Broadcasts, id));
    }
    assert!(offer(&mailbox, Lane::Calls, 5) && offer(&mailbox, Lane::Nested, 6));
    assert!(!offer(&mailbox, Lane::Calls, 7) && !offer(&mailbox, Lane::Nested, 8));
}

#[test]
fn broadcasts_and_calls_take_turns_and_keep_their_order() {
    let mailbox = mailbox(8, 8);
    for id in 1..=3 {
        offer(&mailbox, Lane::Calls, id);
        offer(&mailbox, Lane::Broadcasts, id + 10);
    }
    assert_eq!(taken(&mailbox, ALL), [1, 11, 2, 12, 3, 13]);
}

#[test]
fn nested_calls_start_first_and_alone_when_there_is_room_only_for_them() {
    let mailbox = mailbox(8, 8);
    offer(&mailbox, Lane::Calls, 1);
    offer(&mailbox, Lane::Nested, 2);
    assert_eq!(taken(&mailbox, Capacity { accepts_plain: false, nested: 1 }), [2]);
    assert_eq!(taken(&mailbox, Capacity { accepts_plain: false, nested: 0 }), [] as [u64; 0]);
    assert_eq!(taken(&mailbox, ALL), [1]);
}

#[test]
fn a_call_that_was_withdrawn_does_not_start_and_one_that_was_taken_is_not_withdrawn() {
    let mailbox = mailbox(2, 1);
    assert!(offer(&mailbox, Lane::Calls, 1) && offer(&mailbox, Lane::Calls, 2));
    assert_eq!(mailbox.withdraw(Lane::Calls, 2).map(|queued| queued.call.context.id), Some(2));
    assert!(mailbox.withdraw(Lane::Calls, 2).is_none());
    assert!(offer(&mailbox, Lane::Calls, 3), "its place and its weight are free");
    assert_eq!(taken(&mailbox, ALL), [1, 3]);
    assert!(mailbox.withdraw(Lane::Calls, 3).is_none());
    assert!(offer(&mailbox, Lane::Calls, 4) && mailbox.withdraw(Lane::Broadcasts, 4).is_none());
}
