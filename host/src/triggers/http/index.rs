//! The page for developers. It lists the modules, their routes with a `curl` command for each, and
//! their WebSockets.

use std::fmt::{self, Write as _};

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method};

use super::content::HttpResponse;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fanfare</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
h2 small { font-weight: normal; opacity: .7 }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid var(--line); padding: .4rem .5rem .4rem 0; vertical-align: top }
td:first-child { width: 4.5rem; font-weight: 600 }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
code.copy { user-select: all; background: var(--soft); border-radius: 4px; padding: .1rem .4rem }
.tag { font-size: .75rem; border: 1px solid var(--line); border-radius: 4px; padding: 0 .3rem }
p { opacity: .7 }
</style>
<h1>Fanfare</h1>
<p>The modules of this host and their routes. Click a command to select it. The host serves this page only in the environment <code>development</code>.</p>
"#;

/// A module on the page for developers.
#[derive(Debug, Clone)]
pub struct IndexModule {
    pub name: String,
    /// The state of the module, such as `ready` or `failed: ..`.
    pub state: String,
    pub routes: Vec<IndexRoute>,
    /// The patterns of its WebSockets.
    pub sockets: Vec<String>,
}

/// A route on the page for developers.
#[derive(Debug, Clone)]
pub struct IndexRoute {
    pub method: Method,
    /// The path as in the manifest, without a leading slash.
    pub path: String,
    /// The middleware because of which HTTP requests cannot call it.
    pub closed_by: Option<&'static str>,
}

/// Builds the page. Its commands use the `scheme` and `host` of the browser's request.
pub(super) fn page(modules: &[IndexModule], scheme: &str, host: &str) -> HttpResponse {
    let mut text = String::from(HEAD);
    // Writing to a string cannot fail.
    _ = write(&mut text, modules, &format!("{scheme}://{host}"));
    let mut response = HttpResponse::new(text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The developer opens WebSockets of this host in the console of the page.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; \
        base-uri 'none'; form-action 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

fn write(text: &mut String, modules: &[IndexModule], origin: &str) -> fmt::Result {
    if modules.is_empty() {
        text.push_str(
            "<p>There are no modules yet: add a folder with a <code>module.json</code> to the modules folder.</p>\n",
        );
    }
    for module in modules {
        let (name, state) = (Html(&module.name), Html(&module.state));
        write!(text, "<h2>{name} <small>{state}</small></h2>\n<table>\n")?;
        for route in &module.routes {
            row(text, &module.name, route, origin)?;
        }
        for pattern in &module.sockets {
            let path = format!("/api/{}/{pattern}", module.name);
            let command = Html(&web_socket(origin, &path)).to_string();
            let path = Html(&path);
            writeln!(text, "<tr><td>WS<td><code>{path}</code><br><code class=\"copy\">{command}</code>")?;
        }
        text.push_str("</table>\n");
    }
    Ok(())
}

fn row(text: &mut String, module: &str, route: &IndexRoute, origin: &str) -> fmt::Result {
    let path = format!("/api/{module}/{}", route.path);
    write!(text, "<tr><td>{}<td><code>{}</code>", Html(route.method.as_str()), Html(&path))?;
    match route.closed_by {
        Some(middleware) => writeln!(text, " <span class=\"tag\">{middleware}</span>")?,
        None => writeln!(text, "<br><code class=\"copy\">{}</code>", Html(&curl(&route.method, origin, &path)))?,
    }
    Ok(())
}

/// Returns a line to paste into the console of a browser. The name of each path parameter becomes
/// its value.
fn web_socket(origin: &str, path: &str) -> String {
    let url = format!("{}{}", origin.replacen("http", "ws", 1), path.replace(['{', '}'], ""));
    let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
    format!("ws = new WebSocket(\"{quoted}\"); ws.onmessage = ({{ data }}) => console.log(data)")
}

/// Returns a command to paste into a shell. The name of each path parameter becomes its value.
fn curl(method: &Method, origin: &str, path: &str) -> String {
    let url = format!("{origin}{}", path.replace(['{', '}'], ""));
    let quoted = format!("'{}'", url.replace('\'', r"'\''"));
    match *method {
        Method::GET => format!("curl {quoted}"),
        Method::DELETE => format!("curl -X DELETE {quoted}"),
        _ => format!("curl -X {method} {quoted} -H 'content-type: application/json' -d '{{}}'"),
    }
}

/// Escapes text for use between tags or in an attribute.
struct Html<'a>(&'a str);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(modules: &[IndexModule], host: &str) -> String {
        let mut text = String::new();
        write(&mut text, modules, &format!("http://{host}")).unwrap();
        text
    }

    fn module(routes: &[(Method, &str, bool)]) -> IndexModule {
        let route = |(method, path, inner): &(Method, &str, bool)| IndexRoute {
            method: method.clone(),
            path: (*path).into(),
            closed_by: inner.then_some("inner"),
        };
        let routes = routes.iter().map(route).collect();
        IndexModule { name: "flags".into(), state: "ready".into(), routes, sockets: Vec::new() }
    }

    #[test]
    fn every_open_route_has_a_command() {
        let routes = [(Method::GET, "", false), (Method::PUT, "{name}", false), (Method::POST, "in", true)];
        let text = shown(&[module(&routes)], "127.0.0.1:8080");
        assert!(text.contains("<h2>flags <small>ready</small></h2>"), "{text}");
        assert!(text.contains("curl &#39;http://127.0.0.1:8080/api/flags/&#39;"), "{text}");
        assert!(text.contains("<code>/api/flags/{name}</code>"), "{text}");
        assert!(text.contains("curl -X PUT &#39;http://127.0.0.1:8080/api/flags/name&#39; -H"), "{text}");
        assert!(text.contains("<code>/api/flags/in</code> <span"), "{text}");
        assert_eq!(text.matches("curl").count(), 2);
    }

    #[test]
    fn every_socket_has_a_line_for_the_console() {
        let mut module = module(&[]);
        module.sockets = vec!["room/{room}".into(), "a\"b".into()];
        let text = shown(&[module], "127.0.0.1:8080");
        assert!(text.contains("<td>WS<td><code>/api/flags/room/{room}</code>"), "{text}");
        assert!(text.contains("new WebSocket(&quot;ws://127.0.0.1:8080/api/flags/room/room&quot;)"), "{text}");
        assert!(text.contains(r"/api/flags/a\&quot;b&quot;"), "{text}");
    }

    #[test]
    fn names_are_escaped_for_the_page_and_the_shell() {
        let mut module = module(&[(Method::GET, "'; rm -rf ~ #<script>", false)]);
        module.state = "failed: <script>alert(\"1\")</script>".into();
        let text = shown(&[module], "x\"><script>'");
        assert!(!text.contains("<script"), "{text}");
        assert!(
            text.contains(r"&#39;http://x&quot;&gt;&lt;script&gt;&#39;\&#39;&#39;/api/flags/&#39;\&#39;&#39;; rm"),
            "{text}"
        );
    }

    #[test]
    fn a_page_without_modules_says_how_to_add_one() {
        assert!(shown(&[], "h").contains("There are no modules yet"));
    }
}
