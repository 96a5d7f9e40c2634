//! Recognises files that are no components, and says what they are.

use wasmparser::{BinaryReader, BinaryReaderError, Parser};

/// The first bytes of every WebAssembly file.
const MAGIC: &[u8] = b"\0asm";

/// The bytes of the magic number and the version.
const HEADER: usize = 8;

/// What a file is instead of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAComponent {
    #[error("the file is empty: build it again")]
    Empty,
    #[error("the file is truncated: it ends within a section, after {0} bytes; build or copy it again")]
    Truncated(usize),
    #[error(
        "the file is a core module, not a component: build it for wasm32-wasip2, which makes components, or turn it \
         into one with `wasm-tools component new`"
    )]
    CoreModule,
    #[error("the file is not a WebAssembly component")]
    Other,
}

/// Checks the first bytes of a file.
pub fn check(bytes: &[u8]) -> Result<(), NotAComponent> {
    if Parser::is_component(bytes) {
        Ok(())
    } else if Parser::is_core_wasm(bytes) {
        Err(NotAComponent::CoreModule)
    } else if bytes.is_empty() {
        Err(NotAComponent::Empty)
    } else if bytes.len() < HEADER && (bytes.starts_with(MAGIC) || MAGIC.starts_with(bytes)) {
        Err(NotAComponent::Truncated(bytes.len()))
    } else {
        Err(NotAComponent::Other)
    }
}

/// What to do about a component that is invalid.
pub const BUILD_AGAIN: &str = "build the component again, and if the build finds nothing to do, first remove what it \
    has made (for Rust with `cargo clean`)";

/// Why the bytes of a component cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error(transparent)]
    NotAComponent(#[from] NotAComponent),
    #[error("is not valid WebAssembly: {0}; {BUILD_AGAIN}")]
    Damaged(#[from] BinaryReaderError),
}

/// Returns an error if the bytes are no component, or if its sections cannot be read. A component
/// that passes may still be invalid, which the compiler reports.
pub fn check_sections(bytes: &[u8]) -> Result<(), Damage> {
    check(bytes)?;
    check_end(bytes)?;
    Parser::new(0).parse_all(bytes).try_for_each(|payload| payload.map(drop))?;
    Ok(())
}

/// Returns an error if a component ends within a section, by the size of the section. The end
/// between two sections cannot be recognised.
fn check_end(bytes: &[u8]) -> Result<(), NotAComponent> {
    let mut rest = BinaryReader::new(bytes, 0);
    let header = rest.read_bytes(HEADER);
    let mut is_cut = header.is_err();
    while !is_cut && !rest.eof() {
        let section = rest.read_u8().and_then(|_| rest.read_var_u32());
        is_cut = match section {
            Ok(size) => rest.read_bytes(size as usize).is_err(),
            // A size that is no number says nothing about the end.
            Err(_) if !rest.eof() => return Ok(()),
            Err(_) => true,
        };
    }
    if is_cut { Err(NotAComponent::Truncated(bytes.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../modules/counter/counter.wasm");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn every_cut_within_a_section_is_recognised() {
        let bytes = example();
        assert!(check_sections(&bytes).is_ok());
        assert_eq!(check(&[]), Err(NotAComponent::Empty));
        for end in 1..HEADER {
            assert_eq!(check(&bytes[..end]), Err(NotAComponent::Truncated(end)));
        }
        let cuts = (HEADER + 1..bytes.len()).step_by(997);
        let (all, found) = (cuts.clone().count(), cuts.filter(|end| check_end(&bytes[..*end]).is_err()).count());
        assert!(found + 3 >= all, "{found} of {all}");
    }

    #[test]
    fn a_file_with_all_its_bytes_is_damaged_and_not_truncated() {
        // A core module whose code section says that its function is longer than the section.
        let code =
            |size: u8| [&b"\0asm\x01\0\0\0"[..], &[1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 4, 1, size, 0, 0x0b]].concat();
        let component = |module: Vec<u8>| {
            let size = u8::try_from(module.len()).unwrap();
            [b"\0asm\x0d\0\x01\0".to_vec(), vec![1, size], module].concat()
        };
        assert!(check_sections(&component(code(2))).is_ok());
        let damaged = component(code(3));
        let why = check_sections(&damaged).unwrap_err().to_string();
        assert!(why.starts_with("is not valid WebAssembly: ") && why.contains("; build the component again"), "{why}");
        let cut = check_sections(&damaged[..damaged.len() - 1]).unwrap_err().to_string();
        assert!(cut.starts_with("the file is truncated: "), "{cut}");
    }
}
