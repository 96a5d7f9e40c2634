//! The limits of one call: processor time, and bytes in and out.

use serde_json::json;

use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost};

pub async fn cpu() {
    let host = TestHost::with("loops").limit("loops", "cpu", "100ms").limit("loops", "timeout", "20s").start().await;
    let under = host.call("any", "loops", "busy", "60").await;
    assert_eq!(under["status"], 200, "{under}");
    let over = host.call("any", "loops", "busy", "15000").await;
    assert_eq!(over["code"], "crashed");
    assert_names(&over["detail"], &["limits.cpu, 100ms"]);
}

async fn echo(limit: &str, value: u64) -> Started {
    TestHost::with("echo").limit("echo", limit, value).workers(1).start().await
}

pub async fn payload() {
    let host = echo("payload", 1_000).await;
    assert_eq!(host.post("/api/echo/echo", [b'x'; 1_000]).await.status, 200);
    let over = host.post("/api/echo/echo", [b'x'; 1_001]).await;
    assert_eq!((over.status, over.code()), (413, "payload-too-large".to_owned()));
    assert_names(&over.json()["detail"], &["1000 bytes", "`limits.payload`"]);
    let over = host.call("any", "echo", "echo", "x".repeat(1_001)).await;
    assert_eq!(over["code"], "invalid");
    assert_names(&over["detail"], &["1001 bytes", "limits.payload of echo allows 1000"]);

    assert_eq!(host.get("/api/echo/big?bytes=1000").await.body.len(), 1_000);
    let over = host.get("/api/echo/big?bytes=1001").await;
    assert_eq!((over.status, over.code()), (500, "payload-too-large".to_owned()));
    assert_names(&over.json()["detail"], &["1001 bytes of payload", "limits.payload allows 1000 bytes"]);

    // The limit also applies to the bytes besides the payload: names and values of header fields,
    // and the message of a failure.
    let beside = async |bytes: u64| host.get(&format!("/api/echo/big?bytes=1000&beside={bytes}")).await;
    assert_eq!(beside(999).await.status, 200);
    let over = beside(1_000).await;
    assert_eq!((over.status, over.code()), (500, "payload-too-large".to_owned()));
    assert_names(&over.json()["detail"], &["1001 bytes of other text", "limits.payload allows 1000 bytes"]);
}

pub async fn hostcall_fuel() {
    let limit = 1 << 20;
    let host = echo("hostcallFuel", limit).await;
    let big = async |bytes: u64| host.get(&format!("/api/echo/big?bytes={bytes}")).await;
    assert_eq!(big(limit - 1_024).await.body.len() as u64, limit - 1_024, "with few bytes besides the payload");
    let over = big(limit + 1).await;
    assert_eq!((over.status, over.code()), (500, "crashed".to_owned()), "limits.payload would allow these bytes");

    let host = TestHost::with("floods").limit("floods", "hostcallFuel", limit).workers(1).start().await;
    // The guest passes each line twice: as the message and as a field.
    let log = async |length: u64| {
        let flood = json!({ "length": length, "unbroken": true }).to_string();
        host.post("/api/floods/log", flood).await
    };
    assert_eq!(log(limit / 2 - 1_024).await.text(), "ok");
    let over = log(limit / 2 + 1).await;
    assert_eq!((over.status, over.code()), (500, "crashed".to_owned()), "limits.logLine alone would shorten it");
    assert_names(&over.json()["detail"], &["floods", "`log`"]);
}
