//! Shows a page of the documentation as HTML.

use std::collections::HashMap;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};

use super::docs;

/// Returns the HTML of a page in Markdown. Its headings have the identifiers that GitHub gives
/// them, to which links of other pages lead. `path` is that of the page below the root of the
/// repository.
pub(super) fn html(path: &str, markdown: &str) -> String {
    let mut links = Vec::new();
    let has_target = |event: &Event<'_>| match event {
        Event::Start(Tag::Link { dest_url, .. }) => {
            links.push(leads(path, dest_url));
            links.last() == Some(&true)
        }
        Event::End(TagEnd::Link) => links.pop() == Some(true),
        _ => true,
    };
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).filter(has_target).collect();
    let title = name_headings(&mut events).unwrap_or_default();
    let mut text = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>",
    );
    html::push_html(&mut text, [Event::Text(title.into())].into_iter());
    text.push_str(
        "</title>\n<link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/developer/page.css\">\n\
         </head>\n<body class=\"guide\">\n<nav><ul><li><a href=\"/developer\">Modules</a></li>\
         <li><a href=\"/developer/docs/\">Documentation</a></li></ul></nav>\n<main>\n",
    );
    html::push_html(&mut text, events.into_iter());
    text.push_str("</main>\n</body>\n</html>\n");
    text
}

/// Whether a link of a page leads to a text that the host has, or to another server.
fn leads(path: &str, link: &str) -> bool {
    let file = link.split('#').next().unwrap_or_default();
    if file.is_empty() || file.contains("://") {
        return true;
    }
    let mut target: Vec<&str> = path.split('/').collect();
    target.pop();
    for part in file.split('/') {
        match part {
            ".." => drop(target.pop()),
            "." => {}
            part => target.push(part),
        }
    }
    docs::text(&target.join("/")).is_some()
}

/// Gives each heading an identifier. Returns the text of the first one.
fn name_headings(events: &mut [Event<'_>]) -> Option<String> {
    let (mut title, mut used) = (None, HashMap::new());
    for start in 0..events.len() {
        let Some((Event::Start(Tag::Heading { id, .. }), rest)) =
            events.get_mut(start..).and_then(<[_]>::split_first_mut)
        else {
            continue;
        };
        let inside = rest.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
        let text: String = inside
            .filter_map(|event| match event {
                Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
                _ => None,
            })
            .collect();
        let name = identifier(&text);
        let before = used.entry(name.clone()).and_modify(|count| *count += 1).or_insert(0);
        *id = Some(if *before == 0 { name } else { format!("{name}-{before}") }.into());
        title.get_or_insert(text);
    }
    title
}

/// `Redis: what waits` becomes `redis-what-waits`.
fn identifier(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|char| if char == ' ' { '-' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::docs::PAGES;
    use super::*;

    #[test]
    fn a_page_has_links_tables_and_headings_with_identifiers() {
        let page = html(
            "docs/x.md",
            "# A `b` & c\n\nSee [it](events.md#x).\n\n| a |\n| - |\n| `<b>` |\n\n## Same\n\n## Same\n",
        );
        for part in [
            "<title>A b &amp; c</title>",
            "<h1 id=\"a-b--c\">A <code>b</code> &amp; c</h1>",
            "<a href=\"events.md#x\">it</a>",
            "<td><code>&lt;b&gt;</code></td>",
            "<h2 id=\"same\">Same</h2>\n<h2 id=\"same-1\">Same</h2>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn a_link_without_a_target_is_only_text() {
        let links = "[a](docs/events.md#x) [b](LICENSE) [c](https://h/x) [d](#e)";
        let page = html("README.md", links);
        let kept = "<a href=\"docs/events.md#x\">a</a> b <a href=\"https://h/x\">c</a> <a href=\"#e\">d</a>";
        assert!(page.contains(kept), "{page}");
        assert!(leads("sdk/rust/README.md", "../../docs/README.md") && !leads("sdk/rust/README.md", "docs/README.md"));
    }

    #[test]
    fn links_to_a_part_of_a_page_lead_to_a_heading() {
        for (name, page) in PAGES {
            for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let Some((file, part)) = link.split_once('#').filter(|_| !link.contains("//")) else { continue };
                let of = if file.is_empty() { *name } else { file.trim_end_matches(".md") };
                let Some((_, target)) = PAGES.iter().find(|(page, _)| *page == of) else { continue };
                assert!(html("docs/x.md", target).contains(&format!(" id=\"{part}\"")), "{name} links to {link}");
            }
        }
    }
}
