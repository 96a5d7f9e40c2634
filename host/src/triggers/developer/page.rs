//! Writes the HTML of the page.

mod texts;

use std::fmt::{self, Write as _};

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::docs::{PAGES, summary};
use super::model::{DeveloperModule, DeveloperResult, DeveloperRoute, DeveloperSchedule};
use crate::registry::AccessError;
use texts::{Html, closed_by, curl, params, quoted, run_command, sentence, web_socket, without_braces};

const HEAD: &str = r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Fanfare</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/developer/page.css">
<script src="/developer/page.js" defer></script>
</head>
<body>
<header>
<h1>Fanfare</h1>
<p>The modules of this host and their routes. Only the environments <code>dev</code> and <code>development</code> have
this page. <a href="#docs">Documentation</a></p>
<noscript><p class="notice">Without JavaScript, this page has no forms: use the commands.</p></noscript>
</header>
<main>
"##;

const NO_MODULES: &str = "<p>There are no modules yet: add a folder with a <code>module.json</code> to the modules \
    folder, or run <code>fanfare new hello</code>.</p>\n";

/// Returns the page. `notices` are about the host itself. `is_local` says whether the reader may
/// emit broadcasts and see notices, grants and errors.
pub(super) fn html(modules: &[DeveloperModule], notices: &[String], origin: &str, is_local: bool) -> String {
    let mut page = Page { text: String::from(HEAD), origin, is_local };
    // Writing to a string cannot fail.
    _ = page.write(modules, notices);
    page.text
}

struct Page<'a> {
    text: String,
    /// The scheme and the authority of the browser's request.
    origin: &'a str,
    is_local: bool,
}

/// A form that sends a request and shows the answer.
struct Form<'a> {
    method: &'a Method,
    /// The path, in which the names of parameters are in braces.
    path: &'a str,
    /// The text of the button.
    button: &'a str,
    /// The request, as a screen reader announces it.
    name: &'a str,
}

impl Page<'_> {
    fn write(&mut self, modules: &[DeveloperModule], notices: &[String]) -> fmt::Result {
        for notice in notices.iter().filter(|_| self.is_local) {
            writeln!(self.text, "<p class=\"notice\" role=\"note\">{}</p>", Html(notice))?;
        }
        if modules.is_empty() {
            self.text.push_str(NO_MODULES);
        }
        if modules.len() > 1 {
            self.text.push_str("<nav aria-label=\"Modules\"><ul>\n");
            for DeveloperModule { name, .. } in modules {
                let name = Html(name);
                writeln!(self.text, "<li><a href=\"#module-{name}\">{name}</a>")?;
            }
            self.text.push_str("</ul></nav>\n");
        }
        for module in modules {
            self.module(module)?;
        }
        self.text.push_str("</main>\n<footer id=\"docs\">\n<h2>Documentation of this version</h2>\n");
        self.text.push_str("<p><a href=\"/developer/docs/\">The index of all guides</a></p>\n<ul>\n");
        for (name, _) in PAGES {
            let summary = summary(name);
            let colon = if summary.is_empty() { "" } else { ": " };
            writeln!(self.text, "<li><a href=\"/developer/docs/{name}.md\">{name}</a>{colon}{}", Html(&summary))?;
        }
        writeln!(self.text, "</ul>\n</footer>\n</body>\n</html>")
    }

    fn module(&mut self, module: &DeveloperModule) -> fmt::Result {
        let (name, state) = (Html(&module.name), Html(&module.state));
        writeln!(self.text, "<section aria-labelledby=\"module-{name}\">")?;
        write!(
            self.text,
            "<h2 id=\"module-{name}\">{name} <span class=\"state\" data-state=\"{state}\">{state}</span>"
        )?;
        writeln!(self.text, "</h2>\n<dl>")?;
        let generation = module.generation.as_deref().unwrap_or("none");
        writeln!(self.text, "<div><dt>Generation</dt><dd><code>{}</code></dd></div>", Html(generation))?;
        if self.is_local {
            if !module.notes.is_empty() {
                self.list("Note", &module.notes, "")?;
            }
            self.list("Grants", &module.grants, "")?;
            self.list("Last error", &module.errors, " class=\"bad\"")?;
        }
        if let Some(export) = &module.wasi_http {
            let rest = if module.routes.is_empty() { "all requests" } else { "all requests that no route serves" };
            write!(
                self.text,
                "<div><dt>wasi:http</dt><dd><a href=\"/api/{name}/\">/api/{name}/</a>: {rest}, through "
            )?;
            writeln!(self.text, "<code>{}</code></dd></div>", Html(export))?;
        }
        for (term, values) in [("Startups", &module.startups), ("Hooks", &module.hooks)] {
            if !values.is_empty() {
                self.list(term, values, "")?;
            }
        }
        if !module.subscriptions.is_empty() {
            write!(self.text, "<div><dt>Subscriptions</dt>")?;
            module.subscriptions.iter().try_for_each(|result| self.result("dd", result))?;
            writeln!(self.text, "</div>")?;
        }
        writeln!(self.text, "</dl>")?;
        if !module.routes.is_empty() {
            self.begin_table("Routes", "Route")?;
            module.routes.iter().try_for_each(|route| self.route(module, route))?;
            self.end_table()?;
        }
        if !module.broadcasts.is_empty() {
            self.begin_table("Broadcasts", "Broadcast")?;
            module.broadcasts.iter().try_for_each(|name| self.broadcast(&module.name, name))?;
            self.end_table()?;
        }
        if !module.schedules.is_empty() {
            self.begin_table("Schedules", "Schedule")?;
            module.schedules.iter().try_for_each(|schedule| self.schedule(&module.name, schedule))?;
            self.end_table()?;
        }
        if !module.sockets.is_empty() {
            self.begin_table("WebSockets", "WebSocket")?;
            module.sockets.iter().try_for_each(|pattern| self.socket(&module.name, pattern))?;
            self.end_table()?;
        }
        writeln!(self.text, "</section>")
    }

    /// Writes a term with one value for each line. `class` is an attribute of the values.
    fn list(&mut self, term: &str, values: &[String], class: &str) -> fmt::Result {
        write!(self.text, "<div><dt>{term}</dt>")?;
        if values.is_empty() {
            write!(self.text, "<dd>none</dd>")?;
        }
        for value in values {
            write!(self.text, "<dd{class}>{}</dd>", Html(value))?;
        }
        writeln!(self.text, "</div>")
    }

    /// Writes a result in elements with this tag, and to a reader on this machine why it failed.
    fn result(&mut self, tag: &str, DeveloperResult { text, failure }: &DeveloperResult) -> fmt::Result {
        writeln!(self.text, "<{tag}>{}</{tag}>", Html(text))?;
        match failure.as_deref().filter(|_| self.is_local) {
            Some(failure) => writeln!(self.text, "<{tag} class=\"bad\">{}</{tag}>", Html(failure)),
            None => Ok(()),
        }
    }

    /// Begins a table of two columns. The roles are explicit, because a phone shows its rows as
    /// blocks, for which browsers forget the roles.
    fn begin_table(&mut self, caption: &str, column: &str) -> fmt::Result {
        writeln!(self.text, "<table role=\"table\">\n<caption>{caption}</caption>")?;
        write!(
            self.text,
            "<thead role=\"rowgroup\"><tr role=\"row\"><th role=\"columnheader\" scope=\"col\">{column}</th>"
        )?;
        writeln!(self.text, "<th role=\"columnheader\" scope=\"col\">Use</th></tr></thead>\n<tbody role=\"rowgroup\">")
    }

    fn end_table(&mut self) -> fmt::Result {
        writeln!(self.text, "</tbody>\n</table>")
    }

    /// Begins a row. `tag` stands before the name, `note` after it.
    fn begin_row(&mut self, tag: &str, name: &str, note: &str) -> fmt::Result {
        let (tag, name, note) = (Html(tag), Html(name), Html(note));
        write!(self.text, "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">")?;
        if !tag.0.is_empty() {
            write!(self.text, "<b>{tag}</b> ")?;
        }
        write!(self.text, "<code>{name}</code>")?;
        if !note.0.is_empty() {
            write!(self.text, " <span class=\"tag\">{note}</span>")?;
        }
        writeln!(self.text, "</th><td role=\"cell\">")
    }

    fn end_row(&mut self) -> fmt::Result {
        writeln!(self.text, "</td></tr>")
    }

    fn route(&mut self, module: &DeveloperModule, route: &DeveloperRoute) -> fmt::Result {
        let DeveloperModule { name: module, schedules, .. } = module;
        let path = format!("/api/{module}/{}", route.path);
        let note = route.closed.map_or("", closed_by);
        self.begin_row(route.method.as_str(), &path, note)?;
        match route.closed {
            None if route.method == Method::GET && !path.contains('{') => {
                writeln!(self.text, "<a href=\"{0}\">Open {0}</a>", Html(&path))?;
                self.command(&curl(&route.method, self.origin, &path))?;
            }
            None => {
                let name = format!("{} {path}", route.method);
                self.form(&Form { method: &route.method, path: &path, button: "Send", name: &name })?;
                self.command(&curl(&route.method, self.origin, &path))?;
            }
            Some(why @ AccessError::Inner) => {
                writeln!(self.text, "<p>{}.</p>", Html(&sentence(why)))?;
                let text = format!("{} {}", route.method, route.path);
                let mut of_route = schedules.iter().filter(|schedule| schedule.route == text).peekable();
                if of_route.peek().is_none() {
                    let path = quoted(&without_braces(&route.path));
                    self.command(&format!("fanfare call -X {} {module} {path}", route.method))?;
                }
                // The run has the payload and the trigger of the schedule.
                of_route.try_for_each(|schedule| self.command(&run_command(module, &schedule.name)))?;
            }
            Some(why) => writeln!(self.text, "<p>{}.</p>", Html(&sentence(why)))?,
        }
        self.end_row()
    }

    fn broadcast(&mut self, module: &str, name: &str) -> fmt::Result {
        self.begin_row("", name, "")?;
        if self.is_local {
            let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
            let path = format!("/developer/modules/{module}/broadcasts/{encoded}");
            let spoken = format!("the broadcast {name} of {module}");
            self.form(&Form { method: &Method::POST, path: &path, button: "Emit", name: &spoken })?;
        } else {
            writeln!(self.text, "<p>Only a browser on the machine of the host emits broadcasts here.</p>")?;
        }
        self.command(&format!("fanfare emit --gather {module} {} '{{}}'", quoted(name)))?;
        self.end_row()
    }

    fn schedule(&mut self, module: &str, schedule: &DeveloperSchedule) -> fmt::Result {
        self.begin_row("", &schedule.name, &schedule.when)?;
        match schedule.route.as_str() {
            "" => writeln!(self.text, "<p>Runs the program.</p>")?,
            route => writeln!(self.text, "<p>Runs <code>{}</code>.</p>", Html(route))?,
        }
        schedule.results.iter().try_for_each(|result| self.result("p", result))?;
        self.command(&run_command(module, &schedule.name))?;
        self.end_row()
    }

    fn socket(&mut self, module: &str, pattern: &str) -> fmt::Result {
        let path = format!("/api/{module}/{pattern}");
        self.begin_row("WS", &path, "")?;
        writeln!(self.text, "<p>Paste this line into the console of the browser:</p>")?;
        writeln!(self.text, "<p><code class=\"copy\">{}</code></p>", Html(&web_socket(self.origin, &path)))?;
        self.end_row()
    }

    fn form(&mut self, form: &Form<'_>) -> fmt::Result {
        let &Form { method, path, button, name } = form;
        let (path, name) = (Html(path), Html(name));
        // The script shows the form.
        writeln!(self.text, "<form hidden data-method=\"{method}\" data-path=\"{path}\" aria-label=\"{name}\">")?;
        for param in params(path.0) {
            let param = Html(param);
            write!(self.text, "<label>{param} <input data-param=\"{param}\" required autocomplete=\"off\" ")?;
            writeln!(self.text, "autocapitalize=\"off\" spellcheck=\"false\"></label>")?;
        }
        if *method != Method::GET {
            let kinds = [("application/json", "JSON"), ("text/plain", "Text"), ("", "None")];
            let chosen = if *method == Method::DELETE { "" } else { "application/json" };
            write!(self.text, "<label>Body <select name=\"type\">")?;
            for (value, kind) in kinds {
                let selected = if value == chosen { " selected" } else { "" };
                write!(self.text, "<option value=\"{value}\"{selected}>{kind}</option>")?;
            }
            write!(self.text, "</select></label>\n<label>Payload <textarea name=\"payload\" rows=\"2\" ")?;
            writeln!(self.text, "spellcheck=\"false\">{{}}</textarea></label>")?;
        }
        writeln!(self.text, "<button aria-label=\"{button}: {name}\">{button}</button>")?;
        writeln!(self.text, "<p class=\"status\" role=\"status\" aria-live=\"polite\"></p>")?;
        writeln!(self.text, "<pre hidden tabindex=\"0\" role=\"region\" aria-label=\"Answer: {name}\"></pre>\n</form>")
    }

    fn command(&mut self, command: &str) -> fmt::Result {
        let command = Html(command);
        writeln!(self.text, "<details><summary>Command</summary><code class=\"copy\">{command}</code></details>")
    }
}

#[cfg(test)]
mod tests;
