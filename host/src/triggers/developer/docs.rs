//! The documentation of this version, so that the page needs no other server.

/// Lists the pages of `docs/`: the name and the text of each.
macro_rules! pages {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../docs/", $name, ".md")))),*]
    };
}

/// The pages, those for a beginner first.
pub(super) const PAGES: &[(&str, &str)] = pages![
    "first-module",
    "javascript",
    "python",
    "c",
    "zig",
    "go",
    "languages",
    "testing",
    "recipes",
    "types",
    "middlewares",
    "capabilities",
    "foreign",
    "reference",
    "hot-swap",
    "schedules",
    "subscriptions",
    "events",
    "redis",
    "nats",
    "sse",
    "websockets",
    "sessions",
    "channels",
    "clients",
    "hooks",
    "host-events",
    "kills",
    "cluster",
    "durable",
    "faults",
    "scaling",
    "install",
    "hardening",
    "egg-sse",
    "eggborn",
    "mydog",
    "socketcluster",
];

/// The index of the pages.
const INDEX: &str = include_str!("../../../../docs/README.md");

/// Pages outside `docs/` to which those in it link, by their paths below the root of the
/// repository.
const LINKED: &[(&str, &str)] = &[
    ("CONTRIBUTING.md", include_str!("../../../../CONTRIBUTING.md")),
    ("README.md", include_str!("../../../../README.md")),
    ("SECURITY.md", include_str!("../../../../SECURITY.md")),
    ("bench/README.md", include_str!("../../../../bench/README.md")),
    ("fuzz/README.md", include_str!("../../../../fuzz/README.md")),
    ("modules/README.md", include_str!("../../../../modules/README.md")),
    ("modules/limiter/src/lib.rs", include_str!("../../../../modules/limiter/src/lib.rs")),
    ("sdk/README.md", include_str!("../../../../sdk/README.md")),
    ("sdk/c/examples/limiter/README.md", include_str!("../../../../sdk/c/examples/limiter/README.md")),
    ("sdk/cases/README.md", include_str!("../../../../sdk/cases/README.md")),
    ("sdk/js/examples/webhook/README.md", include_str!("../../../../sdk/js/examples/webhook/README.md")),
    ("sdk/python/examples/scorer/README.md", include_str!("../../../../sdk/python/examples/scorer/README.md")),
    ("sdk/rust/README.md", include_str!("../../../../sdk/rust/README.md")),
    ("wit/README.md", include_str!("../../../../wit/README.md")),
];

/// Returns the text of a page by its path below the root of the repository, such as
/// `docs/first-module.md`. The folder `docs/` is its index.
pub(super) fn text(path: &str) -> Option<&'static str> {
    let Some(file) = path.strip_prefix("docs/") else {
        return LINKED.iter().find(|(page, _)| *page == path).map(|(_, text)| *text);
    };
    if matches!(file, "" | "README.md") {
        return Some(INDEX);
    }
    let name = file.strip_suffix(".md")?;
    PAGES.iter().find(|(page, _)| *page == name).map(|(_, text)| *text)
}

/// Returns what the index says about a page. Empty if it lists the page without a summary.
pub(super) fn summary(name: &str) -> String {
    let link = format!("]({name}.md): ");
    let Some((_, rest)) = INDEX.split_once(&link) else { return String::new() };
    let item = rest.split("\n\n").next().and_then(|rest| rest.split("\n- ").next()).unwrap_or_default();
    // The text before links to other pages.
    let item = item.split("; [").next().unwrap_or_default();
    let item = item.split(";\n").next().unwrap_or_default();
    item.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_page_of_the_documentation_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // `README.md` lists the others.
        let files: BTreeSet<String> = files.filter(|file| file.ends_with(".md") && file != "README.md").collect();
        let listed: BTreeSet<String> = PAGES.iter().map(|(name, _)| format!("{name}.md")).collect();
        assert_eq!(listed, files);
        assert!(text("docs/first-module.md").is_some_and(|text| text.starts_with("# ")));
        assert!(text("docs/") == Some(INDEX) && text("docs/README.md") == Some(INDEX));
        assert_eq!((text("docs/first-module"), text("docs/none.md"), text("first-module.md")), (None, None, None));
    }

    #[test]
    fn every_relative_link_of_a_page_leads_to_a_text() {
        for (name, page) in PAGES.iter().chain(&[("README", INDEX)]) {
            for link in page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                if link.is_empty() || link.contains(':') {
                    continue;
                }
                let path = link.strip_prefix("../").map_or_else(|| format!("docs/{link}"), str::to_owned);
                assert!(text(&path).is_some(), "{name} links to {link}");
            }
        }
    }

    #[test]
    fn a_page_has_the_summary_of_the_index() {
        assert_eq!(summary("first-module"), "create, build, test, serve and call a module.");
        assert!(summary("clients").ends_with("schedule or hook, and what each promises."), "{}", summary("clients"));
        assert_eq!(summary("none"), "");
        let without = PAGES.iter().filter(|(name, _)| summary(name).is_empty()).map(|(name, _)| *name);
        assert_eq!(without.collect::<Vec<_>>(), ["egg-sse"]);
    }
}
