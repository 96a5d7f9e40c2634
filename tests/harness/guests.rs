//! What the test guests are told, and what they tell.

use serde_json::Value;

use super::{Started, TestHost};

impl TestHost {
    /// With `waits`, which may call and broadcast to these modules.
    pub fn waits_for(modules: &[&str]) -> TestHost {
        let rights = serde_json::json!({ "rpc": modules, "broadcast": modules });
        let host = TestHost::with("waits").manifest("waits", serde_json::json!({ "capabilities": rights }));
        modules.iter().fold(host.grant("waits", rights), |host, module| host.and(module))
    }
}

impl Started {
    /// Runs a guest's handler in one worker, and answers the JSON that it replies with.
    pub async fn run(&self, worker: u32, module: &str, path: &str, body: Value) -> Value {
        let answer = self.call(&format!("worker-{worker}"), module, path, text(&body)).await;
        json_of(&answer)
    }

    /// A call that the guest `waits` makes from one worker, and how it ended: see `tests/guests/common`.
    pub async fn nested(&self, worker: u32, wanted: Value) -> Value {
        self.run(worker, "waits", "nested", wanted).await
    }

    /// Emits a broadcast as the operator: its receipt, or a problem.
    pub async fn emit(&self, module: &str, name: &str, body: impl Into<Vec<u8>>) -> Value {
        self.admin("POST", &format!("/v1/modules/{module}/broadcasts/{name}"), body).await.json()
    }

    /// How many calls of a module ended in one way in a worker.
    pub async fn ended(&self, module: &str, worker: u32, trigger: &str, outcome: &str) -> f64 {
        let (module, isolate) = (format!("module=\"{module}\""), format!("isolate=\"worker-{worker}\""));
        let (trigger, outcome) = (format!("trigger=\"{trigger}\""), format!("outcome=\"{outcome}\""));
        self.metric("fanfare_calls_total", &[&module, &isolate, &trigger, &outcome]).await
    }
}

/// The JSON in the payload of a reply.
pub fn json_of(reply: &Value) -> Value {
    let payload = reply["payload"].as_str().unwrap_or_else(|| panic!("no payload: {reply}"));
    serde_json::from_str(payload).unwrap_or_else(|_| panic!("no JSON: {payload}"))
}

/// The isolates of entries with how each ended: `reply` or the code of its error. Of the operator's and of guests' entries.
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

/// As [`ends`] answers it: one for each worker, in index order.
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
