//! Checks that every file that a page names exists, and that the printed tree of the library is
//! complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::root;

/// The pages outside `docs/`. The test also reads all pages in `docs/`.
const PAGES: [&str; 4] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"];

/// Folders whose files pages name.
const FOLDERS: [&str; 13] = [
    ".ci/",
    ".github/",
    "bench/",
    "cli/",
    "docs/",
    "fuzz/",
    "host/",
    "packaging/",
    "schema/",
    "sdk/",
    "tests/",
    "wit/",
    "modules/",
];

/// Folders whose files no page names, because they are build output or belong to git.
const SKIPPED: [&str; 4] = [".git", ".fanfare", "target", "node_modules"];

fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs = docs.map(|name| format!("docs/{}", name.to_str().unwrap()));
    PAGES.iter().map(|page| (*page).to_owned()).chain(docs.filter(|page| page.ends_with(".md"))).collect()
}

/// Finds every file and folder of the repository. Folders end with a slash.
fn checkout(dir: &Path, above: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            let folder = format!("{above}{name}/");
            checkout(&entry.path(), &folder, found);
            found.insert(folder);
        } else {
            found.insert(format!("{above}{name}"));
        }
    }
}

/// Returns the texts in backticks and the targets of links, with their lines.
fn quoted(page: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        found.extend(line.split('`').skip(1).step_by(2).map(|text| (number + 1, text)));
        let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let links = links.map(|link| link.trim_start_matches("../"));
        found.extend(links.filter(|link| !link.is_empty() && !link.contains("://")).map(|link| (number + 1, link)));
    }
    found
}

/// Whether a text in backticks is the path of a file or folder of the repository.
fn is_path(text: &str) -> bool {
    let is_plain = !text.contains(|c: char| c.is_whitespace() || "*<>{}$:,;()\"".contains(c)) && !text.contains("..");
    let is_source = text.ends_with(".rs") || text.ends_with(".wit") || text.ends_with(".md");
    // A reader of `docs/` creates modules with names of their own.
    let is_example = !text.starts_with("modules/") || text.starts_with("modules/counter/");
    is_plain && is_example && (is_source || FOLDERS.iter().any(|folder| text.starts_with(folder)))
}

fn exists(text: &str, checkout: &BTreeSet<String>) -> bool {
    let text = text.trim_start_matches("./").trim_end_matches('/');
    let (file, folder) = (format!("/{text}"), format!("/{text}/"));
    checkout.iter().any(|path| {
        let path = format!("/{path}");
        path.ends_with(&file) || path.ends_with(&folder)
    })
}

#[test]
fn a_missing_file_is_found() {
    let page =
        "See `isolate/turn.rs`, `wit/none.wit` and `GET /a.rs/b`.\n```sh\n`host/none.rs`\n```\n[Here](docs/a.md#b).";
    let quoted = quoted(page);
    let paths: Vec<_> = quoted.iter().filter(|(_, text)| is_path(text)).collect();
    assert_eq!(paths, [&(1, "isolate/turn.rs"), &(1, "wit/none.wit"), &(5, "docs/a.md")]);
    let checkout = BTreeSet::from(["host/src/isolate/turn.rs".to_owned(), "tests/limits/".to_owned()]);
    assert!(exists("isolate/turn.rs", &checkout) && exists("tests/limits", &checkout) && exists("limits/", &checkout));
    assert!(!exists("wit/none.wit", &checkout) && !exists("urn.rs", &checkout));
}

#[test]
fn every_file_that_a_page_names_exists() {
    let mut found = BTreeSet::new();
    checkout(&root(), "", &mut found);
    let mut faults = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for (line, path) in quoted(&text) {
            if is_path(path) && !exists(path, &found) {
                faults.push(format!("{page}:{line}: there is no {path}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Returns the entries that the tree in ARCHITECTURE.md shows below a folder. The root is the empty
/// folder.
fn printed(folder: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (mut inside, mut found) = (folder.is_empty(), BTreeSet::new());
    for line in page.lines() {
        let indent = line.len() - line.trim_start().len();
        let Some(entry) = line.split_whitespace().next().filter(|_| indent == 4 || indent == 6) else { continue };
        let wanted = if folder.is_empty() { 4 } else { 6 };
        if indent == 4 && !folder.is_empty() {
            inside = entry == folder;
        }
        let is_entry = line.starts_with(&format!("{:indent$}{entry}  ", ""));
        if inside && indent == wanted && is_entry && (entry.ends_with('/') || entry.contains('.')) {
            found.insert(entry.to_owned());
        }
    }
    found
}

#[test]
fn the_printed_trees_show_what_exists() {
    let (top, library) = (printed(""), printed("host/src/"));
    assert!(top.len() > 10 && library.len() > 15, "the printed trees have too few entries: {top:?} {library:?}");
    for (folder, entries) in [("", &top), ("host/src/", &library)] {
        for entry in entries {
            let path = root().join(folder).join(entry);
            assert!(path.exists(), "ARCHITECTURE.md prints {folder}{entry}, which does not exist");
        }
    }
    for entry in fs::read_dir(root().join("host/src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let part = name.trim_end_matches(".rs");
        let is_printed = library.iter().any(|entry| entry.split(['/', '.']).next() == Some(part));
        assert!(is_printed, "ARCHITECTURE.md does not print {part} of host/src");
    }
}

#[test]
fn every_test_that_the_table_of_attacks_names_exists() {
    let page = fs::read_to_string(root().join("docs/hardening.md")).unwrap();
    let mut files = BTreeSet::new();
    checkout(&root(), "", &mut files);
    let files = files.iter().filter(|file| file.ends_with(".rs"));
    let code: String = files.map(|file| fs::read_to_string(root().join(file)).unwrap()).collect();
    let is_test =
        |text: &str| text.matches('_').count() >= 2 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let named: Vec<_> = quoted(&page).into_iter().filter(|(_, text)| is_test(text)).collect();
    assert!(named.len() > 50, "the page names only {} tests", named.len());
    let missing: Vec<_> = named.iter().filter(|(_, test)| !code.contains(&format!("fn {test}("))).collect();
    assert!(missing.is_empty(), "docs/hardening.md names tests that do not exist: {missing:?}");
}

#[test]
fn the_unit_of_the_recipes_is_that_of_the_package() {
    let page = fs::read_to_string(root().join("docs/recipes.md")).unwrap();
    let unit = fs::read_to_string(root().join("packaging/fanfare.service")).unwrap();
    assert!(page.contains(&format!("```ini\n{unit}```")), "copy packaging/fanfare.service into docs/recipes.md");
}

#[test]
fn the_signatures_in_the_page_about_tests_are_those_of_the_sdk() {
    let page = fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let compact = |text: &str| text.split_whitespace().collect::<String>().replace(",)", ")");
    let folder = root().join("sdk/rust/fanfare-sdk/src/testing");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let source: String = files.map(|path| compact(&fs::read_to_string(path).unwrap())).collect();
    let signatures: Vec<&str> = page.lines().filter(|line| line.starts_with("fn ") && !line.ends_with('{')).collect();
    assert!(signatures.len() > 30, "{signatures:?}");
    for signature in signatures {
        assert!(source.contains(&format!("pub{}{{", compact(signature))), "{signature}");
    }
}
