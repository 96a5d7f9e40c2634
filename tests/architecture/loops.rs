//! Checks that no files of the library import each other in a loop.
//!
//! A file imports another file if it names an item of it, in a `use` or in a path. A `pub use` only
//! forwards a name: a file that imports the forwarded name imports the file that defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{code, sources};
use crate::harness::root;

/// The path of a module from the root of the crate, which is empty itself.
type Module = Vec<String>;

#[derive(Default)]
struct File {
    /// The absolute paths of all items that it names.
    imports: Vec<Module>,
    /// The names that it forwards, with the absolute paths of their items.
    forwards: BTreeMap<String, Module>,
}

struct Files(BTreeMap<Module, File>);

impl Files {
    fn read(src: &Path) -> Files {
        let mut paths = Vec::new();
        sources(src, &mut paths);
        let texts: BTreeMap<Module, String> = paths
            .iter()
            .map(|path| (module_of(path.strip_prefix(src).unwrap()), code(path)))
            .filter(|(module, _)| !module.iter().any(|name| name == "tests" || name == "fuzzing"))
            .collect();
        let is_module = |path: &[String]| texts.contains_key(path);
        Files(texts.iter().map(|(module, text)| (module.clone(), file(module, text, &is_module))).collect())
    }

    /// Returns the file that defines the item of a path. Follows names that other files forward.
    fn target(&self, path: &[String], depth: usize) -> Option<&Module> {
        let length = (0..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length]))?;
        let (module, file) = self.0.get_key_value(&path[..length])?;
        match path.get(length).and_then(|name| file.forwards.get(name)).filter(|_| depth < 8) {
            Some(forwarded) => self.target(&[forwarded, &path[length + 1..]].concat(), depth + 1),
            None => Some(module),
        }
    }

    fn imports_of<'a>(&'a self, module: &Module) -> BTreeSet<&'a Module> {
        let imports = self.0[module].imports.iter().filter_map(|path| self.target(path, 0));
        imports.filter(|target| *target != module && !target.is_empty()).collect()
    }

    /// Returns every group of files that import each other, directly or through others.
    fn loops(&self) -> Vec<Vec<String>> {
        let edges: BTreeMap<&Module, BTreeSet<&Module>> =
            self.0.keys().map(|module| (module, self.imports_of(module))).collect();
        let reach = |from: &Module| {
            let (mut seen, mut next) = (BTreeSet::new(), edges.get(from).into_iter().flatten().collect::<Vec<_>>());
            while let Some(module) = next.pop() {
                if seen.insert(*module) {
                    next.extend(&edges[*module]);
                }
            }
            seen
        };
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            edges.keys().map(|module| (*module, reach(module))).collect();
        let mut loops = BTreeSet::new();
        for (module, _) in reached.iter().filter(|(module, reached)| reached.contains(**module)) {
            let members = reached[module].iter().filter(|other| reached[**other].contains(*module));
            loops.insert(members.map(|member| member.join("/")).collect::<Vec<_>>());
        }
        loops.into_iter().collect()
    }
}

fn module_of(relative: &Path) -> Module {
    let names = relative.with_extension("");
    let names: Module = names.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if names == ["lib"] { Module::new() } else { names }
}

fn file(module: &Module, text: &str, is_module: &impl Fn(&[String]) -> bool) -> File {
    let mut file = File::default();
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        // Only a `use` at the start of a line or block is an import.
        let found = statement.rfind("use ").filter(|at| {
            let before = statement[..*at].trim_end_matches(' ');
            let before = before.strip_suffix("pub").or_else(|| before.strip_suffix("pub(super)")).unwrap_or(before);
            let before = before.strip_suffix("pub(crate)").unwrap_or(before).trim_end_matches(' ');
            before.is_empty() || before.ends_with(['\n', '{', '}', ';', ']'])
        });
        let Some(at) = found else {
            rest.push_str(statement);
            continue;
        };
        let line = statement[..at].rfind('\n').map_or(0, |line| line + 1);
        let forwards = statement[line..at].trim_start().starts_with("pub");
        rest.push_str(&statement[..line]);
        let tree: String = statement[at + 4..].trim_end_matches(';').split_whitespace().collect::<Vec<_>>().join(" ");
        for path in expand(&tree) {
            let name = path.last().cloned().unwrap_or_default();
            match absolute(module, &path, is_module) {
                Some(absolute) if forwards => drop(file.forwards.insert(name, absolute)),
                Some(absolute) => file.imports.push(absolute),
                None => {}
            }
        }
    }
    for path in paths(&rest) {
        file.imports.extend(absolute(module, &path, is_module));
    }
    file
}

/// Returns every path of a `use` tree.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let names = |text: &str| {
        let names = text.split("::").map(|name| name.trim().split(" as ").next().unwrap_or_default().to_owned());
        names.filter(|name| !name.is_empty() && name != "self").collect::<Vec<_>>()
    };
    let Some((before, group)) = tree.split_once('{') else {
        let is_relative = tree.trim().starts_with("self::");
        return vec![[if is_relative { vec!["self".to_owned()] } else { Vec::new() }, names(tree)].concat()];
    };
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in group[..group.rfind('}').unwrap_or(group.len())].chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(part)).map(|rest| [names(before), rest].concat()).collect()
}

/// Returns every path in the code, such as `crate::call::Call` or `instance::start`.
fn paths(code: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let words = code.split(|c: char| !is_name(c) && c != ':').filter(|word| word.contains("::"));
    words
        .map(|word| word.split("::").map(str::to_owned).collect::<Vec<_>>())
        .filter(|path| !path[0].is_empty())
        .collect()
}

/// Returns a path from the root of the crate, or `None` if it leads out of the crate.
fn absolute(module: &Module, path: &[String], is_module: &impl Fn(&[String]) -> bool) -> Option<Module> {
    let supers = path.iter().take_while(|name| *name == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([module.get(..module.len().checked_sub(supers)?)?, &path[supers..]].concat()),
        first => is_module(&[module.as_slice(), &[first.to_owned()]].concat()).then(|| [module, path].concat()),
    }
}

#[test]
fn a_loop_is_found() {
    let modules = ["a", "a/b", "c"].map(|name| name.split('/').map(str::to_owned).collect::<Module>());
    let is_module = |path: &[String]| modules.iter().any(|module| module == path);
    let texts = [
        "mod b;\npub use b::{B, other::Other};\nfn f() { b::g() }",
        "use crate::c::{self, C as D};\nfn g() {}",
        "pub(crate) use super::x;\nuse crate::{a::B};",
    ];
    let files = Files(
        modules.iter().zip(texts).map(|(module, text)| (module.clone(), file(module, text, &is_module))).collect(),
    );
    assert_eq!(files.loops(), [["a/b", "c"]]);
}

#[test]
fn no_files_import_each_other_in_a_loop() {
    let files = Files::read(&root().join("host/src"));
    assert!(files.0.len() > 100, "there are too few source files");
    let loops: Vec<String> = files.loops().iter().map(|files| files.join(", ")).collect();
    assert!(loops.is_empty(), "these files import each other:\n{}", loops.join("\n"));
}
