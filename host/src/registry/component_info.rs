//! Describes a component's file for people, without compiling it.

use serde::Serialize;
use wasmparser::{BinaryReaderError, KnownCustom, Parser, Payload};

use super::toolchain::{Producer, Toolchain, Traces};
use crate::engine::format::{self, Damage};

/// The contents of a component's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentInfo {
    /// The bytes of the file.
    pub size: usize,
    /// The bytes of each core module in it.
    pub core_modules: Vec<usize>,
    /// The names of the imports, in the order of the file.
    pub imports: Vec<String>,
    /// The names of the exports, in the order of the file.
    pub exports: Vec<String>,
    /// The entries of all `producers` sections, also of nested modules and components, without
    /// duplicates.
    pub producers: Vec<Producer>,
    /// The language and its version, where it is known to be another one than `producers` names.
    pub language: Option<String>,
    /// The toolchain that brings the runtime of that language.
    pub toolchain: Option<String>,
}

/// The most producers to return. A bound is needed because a file may name any number.
const MOST: usize = 64;

/// Why bytes cannot be read as a component.
pub type ComponentInfoError = Damage;

/// Reads the bytes of a component's file.
pub fn component_info(bytes: &[u8]) -> Result<ComponentInfo, ComponentInfoError> {
    match format::check(bytes).map(|()| read(bytes))? {
        Ok(found) => Ok(found),
        Err(error) => {
            // The compiler of a host reports the same.
            format::check_sections(bytes)?;
            Err(error.into())
        }
    }
}

fn read(bytes: &[u8]) -> Result<ComponentInfo, BinaryReaderError> {
    let mut found = ComponentInfo { size: bytes.len(), ..ComponentInfo::default() };
    let mut traces = Traces::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        traces.read(&payload);
        match payload {
            Payload::ModuleSection { unchecked_range, .. } => {
                depth += 1;
                found.core_modules.push(unchecked_range.len());
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            // Only at the top level: imports and exports of nested components are internal.
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
    if let Some(Toolchain { language, name }) = traces.toolchain(&found.producers) {
        (found.language, found.toolchain) = (Some(language), Some(name));
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
    fn an_example_is_described() {
        let bytes = example("counter/counter.wasm");
        let found = component_info(&bytes).unwrap();
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
    fn bytes_that_are_not_a_component_are_rejected_with_the_reason() {
        let core = b"\0asm\x01\0\0\0";
        let why = |bytes: &[u8]| component_info(bytes).unwrap_err().to_string();
        assert!(why(core).starts_with("the file is a core module, not a component: build it for wasm32"));
        assert_eq!(why(b"text"), "the file is not a WebAssembly component");
        assert!(why(b"").starts_with("the file is empty"));
    }

    #[test]
    fn a_truncated_file_causes_no_panic() {
        let bytes = example("counter/counter.wasm");
        // A file that ends between two sections does not count as truncated.
        let cut = |end: &usize| component_info(&bytes[..*end]).is_err_and(|why| why.to_string().contains("truncated"));
        let cuts = (9..bytes.len()).step_by(997).filter(cut).count();
        assert!(cuts > 200, "{cuts}");
    }
}
