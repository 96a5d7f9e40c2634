//! The list of the events in `docs/host-events.md`, from the comments of the enum and from
//! `examples.jsonl`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What is below this line in the page is generated.
const MARK: &str =
    "<!-- Generated from host/src/events/event.rs: FANFARE_BLESS=1 cargo test --release --lib events -->\n";

/// An event of the enum.
#[derive(Default)]
struct Described {
    name: String,
    text: String,
    /// The name, the type and the meaning of each field.
    fields: Vec<[String; 3]>,
}

/// Reads the enum: comments, variants and fields, each at its depth.
fn described() -> Vec<Described> {
    let source = include_str!("../event.rs");
    let body = source.split("pub enum HostEvent {\n").nth(1).unwrap();
    let (mut events, mut comment) = (Vec::<Described>::new(), String::new());
    for line in body.lines().take_while(|line| *line != "}") {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        if let Some(words) = text.strip_prefix("///") {
            let gap = if comment.is_empty() { "" } else { " " };
            _ = write!(comment, "{gap}{}", words.trim());
        } else if let (4, Some(name)) = (depth, text.strip_suffix(" {")) {
            let (first, rest) = name.split_at(1);
            let name = first.to_lowercase() + rest;
            events.push(Described { name, text: std::mem::take(&mut comment), fields: Vec::new() });
        } else if let (8, Some((name, kind))) = (depth, text.trim_end_matches(',').split_once(": ")) {
            let field = [camel(name), kind_of(kind).to_owned(), std::mem::take(&mut comment)];
            events.last_mut().unwrap().fields.push(field);
        } else {
            assert_eq!((depth, text), (4, "},"), "a line that this test cannot read");
        }
    }
    events
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |text, word| text + &word[..1].to_uppercase() + &word[1..])
}

/// The type of a field in JSON.
fn kind_of(kind: &str) -> &'static str {
    match kind {
        "u32" | "u64" => "number",
        "bool" => "true or false",
        "String" => "text",
        "Origin" => "object",
        "Vec<u32>" => "list of numbers",
        "Option<String>" => "text or null",
        "Option<i32>" | "Option<u64>" => "number or null",
        "Option<()>" => "null",
        other => panic!("{other}"),
    }
}

fn list() -> String {
    let mut text = String::new();
    let examples = include_str!("examples.jsonl").lines();
    for (Described { name, text: about, fields }, example) in described().iter().zip(examples) {
        assert!(example.starts_with(&format!("{{\"type\": \"{name}\"")), "{example}");
        _ = write!(text, "\n## {name}\n\n{}\n\n| field | type | meaning |\n|---|---|---|\n", wrapped(about));
        for [field, kind, meaning] in fields {
            _ = writeln!(text, "| `{field}` | {kind} | {meaning} |");
        }
        _ = write!(text, "\n```json\n{example}\n```\n");
    }
    text
}

/// Breaks a text into lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if !line.is_empty() && line.len() + 1 + word.len() > 120 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[test]
fn the_page_lists_every_event_with_its_fields_and_an_example() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/host-events.md");
    let page = fs::read_to_string(&file).unwrap();
    let (head, there) = page.split_once(MARK).unwrap();
    let list = list();
    if std::env::var_os("FANFARE_BLESS").is_some() {
        fs::write(&file, format!("{head}{MARK}{list}")).unwrap();
    } else {
        assert_eq!(there, list, "docs/host-events.md differs from the enum: run FANFARE_BLESS=1 cargo test");
    }
}
