//! What a node asks the home of a channel, when messages are missing or the channel moves.

use futures_util::FutureExt;

use super::*;
use crate::hub::Published;

const EPOCH: u64 = 7;

fn message(offset: u64) -> ChannelMessage {
    ChannelMessage { offset, at: 1, session: None, payload: Payload::Text(offset.to_string()) }
}

fn page(epoch: u64, offsets: std::ops::RangeInclusive<u64>) -> ChannelPage {
    let latest = *offsets.end();
    ChannelPage { epoch, messages: offsets.map(message).collect(), latest, complete: true }
}

/// A node that follows a channel with a history on the node `h`.
fn following() -> Bench {
    let bench = Bench::among_others();
    let kept = ChannelSettings { count: 9, age: Duration::from_secs(60), bytes: 1_000, ..ChannelSettings::default() };
    bench.rule(CHANNEL, ChannelRule::Open(kept));
    *bench.modules.home.lock() = Some("h");
    bench
}

fn receive(bench: &Bench, from: &str, epoch: u64, offset: u64) {
    let place = ChannelPlace { position: ChannelPosition { epoch, offset }, at: 1 };
    let payload = Payload::Text(offset.to_string());
    bench.service.receive(from, &CHANNEL.into(), Some(place), (None, payload));
}

async fn until_heard(bench: &Bench, expected: &[&str]) {
    until("the messages", || bench.heard.0.lock().len() >= expected.len()).await;
    assert_eq!(bench.heard(), expected);
}

fn missed(epoch: u64, offset: u64) -> ChannelAsk {
    ChannelAsk::Missed { after: Some(ChannelPosition { epoch, offset }), max_bytes: 1 << 20 }
}

#[tokio::test]
async fn what_is_missing_before_a_message_is_asked_for_at_once() {
    let bench = following();
    receive(&bench, "h", EPOCH, 1);
    assert_eq!(bench.heard(), ["1"]);
    bench.modules.pages.lock().push_back(page(EPOCH, 2..=4));
    receive(&bench, "h", EPOCH, 4);
    until_heard(&bench, &["2", "3", "4"]).await;
    assert_eq!(*bench.modules.asked.lock(), [("h".to_owned(), missed(EPOCH, 1))]);
    receive(&bench, "h", EPOCH, 5);
    assert_eq!(bench.heard(), ["5"], "nothing is missing");
    // What another node sends, which is not the home, comes from the home if at all.
    receive(&bench, "i", EPOCH, 6);
    assert_eq!(bench.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn the_next_home_of_a_channel_is_asked_for_what_it_has() {
    let bench = following();
    receive(&bench, "h", EPOCH, 1);
    assert_eq!(bench.heard(), ["1"]);
    *bench.modules.home.lock() = Some("i");
    bench.modules.pages.lock().push_back(page(EPOCH + 1, 1..=1));
    bench.service.follow_homes();
    until_heard(&bench, &["1"]).await;
    assert_eq!(*bench.modules.asked.lock(), [("i".to_owned(), missed(EPOCH, 1))]);
    receive(&bench, "i", EPOCH + 1, 2);
    assert_eq!(bench.heard(), ["2"]);
    // The connection was interrupted: every channel is asked for.
    bench.modules.pages.lock().push_back(page(EPOCH + 1, 3..=3));
    bench.service.missed();
    until_heard(&bench, &["3"]).await;
}

#[tokio::test]
async fn the_next_home_is_told_what_this_one_has_placed_until_it_knows() {
    let bench = following();
    *bench.modules.home.lock() = None;
    let settings = bench.service.rule(&CHANNEL.into(), &Actor::host(Duration::ZERO)).unwrap().settings;
    let message = Published { payload: "own".into(), session: None, settings: &settings };
    let position = bench.service.hub.channels.publish_at_home(CHANNEL, message).unwrap().position;
    *bench.modules.home.lock() = Some("h");
    bench.service.follow_homes();
    // It cannot be reached for a while.
    until("it is asked again and again", || bench.modules.asked.lock().len() >= 7).await;
    assert!(bench.service.settle_all().now_or_never().is_none());
    bench.modules.pages.lock().push_back(page(position.epoch + 1, 1..=1));
    bench.service.settle_all().await;
    let asked = std::mem::take(&mut *bench.modules.asked.lock());
    assert!(asked.iter().all(|ask| *ask == ("h".to_owned(), missed(position.epoch, position.offset))), "{asked:?}");
    bench.service.follow_homes();
    bench.service.settle_all().await;
    assert_eq!(*bench.modules.asked.lock(), []);
}

#[tokio::test]
async fn a_channel_that_moves_while_a_route_decides_accepts_nothing_here() {
    let bench = Bench::among_others();
    let kept = ChannelSettings { count: 9, age: Duration::from_secs(60), bytes: 1_000, ..ChannelSettings::default() };
    bench.route(&[ChannelAction::Publish], kept);
    bench.publish("late");
    bench.until_calls(1).await;
    *bench.modules.home.lock() = Some("h");
    bench.end(0, pass(None));
    bench.until_done(&["late: unavailable"]).await;
    assert_eq!(bench.heard(), Vec::<String>::new());
}
