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
    "testing",
    "recipes",
    "middlewares",
    "capabilities",
    "foreign",
    "reference",
    "hot-swap",
    "schedules",
    "subscriptions",
    "events",
    "redis",
    "sse",
    "websockets",
    "sessions",
    "channels",
    "clients",
    "hooks",
    "host-events",
    "kills",
    "install",
    "hardening",
    "egg-sse",
    "eggborn",
    "mydog",
    "socketcluster",
];

/// Returns the text of a page, such as `first-module.md`.
pub(super) fn text(file: &str) -> Option<&'static str> {
    let name = file.strip_suffix(".md")?;
    PAGES.iter().find(|(page, _)| *page == name).map(|(_, text)| *text)
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
        assert!(text("first-module.md").is_some_and(|text| text.starts_with("# ")));
        assert_eq!((text("first-module"), text("none.md")), (None, None));
    }
}
