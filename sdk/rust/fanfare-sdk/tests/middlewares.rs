//! Middlewares that are routes, in the in-memory host.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::{Outcome, Passed};

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

/// Does what the setting `do` in its name says.
#[handler]
async fn gate(body: Payload, cx: Context) -> Result<Outcome> {
    COUNT.set(COUNT.get() + 1);
    let query = cx.query_pairs();
    let does = query.first().map_or("pass", |(_, does)| does.as_str());
    Ok(Outcome::Pass(match does {
        "change" => Passed::new().with_payload(format!("{}!", body.as_text().unwrap_or_default()))?,
        "fact" => {
            let seen = (cx.extra("for"), cx.header("x-user"), cx.broadcast().is_some(), COUNT.get(), cx.extras().len());
            Passed::new().with_extra("seen", format!("{seen:?}"))
        }
        "reply" => return Ok(Outcome::Reply(Reply::new("stop")?.with_status(429))),
        "fail" => return Err(Failure::forbidden("no-ticket", "show a ticket")),
        "trap" => panic!("the gate falls"),
        _ => Passed::new(),
    }))
}

#[handler]
fn buy(body: Payload, cx: Context) -> Json<Value> {
    Json(json!({ "payload": body.as_text(), "facts": cx.extras(), "worker": host::isolate().to_string() }))
}

fanfare_sdk::module!(gate, buy);

fn shop(chain: Value) -> fanfare_sdk::testing::Builder {
    let manifest = json!({
        "routes": [
            { "path": "gate", "handler": "gate", "middlewares": "inner" },
            { "path": "buy", "handler": "buy", "middlewares": chain },
            { "path": "open", "handler": "buy" },
        ],
        "broadcasts": { "sale": { "path": "buy" } },
    });
    TestHost::builder(Module).name("shop").manifest(&manifest.to_string()).workers(2)
}

fn shown(reply: &Reply) -> Value {
    serde_json::from_str(reply.text()).unwrap()
}

#[test]
fn own_middlewares_run_in_order_in_the_worker_of_the_call() {
    let host = shop(json!(["/gate?do=fact", "shop/gate?do=change", "POST /gate?do=change", "/gate?do=fact"])).start();
    let reply = host.request("buy").header("x-user", "ada").on(1).body("apples").send().unwrap();
    let shown = shown(&reply);
    assert_eq!((&shown["payload"], &shown["worker"]), (&json!("apples!!"), &json!("worker-1")));
    let seen = |count, facts| format!("(Some(\"POST shop/buy\"), Some(\"ada\"), false, {count}, {facts})");
    assert_eq!(shown["facts"], json!([["shop.seen", seen(1, 1)], ["shop.seen", seen(4, 2)]]));
}

#[test]
fn middlewares_run_for_broadcasts_too() {
    let host = shop(json!(["inner", "/gate?do=fact", "/gate?do=change"])).start();
    for (index, entry) in host.broadcast("sale", "plums").unwrap().into_iter().enumerate() {
        let shown = shown(&entry.outcome.unwrap());
        assert_eq!((&shown["payload"], &shown["worker"]), (&json!("plums!"), &json!(format!("worker-{index}"))));
        assert!(shown["facts"][0][1].as_str().unwrap().contains("true"), "{shown}");
    }
}

#[test]
fn a_middleware_that_replies_or_fails_ends_the_call() {
    let host = shop(json!(["/gate?do=reply", "/gate?do=trap"])).start();
    let reply = host.call("buy", ()).unwrap();
    assert_eq!((reply.status, reply.text()), (429, "stop"));
    let host = shop(json!(["/gate?do=fail", "/gate?do=trap"])).start();
    assert_eq!(host.call("buy", ()).unwrap_err().failure().unwrap().name, "no-ticket");
    // The middleware and the call run in one instance.
    let host = shop(json!("/gate?do=trap")).start();
    assert_eq!(host.call("buy", ()).unwrap_err().kind(), "crashed");
    assert_eq!(host.call("open", ()).unwrap().status, 0, "the next instance serves");
}

#[test]
fn a_middleware_of_another_module_is_given_to_the_test() {
    let host = shop(json!(["limiter/check?rate=5", "/gate?do=change"]))
        .middleware("limiter/check", |cx: Context, payload: Payload| {
            let fact = format!("{:?} {:?} {:?}", cx.query_pairs(), cx.extra("for"), payload.as_text());
            Passed::new().with_extra("seen", fact)
        })
        .start();
    let shown = shown(&host.call("buy", "apples").unwrap());
    assert_eq!(shown["payload"], "apples!");
    let seen = "[(\"rate\", \"5\")] Some(\"POST shop/buy\") Some(\"apples\")";
    assert_eq!(shown["facts"], json!([["limiter.seen", seen]]));

    let host = shop(json!("limiter/check?rate=5")).middleware("limiter/check", |_, _| (429, "later")).start();
    assert_eq!(host.call("buy", ()).unwrap().status, 429);
    let refuse = |_, _| -> Result<Pass> { Err(Failure::forbidden("no-ticket", "show a ticket")) };
    let host = shop(json!("limiter/check?rate=5")).middleware("limiter/check", refuse).start();
    assert_eq!(host.call("buy", ()).unwrap_err().failure().unwrap().name, "no-ticket");
}

#[test]
fn a_middleware_of_another_module_that_the_test_does_not_give_is_an_error_with_the_fix() {
    let host = shop(json!("limiter/check?rate=5")).start();
    let error = host.call("buy", ()).unwrap_err();
    assert_eq!(error.kind(), "unavailable");
    let text = error.to_string();
    assert!(text.contains("the middleware limiter/check?rate=5: it belongs to another module"), "{text}");
    assert!(text.contains(".middleware(\"limiter/check\", ..)"), "{text}");
    assert_eq!(host.call("open", ()).unwrap().status, 0, "other routes are not affected");
}

#[test]
fn a_chain_that_a_real_host_rejects_does_not_start() {
    for (chain, why) in [
        ("/none", "the module has no such route"),
        ("/open", "needs the middleware `inner`"),
        ("/chained", "has middlewares that are routes"),
    ] {
        let builder = shop(json!(chain));
        let routes = json!({ "routes": [
            { "path": "gate", "handler": "gate", "middlewares": "inner" },
            { "path": "buy", "handler": "buy", "middlewares": chain },
            { "path": "open", "handler": "buy" },
            { "path": "chained", "handler": "buy", "middlewares": ["inner", "/gate"] },
        ] });
        let started = catch_unwind(AssertUnwindSafe(|| builder.manifest(&routes.to_string()).start()));
        let panic = started.err().unwrap_or_else(|| panic!("{chain} starts"));
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains(why) && text.contains(chain), "{text}");
    }
}
