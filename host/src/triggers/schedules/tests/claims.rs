//! Due times that one node of the cluster runs.

use super::*;
use crate::ports::{BoxFuture, Claim, Tick};

const GRANTED: Claim = Claim::Granted { after: 0 };
const TAKEN: Claim = Claim::Taken { runs: false };

pub(super) type Answer = oneshot::Sender<Result<Claim, CallError>>;

/// Nodes that answer a claim when the test says so.
#[derive(Default)]
pub(super) struct Nodes {
    asked: Mutex<VecDeque<(Tick, Answer)>>,
    ended: Mutex<Vec<u64>>,
    done: Mutex<Vec<Option<u64>>>,
}

impl Ticks for Nodes {
    fn claim(&self, tick: Tick, _: u64) -> BoxFuture<Result<Claim, CallError>> {
        let (answer, answered) = oneshot::channel();
        self.asked.lock().push_back((tick, answer));
        Box::pin(async { answered.await.unwrap() })
    }

    fn ended(&self, tick: Tick, done: Option<u64>) -> BoxFuture<Result<(), CallError>> {
        self.ended.lock().push(tick.due - START);
        self.done.lock().push(done.map(|done| done - START));
        Box::pin(std::future::ready(Ok(())))
    }
}

fn nodes(settings: &str) -> (Fixture, Arc<Nodes>) {
    let nodes = Arc::new(Nodes::default());
    (Fixture::of(START, vec![schedule("s", settings)], Some(nodes.clone())), nodes)
}

impl Nodes {
    /// The number of claims that have no answer.
    pub(super) fn asked(&self) -> usize {
        self.asked.lock().len()
    }

    /// The oldest claim.
    pub(super) fn take(&self) -> (Tick, Answer) {
        self.asked.lock().pop_front().expect("a claim")
    }

    /// What was handled with each run that has ended.
    pub(super) fn done(&self) -> Vec<Option<u64>> {
        self.done.lock().clone()
    }

    /// Answers the oldest claim, and waits until the scheduler has taken the answer.
    pub(super) async fn answer(&self, fixture: &Fixture, claim: Result<Claim, CallError>) -> Tick {
        let (tick, answer) = self.take();
        let before: u32 = fixture.schedules.state.lock().claiming.values().sum();
        answer.send(claim).unwrap();
        until(|| fixture.schedules.state.lock().claiming.values().sum::<u32>() < before).await;
        tick
    }
}

fn away() -> Result<Claim, CallError> {
    Err(CallError::Unavailable("NATS is away".to_owned()))
}

#[tokio::test]
async fn a_due_time_runs_once_it_is_granted() {
    let (fixture, nodes) = nodes(r#"{ "interval": "1s" }"#);
    assert_eq!(fixture.pass(1_000), [0; 0], "nothing runs before the nodes agree");
    let tick = nodes.answer(&fixture, Ok(GRANTED)).await;
    assert_eq!((tick.due, tick.immediate, tick.overlaps), (START + 1_000, false, true));
    until(|| fixture.status().succeeded == 1).await;
    until(|| *nodes.ended.lock() == [1_000]).await;
    assert_eq!(fixture.taken().len(), 1);
    fixture.pass(1_000);
    nodes.answer(&fixture, Ok(TAKEN)).await;
    fixture.pass(1_000);
    nodes.answer(&fixture, Ok(Claim::Overlaps)).await;
    let status = fixture.status();
    assert_eq!((status.succeeded, status.skipped, status.missed), (1, 1, 0));
    assert_eq!((fixture.taken().len(), nodes.ended.lock().len()), (0, 1));
}

#[tokio::test]
async fn without_an_answer_a_due_time_is_missed_or_runs_as_the_schedule_says() {
    let (fixture, nodes) = nodes(r#"{ "interval": "1s" }"#);
    fixture.pass(1_000);
    nodes.answer(&fixture, away()).await;
    assert_eq!((fixture.status().missed, fixture.taken().len()), (1, 0));
    let (fixture, nodes) = self::nodes(r#"{ "interval": "1s", "whenAlone": "fire" }"#);
    fixture.pass(1_000);
    nodes.answer(&fixture, away()).await;
    until(|| fixture.status().succeeded == 1).await;
    assert_eq!(nodes.ended.lock().len(), 0, "no node knows of it");
}

#[tokio::test]
async fn the_claims_of_a_schedule_are_bounded() {
    let (fixture, nodes) = nodes(r#"{ "interval": "1s" }"#);
    let before = bounds::SCHEDULE_RUNS.reached();
    for _ in 0..=MOST_RUNS {
        fixture.pass(1_000);
    }
    assert_eq!((nodes.asked.lock().len(), fixture.status().missed), (MOST_RUNS as usize, 1));
    assert!(bounds::SCHEDULE_RUNS.reached() > before);
    nodes.answer(&fixture, Ok(TAKEN)).await;
    fixture.pass(1_000);
    assert_eq!(fixture.status().missed, 1);
}

#[tokio::test]
async fn a_run_in_every_worker_and_one_by_hand_need_no_claim() {
    let nodes = Arc::new(Nodes::default());
    let all = Schedule { kind: ScheduleKind::All, ..schedule("s", r#"{ "interval": "1s" }"#) };
    let fixture = Fixture::of(START, vec![all], Some(nodes.clone()));
    assert_eq!(fixture.pass(1_000), [1_000, 1_000]);
    let by_hand = ByHand { module: "m", name: "s", subdomain: None, payload: Payload::None, timeout: Duration::MAX };
    assert_eq!(fixture.schedules.run_by_hand(by_hand).await.unwrap().1.len(), 2);
    assert_eq!(nodes.asked.lock().len(), 0);
}
