//! The texts of the page: escaped HTML, commands and names.

use std::fmt::{self, Write as _};

use http::Method;

use crate::registry::AccessError;

/// The middleware that closes a route.
pub(super) fn closed_by(why: AccessError) -> &'static str {
    match why {
        AccessError::Inner => "inner",
        AccessError::Session | AccessError::NoSession => "session",
        AccessError::Test => "test",
    }
}

pub(super) fn sentence(why: AccessError) -> String {
    let text = why.to_string().replace('`', "");
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

/// The names of the parameters of a path.
pub(super) fn params(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// Makes a path that a command can have. The name of each parameter becomes its value.
pub(super) fn without_braces(path: &str) -> String {
    path.replace(['{', '}'], "")
}

/// Quotes a text for a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the command that runs a schedule now.
pub(super) fn run_command(module: &str, schedule: &str) -> String {
    format!("fanfare schedules run {module} {}", quoted(schedule))
}

/// Returns a line to paste into the console of a browser.
pub(super) fn web_socket(origin: &str, path: &str) -> String {
    let url = format!("{}{}", origin.replacen("http", "ws", 1), without_braces(path));
    let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
    format!("ws = new WebSocket(\"{quoted}\"); ws.onmessage = ({{ data }}) => console.log(data)")
}

/// Returns a command to paste into a shell.
pub(super) fn curl(method: &Method, origin: &str, path: &str) -> String {
    let url = quoted(&format!("{origin}{}", without_braces(path)));
    match *method {
        Method::GET => format!("curl {url}"),
        Method::DELETE => format!("curl -X DELETE {url}"),
        _ => format!("curl -X {method} {url} -H 'content-type: application/json' -d '{{}}'"),
    }
}

/// Escapes text for use between tags or in an attribute.
pub(super) struct Html<'a>(pub(super) &'a str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
