//! A middleware that does what its query says, and a route that shows what reaches it.

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::{Outcome, Passed};

/// Returns the payload and everything else that reaches the route.
#[handler]
fn show(body: Payload, cx: Context) -> Result<Json<Value>> {
    Ok(Json(json!({
        "payload": body.as_text(),
        "facts": cx.extras(),
        "isolate": host::isolate().to_string(),
        "agent": cx.header("user-agent"),
    })))
}

/// `do` is one of `pass`, `fact` (the trigger and the facts so far), `change` (the payload gets
/// longer), `reply`, `fail`, `trap`, `never`, `huge` (a payload of 2 MB) and `flood` (2 MB of
/// facts).
#[handler]
async fn gate(body: Payload, cx: Context) -> Result<Outcome> {
    let query = cx.query_pairs();
    let does = query.iter().find(|(name, _)| name == "do").map_or("pass", |(_, does)| does.as_str());
    let passed = match does {
        "pass" => Passed::new(),
        "fact" => {
            let seen = json!({
                "for": cx.extra("for"),
                "facts": cx.extras().len(),
                "http": cx.method().is_some(),
                "broadcast": cx.broadcast().is_some(),
                "agent": cx.header("user-agent"),
                "isolate": host::isolate().to_string(),
            });
            Passed::new().with_extra("seen", seen.to_string())
        }
        "change" => Passed::new().with_payload(format!("{}!", body.as_text().unwrap_or_default()))?,
        "reply" => {
            let reply = Reply::new("the gate answers")?.with_status(429).with_header("retry-after", "7");
            return Ok(Outcome::Reply(reply));
        }
        "fail" => return Err(Failure::forbidden("no-ticket", "show a ticket")),
        "trap" => panic!("the gate falls"),
        "never" => {
            std::future::pending::<()>().await;
            Passed::new()
        }
        "huge" => Passed::new().with_payload("x".repeat(2_000_000))?,
        "flood" => Passed::new().with_extra("flood", "x".repeat(2_000_000)),
        other => return Err(Failure::bad_request("unknown", other)),
    };
    Ok(Outcome::Pass(passed))
}

fanfare_sdk::module!(show, gate);
