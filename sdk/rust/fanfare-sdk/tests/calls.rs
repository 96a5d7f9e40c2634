//! Many calls in one instance: which call work belongs to, how calls wait, and how they end.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::{Group, Origin, Passed, Target};
use fanfare_sdk::{caller, carry};

type Left = Pin<Box<dyn Future<Output = Option<u64>>>>;

thread_local! {
    static OPEN: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<u32> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Waker>> = RefCell::default();
    static LEFT: RefCell<Option<Left>> = const { RefCell::new(None) };
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

async fn opened() {
    poll_fn(|context| {
        if OPEN.get() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| waiting.push(context.waker().clone()));
        Poll::Pending
    })
    .await;
}

/// Waits for `open`. Returns whether its call was the current one before and after the wait.
#[handler]
async fn hold(cx: Context) -> Json<bool> {
    let current_before = caller() == Some(cx.id());
    HELD.set(HELD.get() + 1);
    opened().await;
    Json(current_before && caller() == Some(cx.id()))
}

/// Returns how many calls of `hold` have begun.
#[handler]
fn held() -> Json<u32> {
    Json(HELD.get())
}

#[handler]
fn open() {
    OPEN.set(true);
    WAITING.take().into_iter().for_each(Waker::wake);
}

/// Leaves a future that another call runs.
#[handler]
fn leave(cx: Context) -> Json<u64> {
    LEFT.set(Some(Box::pin(carry(async { caller() }))));
    Json(cx.id())
}

#[handler]
async fn run_left() -> Json<Option<u64>> {
    let left = LEFT.take().unwrap();
    Json(left.await)
}

#[handler]
async fn dive(levels: Json<u32>) -> Result<Json<u32>> {
    if *levels == 0 {
        return Ok(Json(0));
    }
    let below: u32 = rpc::call("/dive", Json(*levels - 1)).await?.json()?;
    Ok(Json(below + 1))
}

#[handler]
fn panics() {
    panic!("this handler always panics");
}

#[handler]
fn count() -> Json<u32> {
    COUNT.set(COUNT.get() + 1);
    Json(COUNT.get())
}

#[handler]
async fn impatient() -> Result<()> {
    rpc::to(Target::Worker(0)).timeout(Duration::from_millis(20)).call("/hold", ()).await?;
    Ok(())
}

#[handler]
fn tell_all() -> Result<Json<u32>> {
    Ok(Json(rpc::to(Group::Workers).subdomain("acme").notify("/told?x=1", "news")?))
}

#[handler]
fn told(text: Text, cx: Context) {
    let Origin::Guest(from) = cx.origin() else { panic!("the caller is not a guest") };
    info!("{} for {:?} from {}/{}", *text, cx.subdomain(), from.module, from.isolate; "query" => cx.query());
}

/// Returns the number of places that accept a call, or the kind of the error.
#[handler]
fn places(kind: Text) -> String {
    let unknown = || ("planet".to_owned(), "mars".to_owned());
    let accepted = match kind.as_str() {
        "nodes" => rpc::to(Group::Nodes).notify("/count", ()),
        "cluster" => rpc::to(Group::Cluster).notify("/count", ()),
        "channel" => rpc::to(Target::Channel("room/7".to_owned())).notify("/count", ()),
        "other group" => rpc::to(Group::Other(unknown())).notify("/count", ()),
        _ => rpc::to(Target::Other(unknown())).notify("/count", ()),
    };
    accepted.map_or_else(|error| error.kind().to_owned(), |count| count.to_string())
}

#[handler]
fn pass_on() -> Result<Passed> {
    Ok(Passed::new().with_payload("new")?.with_extra("fact", "1"))
}

fanfare_sdk::module!(
    hold, held, open, leave, run_left, dive, panics, count, impatient, tell_all, told, places, pass_on
);

#[test]
fn a_test_host_is_the_only_node_and_has_workers_only() {
    let host = TestHost::builder(Module).workers(3).start();
    for (kind, expected) in
        [("nodes", "1"), ("cluster", "3"), ("channel", "not-found"), ("other group", "invalid"), ("other", "invalid")]
    {
        assert_eq!(host.call("places", kind).unwrap().text(), expected, "{kind}");
    }
}

#[test]
fn a_pass_without_a_next_step_is_a_reply_with_its_payload() {
    let reply = TestHost::new(Module).call("pass_on", ()).unwrap();
    assert_eq!((reply.status, reply.text(), reply.extra.len()), (0, "new", 0));
}

/// Waits until this number of calls of `hold` wait in worker 0.
fn until_held(host: &TestHost, count: u32) {
    let begun = Instant::now();
    while host.call("held", ()).unwrap().json::<u32>().unwrap() < count {
        assert!(begun.elapsed() < Duration::from_secs(10), "{count} calls wait");
        std::thread::yield_now();
    }
}

#[test]
fn calls_interleave_and_each_stays_the_current_call() {
    let host = TestHost::new(Module);
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..3).map(|_| scope.spawn(|| host.call("hold", ()).unwrap().text().to_owned())).collect();
        until_held(&host, 3);
        host.call("open", ()).unwrap();
        for held in held {
            assert_eq!(held.join().unwrap(), "true");
        }
    });
}

#[test]
fn a_carried_future_belongs_to_its_call() {
    let host = TestHost::new(Module);
    let left: u64 = host.call("leave", ()).unwrap().json().unwrap();
    let ran_as: u64 = host.call("run_left", ()).unwrap().json().unwrap();
    assert_eq!(left, ran_as);
}

#[test]
fn a_chain_of_calls_ends_at_the_depth_limit() {
    let host = TestHost::new(Module);
    assert_eq!(host.call("dive", json!(16)).unwrap().text(), "16");
    assert_eq!(host.call("dive", json!(17)).unwrap_err().failure().unwrap().name, "too-deep");
}

#[test]
fn a_panic_ends_the_instance_and_all_its_calls() {
    let host = TestHost::builder(Module).workers(2).start();
    host.call("count", ()).unwrap();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| host.call("hold", ()));
        until_held(&host, 1);
        assert_eq!(host.call("panics", ()).unwrap_err().kind(), "crashed");
        assert_eq!(held.join().unwrap().unwrap_err().kind(), "crashed");
    });
    assert_eq!(host.call("count", ()).unwrap().text(), "1");
}

#[test]
fn a_call_past_its_timeout_fails_with_timeout() {
    let host = TestHost::builder(Module).workers(2).start();
    let error = host.request("impatient").on(1).send().unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.name.as_str(), failure.status), ("timeout", 504));
}

#[test]
fn notify_runs_the_route_in_every_worker_for_the_tenant() {
    let host = TestHost::builder(Module).name("shop").workers(2).start();
    assert_eq!(host.call("tell_all", ()).unwrap().text(), "2");
    host.settle();
    let mut logs = host.logs();
    logs.sort_by_key(|line| line.isolate.to_string());
    assert_eq!(logs.len(), 2);
    assert_eq!(logs[1].isolate, Isolate::Worker(1));
    assert_eq!(logs[1].message, r#"news for Some("acme") from shop/worker-0"#);
    assert_eq!(logs[1].fields, [("query".to_owned(), "x=1".to_owned())]);
}

#[cfg(feature = "spawn")]
mod spawning {
    use super::*;

    #[handler]
    fn later(cx: Context) {
        fanfare_sdk::spawn(async move {
            opened().await;
            info!("later"; "mine" => caller() == Some(cx.id()));
        });
    }

    mod component {
        fanfare_sdk::module!(super::later, crate::open);
    }

    #[test]
    fn spawned_work_continues_after_the_reply_and_belongs_to_its_call() {
        let host = TestHost::new(component::Module);
        host.call("later", ()).unwrap();
        assert!(host.logs().is_empty());
        host.call("open", ()).unwrap();
        let begin = std::time::Instant::now();
        while host.logs().is_empty() && begin.elapsed() < Duration::from_secs(5) {
            std::thread::yield_now();
        }
        assert_eq!(host.logs()[0].fields, [("mine".to_owned(), "true".to_owned())]);
    }
}
