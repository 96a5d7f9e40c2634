//! Recognises the language and the toolchain of a component whose `producers` sections name those
//! of its runtime: interpreters are written in C or Rust, and so is the adapter of WASI.

use serde::Serialize;
use wasmparser::{CustomSectionReader, Dylink0Subsection, KnownCustom, Payload};

/// The prefix of exports of a component from componentize-qjs.
const QUICKJS: &str = "componentize_qjs_runtime.wasm:";

/// The prefix of exports of a component from componentize-py.
const PYTHON: &str = "libcomponentize_py_runtime.so:";

/// A tool or language that produced the component, as a `producers` section names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Producer {
    /// `language`, `sdk` or `processed-by`.
    pub field: String,
    pub name: String,
    pub version: String,
}

impl Producer {
    /// `rustc 1.95.0`.
    pub fn shown(&self) -> String {
        format!("{} {}", self.name, self.version).trim_end().to_owned()
    }
}

/// The language and the toolchain of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    pub language: String,
    pub name: String,
}

/// The traces of toolchains in the core modules of a component.
#[derive(Debug, Default)]
pub struct Traces {
    quickjs: bool,
    python: bool,
    /// `3.14`, from the library of the interpreter.
    python_version: Option<String>,
    /// A section that only the compiler of Go writes.
    go: bool,
}

impl Traces {
    /// Looks at one part of a component.
    pub fn read(&mut self, payload: &Payload<'_>) {
        match payload {
            Payload::ExportSection(section) => {
                for export in section.clone().into_iter().flatten() {
                    self.quickjs |= export.name.starts_with(QUICKJS);
                    self.python |= export.name.starts_with(PYTHON);
                }
            }
            Payload::CustomSection(section) => self.read_custom(section),
            _ => {}
        }
    }

    fn read_custom(&mut self, section: &CustomSectionReader<'_>) {
        self.go |= section.name() == "go:buildid";
        let KnownCustom::Dylink0(parts) = section.as_known() else { return };
        for part in parts.into_iter().flatten() {
            let Dylink0Subsection::Needed(libraries) = part else { continue };
            let version = |library: &&str| library.strip_prefix("libpython")?.strip_suffix(".so").map(str::to_owned);
            self.python_version = self.python_version.take().or_else(|| libraries.iter().find_map(version));
        }
    }

    /// Returns the toolchain. `None` if the `producers` sections say all that is known.
    pub fn toolchain(&self, producers: &[Producer]) -> Option<Toolchain> {
        let made = |language: &str, name: String| Some(Toolchain { language: language.to_owned(), name });
        let tool = |name: &str| producers.iter().find(|tool| tool.field == "processed-by" && tool.name == name);
        let written_in = |name: &str| producers.iter().find(|tool| tool.field == "language" && tool.name == name);
        if self.quickjs {
            return made("JavaScript", "QuickJS (componentize-qjs)".to_owned());
        }
        if self.python || self.python_version.is_some() {
            let version = self.python_version.as_deref().unwrap_or_default();
            return made(format!("Python {version}").trim_end(), "componentize-py".to_owned());
        }
        if let Some(tool) = tool("ComponentizeJS") {
            return made("JavaScript", format!("StarlingMonkey ({})", tool.shown()));
        }
        if let Some(tinygo) = tool("TinyGo") {
            return made("Go", tinygo.shown());
        }
        let go = written_in("Go");
        if self.go || go.is_some() {
            let version = go.map_or("", |go| go.version.trim_start_matches("go"));
            let name = tool("Go cmd/compile").map_or_else(|| "the compiler of Go".to_owned(), |tool| tool.shown());
            return made(format!("Go {version}").trim_end(), name);
        }
        None
    }
}
