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
        "number": config::get::<u64>("/number")?,
    })))
}

/// Waits in `waits` of this worker until it releases the call, then returns the payload.
#[handler]
async fn stay(body: Payload) -> Result<Payload> {
    wait().await?;
    Ok(body)
}

async fn wait() -> Result<(), CallError> {
    rpc::to(host::isolate().target()).call("waits/hold", ()).await.map(drop)
}

/// Ends this instance in the way that the body names.
#[handler]
fn ruin(how: Text) -> Result<()> {
    fall(&how)?;
    Ok(())
}

/// Ends this instance: `trap`, `spin` (limits.cpu) or `hoard` (limits.memory).
fn fall(how: &str) -> Result<Passed> {
    match how {
        "trap" => panic!("the gate falls"),
        "spin" => loop {
            std::hint::black_box(());
        },
        "hoard" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1u8; 1 << 20]));
            }
        }
        other => Err(Failure::bad_request("unknown", other)),
    }
}

/// `do` is one of `pass`, `fact` (the trigger and the facts so far), `change` (the payload gets
/// longer), `reply`, `fail`, `never`, `wait` (until `waits` of this worker releases the call; the
/// payload gets longer), `huge` (a payload of 2 MB), `flood` (2 MB of facts), a way to end the
/// instance, and `header` (what the field `x-gate` of the request says, or else `change`).
#[handler]
async fn gate(body: Payload, cx: Context) -> Result<Outcome> {
    let query = cx.query_pairs();
    let does = query.iter().find(|(name, _)| name == "do").map_or("pass", |(_, does)| does.as_str());
    let asked = cx.header("x-gate");
    let does = if does == "header" { asked.as_deref().unwrap_or("change") } else { does };
    let longer = || Passed::new().with_payload(format!("{}!", body.as_text().unwrap_or_default()));
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
        "change" => longer()?,
        "wait" => {
            wait().await?;
            longer()?
        }
        "reply" => {
            let reply = Reply::new("the gate answers")?.with_status(429).with_header("retry-after", "7");
            return Ok(Outcome::Reply(reply));
        }
        "fail" => return Err(Failure::forbidden("no-ticket", "show a ticket")),
        "never" => {
            std::future::pending::<()>().await;
            Passed::new()
        }
        "huge" => Passed::new().with_payload("x".repeat(2_000_000))?,
        "flood" => Passed::new().with_extra("flood", "x".repeat(2_000_000)),
        how => fall(how)?,
    };
    Ok(Outcome::Pass(passed))
}

fanfare_sdk::module!(show, stay, gate, ruin);
