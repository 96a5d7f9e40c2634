//! What stands in a component's file, read without compiling it: for people.

use serde::Serialize;
use wasmparser::{BinaryReaderError, KnownCustom, Parser, Payload};

/// What stands in a component's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Anatomy {
    /// Bytes of the file.
    pub size: usize,
    /// Bytes of each core module in it.
    pub core_modules: Vec<usize>,
    /// Names of what it imports, in the order of the file.
    pub imports: Vec<String>,
    /// Names of what it exports, in the order of the file.
    pub exports: Vec<String>,
    /// What its `producers` sections say, those of its parts too, each thing once.
    pub producers: Vec<Producer>,
}

/// Who made it, by its own word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Producer {
    /// `language`, `sdk` or `processed-by`.
    pub field: String,
    pub name: String,
    pub version: String,
}

/// The most producers that are kept: nobody vouches for the section.
const MOST: usize = 64;

/// Why bytes are not a component that can be read.
#[derive(Debug, thiserror::Error)]
pub enum AnatomyError {
    #[error(
        "this is a core module, not a component: build it for wasm32-wasip2, which makes components, or turn \
         it into one with `wasm-tools component new`"
    )]
    CoreModule,
    #[error("this is no WebAssembly component")]
    Other,
    #[error("this component is damaged: {0}")]
    Damaged(#[from] BinaryReaderError),
}

/// Reads the bytes of a component's file.
pub fn anatomy(bytes: &[u8]) -> Result<Anatomy, AnatomyError> {
    if Parser::is_core_wasm(bytes) {
        return Err(AnatomyError::CoreModule);
    }
    if !Parser::is_component(bytes) {
        return Err(AnatomyError::Other);
    }
    let mut found = Anatomy { size: bytes.len(), ..Anatomy::default() };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { unchecked_range, .. } => {
                depth += 1;
                found.core_modules.push(unchecked_range.len());
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // Those of components within are its own affair.
            Payload::ComponentImportSection(section) if depth == 0 => {
                found.imports.extend(section.into_iter().flatten().map(|import| import.name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                found.exports.extend(section.into_iter().flatten().map(|export| export.name.name.to_owned()));
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Producers(fields) = section.as_known() {
                    for field in fields.into_iter().flatten() {
                        let values = field.values.into_iter().flatten();
                        found.producers.extend(values.take(MOST).map(|value| Producer {
                            field: field.name.to_owned(),
                            name: value.name.to_owned(),
                            version: value.version.to_owned(),
                        }));
                        found.producers.sort();
                        found.producers.dedup();
                        found.producers.truncate(MOST);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(name: &str) -> Vec<u8> {
        let modules = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../modules");
        std::fs::read(modules.join(name)).unwrap()
    }

    #[test]
    fn an_example_is_taken_apart() {
        let bytes = example("counter/counter.wasm");
        let found = anatomy(&bytes).unwrap();
        let has = |names: &[String], name: &str| names.iter().any(|listed| listed == name);
        assert!(has(&found.exports, "fanfare:module/handler@0.1.0"), "{found:?}");
        assert!(has(&found.exports, "fanfare:module/snapshot@0.1.0"), "{found:?}");
        assert!(has(&found.imports, "fanfare:module/rpc@0.1.0"), "{found:?}");
        assert!(!has(&found.imports, "fanfare:module/http@0.1.0"), "{found:?}");
        assert!(found.producers.iter().any(|made| made.field == "language" && made.name == "Rust"), "{found:?}");
        assert_eq!(found.size, bytes.len());
        assert!(!found.core_modules.is_empty() && found.core_modules.iter().sum::<usize>() < found.size, "{found:?}");
    }

    #[test]
    fn what_is_none_is_named() {
        let core = b"\0asm\x01\0\0\0";
        let why = |bytes: &[u8]| anatomy(bytes).unwrap_err().to_string();
        assert!(why(core).starts_with("this is a core module, not a component: build it for wasm32"));
        for text in ["", "\0asm", "text"] {
            assert_eq!(why(text.as_bytes()), "this is no WebAssembly component");
        }
    }

    #[test]
    fn no_cut_file_panics() {
        let bytes = example("counter/counter.wasm");
        // One that ends between two sections is whole as far as it goes.
        let is_damaged = |end: &usize| matches!(anatomy(&bytes[..*end]), Err(AnatomyError::Damaged(_)));
        let damaged = (9..bytes.len()).step_by(997).filter(is_damaged).count();
        assert!(damaged > 200, "{damaged}");
    }
}
