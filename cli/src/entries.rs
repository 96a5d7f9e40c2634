//! Prints the entries that several workers returned.

use std::fmt::Write as _;

use super::client::{Output, printable, readable};
use fanfare::api::{GatherEntry, Reply};

/// One line per entry. The command fails if any entry failed.
pub fn output(entries: &[GatherEntry]) -> Output {
    let mut text = String::new();
    let mut failed = 0;
    for GatherEntry { isolate, node, reply, error } in entries {
        let place = place(node.as_deref(), isolate);
        // Writing to a string cannot fail.
        match (reply, error) {
            (Some(Reply { status, payload, .. }), None) => {
                let payload = payload.as_deref().unwrap_or_default();
                _ = writeln!(text, "{}", format!("{place}  {status}  {}", printable(payload)).trim_end());
                failed += u32::from(*status >= 400);
            }
            (_, error) => {
                let why = error.as_ref().map_or_else(|| "neither a reply nor an error".to_owned(), readable);
                _ = writeln!(text, "{place}  {why}");
                failed += 1;
            }
        }
    }
    let failure = (failed > 0).then(|| format!("{failed} of {} workers failed", entries.len()));
    Output { text, failure }
}

/// `worker-0`, or `chat-2/worker-0` for an isolate of another node.
pub fn place(node: Option<&str>, isolate: &str) -> String {
    node.map(|node| format!("{}/", printable(node))).unwrap_or_default() + &printable(isolate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_line() {
        let entries = r#"[{"isolate":"worker-0","reply":{"status":200,"payload":"{\"seen\":1}"}},
            {"isolate":"worker-1","reply":{"status":204,"payload":null}},
            {"isolate":"worker-2","error":{"status":500,"code":"crashed","detail":"trapped"}},
            {"isolate":"worker-3","error":{"status":409,"code":"full","detail":"no","data":{"max":3}}},
            {"isolate":"worker-4"},
            {"isolate":"worker-0","node":"chat-2","reply":{"status":200,"payload":"1"}}]"#;
        let output = output(&serde_json::from_str::<Vec<GatherEntry>>(entries).unwrap());
        let expected = "\
worker-0  200  {\"seen\":1}
worker-1  204
worker-2  crashed (500): trapped
worker-3  full (409): no
  data: {\"max\":3}
worker-4  neither a reply nor an error
chat-2/worker-0  200  1
";
        assert_eq!(output.text, expected);
        assert_eq!(output.failure.as_deref(), Some("3 of 6 workers failed"));
    }
}
