//! The languages and the templates of `fanfare new`, and the files of each.

use clap::ValueEnum;

use super::sdk::LOCK;
use crate::build::tools;

/// A language that a module can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust
    Rust,
    /// JavaScript
    Js,
    /// TypeScript
    Ts,
    /// Python
    Python,
    /// C
    C,
    /// Zig
    Zig,
    /// Go
    Go,
}

/// What a new module shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Answers requests. In C it limits how often a route is called.
    Http,
    /// Tells a change to every worker.
    Broadcast,
    /// Publishes to a live stream, also by a schedule.
    Sse,
    /// Decides what may be said in channels.
    ChatFilter,
    /// A component of wasi:http, without the SDK.
    WasiHttp,
}

/// A file: its path and its text, both with `{{placeholders}}`.
pub type File = (&'static str, &'static str);

/// The sources of a template in each language, and what they have in common.
struct Sources {
    manifest: &'static str,
    cases: &'static str,
    /// The source, with its tests.
    rust: &'static str,
    js: &'static str,
    ts: &'static str,
    /// The tests in JavaScript, also of the source in TypeScript.
    js_tests: &'static str,
    python: &'static str,
    python_tests: &'static str,
    zig: &'static str,
    go: &'static str,
    /// All files.
    c: &'static [File],
}

const MANIFEST: &str = "module.json";
const CASES: &str = "{{name}}.test.json";

macro_rules! text {
    ($($path:expr),+) => { include_str!(concat!("template/", $($path),+)) };
}

macro_rules! sources {
    ($folder:literal, $c:expr) => {
        Sources {
            manifest: text!($folder, "/module.json"),
            cases: text!($folder, "/test.json"),
            rust: text!($folder, "/lib.rs.txt"),
            js: text!($folder, "/module.js.txt"),
            ts: text!($folder, "/module.ts.txt"),
            js_tests: text!($folder, "/test.js.txt"),
            python: text!($folder, "/module.py.txt"),
            python_tests: text!($folder, "/test.py.txt"),
            zig: text!($folder, "/module.zig.txt"),
            go: text!($folder, "/main.go.txt"),
            c: $c,
        }
    };
    ($folder:literal) => {
        sources!(
            $folder,
            &[
                (MANIFEST, text!($folder, "/module.json")),
                ("{{entry}}", text!($folder, "/module.c.txt")),
                (CASES, text!($folder, "/test.json")),
                ("tests.c", text!($folder, "/test.c.txt")),
            ]
        )
    };
}

macro_rules! limiter {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/c/examples/limiter/", $file))
    };
}

const HTTP: Sources = sources!("http", LIMITER);
const BROADCAST: Sources = sources!("broadcast");
const SSE: Sources = sources!("sse");
const CHAT_FILTER: Sources = sources!("chat-filter");

/// The example of the SDK for C, with the names of its own folder.
const LIMITER: &[File] = &[
    (MANIFEST, limiter!("module.json")),
    ("{{entry}}", limiter!("limiter.c")),
    ("buckets.c", limiter!("buckets.c")),
    ("buckets.h", limiter!("buckets.h")),
    (CASES, limiter!("limiter.test.json")),
    ("tests.c", limiter!("tests.c")),
];

/// What becomes of the names in [`LIMITER`].
const OF_LIMITER: &[(&str, &str)] = &[
    ("../../../../schema", "{{schema}}"),
    ("../../build", "{{sdk}}/c/build"),
    ("sdk/c/test ", "{{sdk}}/c/test "),
    ("limiter.wasm", "{{component}}"),
    ("limiter.c", "{{entry}}"),
    ("limiter/check", "{{name}}/check"),
];

impl Sources {
    fn files(&self, language: Language) -> Vec<File> {
        let manifest = (MANIFEST, self.manifest);
        let cases = (CASES, self.cases);
        let entry = |text| ("{{entry}}", text);
        let tests_in_js = ("{{file}}.test.js", self.js_tests);
        let npm = (".npmrc", text!("files/npmrc"));
        match language {
            Language::Rust => vec![
                manifest,
                ("Cargo.toml", text!("files/Cargo.toml.txt")),
                ("Cargo.lock", LOCK),
                ("src/lib.rs", self.rust),
                cases,
                RUST_IGNORED,
            ],
            Language::Js => {
                let package = ("package.json", text!("files/package.json"));
                vec![manifest, entry(self.js), cases, tests_in_js, package, npm, JS_IGNORED]
            }
            Language::Ts => {
                let types = ("tsconfig.json", text!("files/tsconfig.json"));
                let package = ("package.json", text!("files/package.ts.json"));
                vec![manifest, entry(self.ts), cases, tests_in_js, package, types, npm, JS_IGNORED]
            }
            Language::Python => vec![
                manifest,
                entry(self.python),
                cases,
                ("test_{{file}}.py", self.python_tests),
                ("requirements.txt", "{{sdk}}/python[build]\n"),
                PYTHON_IGNORED,
            ],
            Language::C => [self.c, &[COMPONENT_IGNORED]].concat(),
            Language::Zig => vec![manifest, entry(self.zig), cases, COMPONENT_IGNORED],
            Language::Go => {
                vec![manifest, entry(self.go), ("go.mod", text!("files/go.mod.txt")), cases, COMPONENT_IGNORED]
            }
        }
    }
}

impl Language {
    /// What its builds need.
    pub fn tools(self) -> &'static tools::Language {
        match self {
            Language::Rust => &tools::RUST,
            Language::Js | Language::Ts => &tools::JAVASCRIPT,
            Language::Python => &tools::PYTHON,
            Language::C => &tools::C,
            Language::Zig => &tools::ZIG,
            Language::Go => &tools::GO,
        }
    }

    /// The name of the module's source.
    pub fn entry(self, file: &str) -> String {
        let ending = match self {
            Language::Rust => "rs",
            Language::Js => "js",
            Language::Ts => "ts",
            Language::Python => "py",
            Language::C => "c",
            Language::Zig => "zig",
            // The package is the folder, whatever the names of its files.
            Language::Go => return "main.go".to_owned(),
        };
        format!("{file}.{ending}")
    }
}

impl Template {
    /// The templates that exist in a language.
    pub fn of(language: Language) -> impl Iterator<Item = Template> {
        Template::value_variants().iter().copied().filter(move |template| template.files(language).is_some())
    }

    /// The languages in which the template exists.
    pub fn languages(self) -> impl Iterator<Item = Language> {
        Language::value_variants().iter().copied().filter(move |language| self.files(*language).is_some())
    }

    fn sources(self) -> Option<&'static Sources> {
        match self {
            Template::Http => Some(&HTTP),
            Template::Broadcast => Some(&BROADCAST),
            Template::Sse => Some(&SSE),
            Template::ChatFilter => Some(&CHAT_FILTER),
            Template::WasiHttp => None,
        }
    }

    /// The files of a module, `module.json` first. `None` if the language has no such template.
    pub fn files(self, language: Language) -> Option<Vec<(String, String)>> {
        let files = match self.sources() {
            Some(sources) => sources.files(language),
            None => wasi_http(language)?,
        };
        let is_limiter = (self, language) == (Template::Http, Language::C);
        let renamed = |text: &str| match is_limiter {
            true => OF_LIMITER.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)),
            false => text.to_owned(),
        };
        Some(files.into_iter().map(|(path, text)| (path.to_owned(), renamed(text))).collect())
    }

    /// The command that builds the component.
    pub fn command(self, language: Language) -> &'static str {
        match (self, language) {
            (_, Language::Rust) => "cargo build --release --target wasm32-wasip2",
            (Template::WasiHttp, Language::Js) => "npx componentize-js {{entry}} --wit wit --out {{component}}",
            (Template::WasiHttp, _) => {
                ".venv/bin/componentize-py --quiet --wit-path wit --world module componentize {{file}} --output {{component}}"
            }
            (_, Language::Js) => "npx fanfare-js build {{entry}} -o {{component}}",
            (_, Language::Ts) => "npx tsc && npx fanfare-js build {{entry}} -o {{component}}",
            (_, Language::Python) => ".venv/bin/python -m fanfare.build {{entry}}",
            (_, Language::C | Language::Zig) => "{{sdk}}/c/build -o {{component}} {{entry}}",
            (_, Language::Go) => "{{sdk}}/go/build -o {{component}}",
        }
    }

    /// A command that shows what the module does, once it is served.
    pub fn example(self, language: Language) -> &'static str {
        match (self, language) {
            (Template::Http, Language::C) => "curl http://{{listen}}/api/{{name}}/demo",
            (Template::Http, _) => "curl http://{{listen}}/api/{{name}}/Ada",
            (Template::Broadcast, _) => {
                "curl -X PUT -H 'content-type: text/plain' -d dark http://{{listen}}/api/{{name}}/theme"
            }
            (Template::Sse, _) => "curl -N 'http://{{listen}}/stream?connectKey={{name}}'",
            (Template::ChatFilter, _) => {
                "curl -H 'content-type: text/plain' -d 'darn it' http://{{listen}}/api/{{name}}/tea"
            }
            (Template::WasiHttp, _) => "curl http://{{listen}}/api/{{name}}/",
        }
    }
}

const RUST_IGNORED: File = (".gitignore", "target/\n");
const JS_IGNORED: File = (".gitignore", "node_modules/\n*.wasm\n");
const PYTHON_IGNORED: File = (".gitignore", ".venv/\n__pycache__/\n*.wasm\n");
const COMPONENT_IGNORED: File = (".gitignore", "*.wasm\n");

/// The lock file of a crate that the host's tests build with the same dependency.
const WSTD_LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/http-2/Cargo.lock"));

fn wasi_http(language: Language) -> Option<Vec<File>> {
    let manifest = ("module.json", text!("wasi-http/module.json"));
    let cases = ("{{name}}.test.json", text!("wasi-http/test.json"));
    let contract = ("wit/http.wit", text!("wasi-http/http.wit"));
    Some(match language {
        Language::Rust => vec![
            manifest,
            ("Cargo.toml", text!("wasi-http/Cargo.toml.txt")),
            ("Cargo.lock", WSTD_LOCK),
            ("src/main.rs", text!("wasi-http/main.rs.txt")),
            cases,
            RUST_IGNORED,
        ],
        Language::Js => vec![
            manifest,
            ("{{entry}}", text!("wasi-http/module.js.txt")),
            cases,
            ("package.json", text!("wasi-http/package.json")),
            contract,
            JS_IGNORED,
        ],
        Language::Python => vec![
            manifest,
            ("{{entry}}", text!("wasi-http/module.py.txt")),
            cases,
            ("requirements.txt", "componentize-py==0.25.1\n"),
            contract,
            PYTHON_IGNORED,
        ],
        // An engine that has `fetch` compiles no TypeScript, and the others would need generated
        // bindings.
        Language::Ts | Language::C | Language::Zig | Language::Go => return None,
    })
}
