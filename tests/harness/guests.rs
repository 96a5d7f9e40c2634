//! Helpers to use the test guests and to read their replies.

use serde_json::Value;

use super::{Started, TestHost};

impl TestHost {
    /// A host with `waits`, which may call these modules and broadcast to them.
    pub fn waits_for(modules: &[&str]) -> TestHost {
        let rights = serde_json::json!({ "rpc": modules, "broadcast": modules });
        let host = TestHost::with("waits").manifest("waits", serde_json::json!({ "capabilities": rights }));
        modules.iter().fold(host.grant("waits", rights), |host, module| host.and(module))
    }
}

impl Started {
    /// Calls a route of a guest in one worker, and returns the JSON of its reply.
    pub async fn run(&self, worker: u32, module: &str, path: &str, body: Value) -> Value {
        let answer = self.call(&format!("worker-{worker}"), module, path, text(&body)).await;
        json_of(&answer)
    }

    /// Lets the guest `waits` make a call from one worker, and returns the outcome of that call in
    /// the format of `tests/guests/common`.
    pub async fn nested(&self, worker: u32, wanted: Value) -> Value {
        self.run(worker, "waits", "nested", wanted).await
    }

    /// Emits a broadcast as the operator. Returns its receipt, or a problem document.
    pub async fn emit(&self, module: &str, name: &str, body: impl Into<Vec<u8>>) -> Value {
        self.admin("POST", &format!("/v1/modules/{module}/broadcasts/{name}"), body).await.json()
    }

    /// Returns the number of calls of a module in a worker that ended with this outcome.
    pub async fn ended(&self, module: &str, worker: u32, trigger: &str, outcome: &str) -> f64 {
        let (module, isolate) = (format!("module=\"{module}\""), format!("isolate=\"worker-{worker}\""));
        let (trigger, outcome) = (format!("trigger=\"{trigger}\""), format!("outcome=\"{outcome}\""));
        self.metric("fanfare_calls_total", &[&module, &isolate, &trigger, &outcome]).await
    }
}

/// Returns the JSON in the payload of a reply.
pub fn json_of(reply: &Value) -> Value {
    let payload = reply["payload"].as_str().unwrap_or_else(|| panic!("the reply has no payload: {reply}"));
    serde_json::from_str(payload).unwrap_or_else(|_| panic!("the payload is not JSON: {payload}"))
}

/// Returns the isolate of each entry of a gather, with `reply` or the code of its error. Accepts
/// the entries that the operator gets and those that guests get.
pub fn ends(entries: &Value) -> Vec<(String, String)> {
    let end = |entry: &Value| {
        let error = entry.pointer("/error/code").or(entry.pointer("/outcome/error/kind"));
        let replied = entry.get("reply").or(entry.pointer("/outcome/ok")).map(|_| "reply");
        error
            .and_then(Value::as_str)
            .or(replied)
            .unwrap_or_else(|| panic!("neither reply nor error: {entry}"))
            .to_owned()
    };
    let entries = entries.as_array().unwrap_or_else(|| panic!("no entries: {entries}"));
    entries.iter().map(|entry| (entry["isolate"].as_str().unwrap().to_owned(), end(entry))).collect()
}

/// Returns the result that [`ends`] returns for these ends, one per worker in index order.
pub fn by_worker(ends: &[&str]) -> Vec<(String, String)> {
    ends.iter().enumerate().map(|(index, end)| (format!("worker-{index}"), (*end).to_owned())).collect()
}

fn text(body: &Value) -> String {
    match body {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
