use std::time::{Duration, Instant};

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Outcome;

use super::Module;
use super::buckets::{Buckets, Limit, MOST};

fn host() -> TestHost {
    TestHost::builder(Module).config(json!({ "rate": 0.001, "burst": 2, "by": "all" })).start()
}

#[test]
fn a_caller_has_its_burst_and_then_its_rate() {
    let (begun, limit) = (Instant::now(), Limit::new(2.0, 3.0).unwrap());
    let mut buckets = Buckets::new(begun);
    let mut take = |key: &str, millis: u64| buckets.take(key, limit, begun + Duration::from_millis(millis));
    assert_eq!([take("a", 0), take("a", 0), take("a", 0)], [Ok(()); 3]);
    assert_eq!(take("a", 0), Err(Duration::from_millis(500)));
    assert_eq!(take("b", 0), Ok(()));
    assert_eq!(take("a", 500), Ok(()));
    assert!(take("a", 500).is_err());
}

#[test]
fn callers_beyond_the_most_share_a_bucket_until_others_are_quiet() {
    let (begun, limit) = (Instant::now(), Limit::new(1.0, 2.0).unwrap());
    let mut buckets = Buckets::new(begun);
    for key in 0..MOST {
        buckets.take(&format!("{key}"), limit, begun).unwrap();
    }
    assert_eq!([buckets.take("x", limit, begun), buckets.take("y", limit, begun)], [Ok(()); 2]);
    assert!(buckets.take("z", limit, begun).is_err());
    assert_eq!(buckets.len(), MOST + 1);
    assert_eq!(buckets.take("z", limit, begun + Duration::from_secs(60)), Ok(()));
    assert_eq!(buckets.len(), 1);
}

#[test]
fn the_demo_has_its_own_limit() {
    let manifest = include_str!("../module.json");
    let host = TestHost::builder(Module).name("limiter").manifest(manifest).start();
    let statuses: Vec<u16> = (0..4).map(|_| host.call("demo", ()).unwrap().status).collect();
    assert_eq!(statuses, [0, 0, 0, 429]);
    assert_eq!(host.call("check", ()).unwrap_err().kind(), "forbidden");
}

#[test]
fn a_request_beyond_the_limit_gets_429_and_the_time_to_wait() {
    let host = host();
    assert_eq!(host.request("check").outcome(), Ok(Outcome::pass()));
    assert_eq!(host.request("check").outcome(), Ok(Outcome::pass()));
    let refused = |call: &str| host.request(call).outcome().unwrap_err().failure().unwrap().clone();
    let Ok(Outcome::Reply(reply)) = host.request("check").outcome() else { panic!("not limited") };
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1000")));
    for (call, why) in [
        ("check?burst=x", "burst must be a number"),
        ("check?by=luck", "by must be"),
        ("check?rate=0", "above 0"),
        ("check?speed=1", "are the settings"),
    ] {
        assert!(refused(call).message.contains(why), "{call}");
    }
}
