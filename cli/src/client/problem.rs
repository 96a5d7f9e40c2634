//! Formats a problem document for a person.

use std::fmt::Write as _;

use fanfare::api::Problem;
use serde_json::Value;

use super::printable;
use crate::backtrace::shortened;

/// Code, status and detail. Further lines of the detail and the data of a guest's failure are
/// indented.
pub fn readable(problem: &Problem) -> String {
    let Problem { status, code, detail, trace, data, .. } = problem;
    let mut text = format!("{} ({status})", printable(code));
    // Writing to a string cannot fail.
    if !detail.is_empty() {
        let lines: Vec<_> = shortened(detail).lines().map(printable).collect();
        _ = write!(text, ": {}", lines.join("\n  "));
    }
    if let Some(trace) = trace {
        _ = write!(text, " [trace {}]", printable(trace));
    }
    if let Some(data) = data {
        // Puts the guest's JSON on one line.
        let data =
            serde_json::from_str(data.get()).map_or_else(|_| data.get().to_owned(), |data: Value| data.to_string());
        _ = write!(text, "\n  data: {}", printable(&data));
    }
    text
}

#[cfg(test)]
mod tests {
    fn readable(problem: &str) -> String {
        super::readable(&serde_json::from_str(problem).unwrap())
    }

    #[test]
    fn a_problem_is_one_line() {
        let problem = r#"{"type":"x","status":404,"code":"not-found","detail":"no\u001bmodule","trace":"ab"}"#;
        assert_eq!(readable(problem), "not-found (404): no\\u{1b}module [trace ab]");
        assert_eq!(readable(r#"{"status":500,"code":"failure","detail":""}"#), "failure (500)");
    }

    #[test]
    fn further_lines_of_the_detail_are_indented() {
        let problem = r#"{"status":422,"code":"refused","detail":"a.json:1:1: x\na.json:2:1: y"}"#;
        assert_eq!(readable(problem), "refused (422): a.json:1:1: x\n  a.json:2:1: y");
        let crash = r#"{"status":422,"code":"refused","detail":"unreachable\n    at abort\n    at hello::warm\n    at std::x"}"#;
        assert_eq!(readable(crash), "refused (422): unreachable\n      at hello::warm", "one frame of a backtrace");
    }

    #[test]
    fn the_data_of_a_failure_has_its_own_line() {
        let problem = r#"{"status":409,"code":"x","detail":"no","data":{"b":[1],"a":"\n\u009b"}}"#;
        assert_eq!(readable(problem), "x (409): no\n  data: {\"b\":[1],\"a\":\"\\n\\u{9b}\"}");
    }
}
