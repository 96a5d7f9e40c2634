//! Recognises files that are no components, and says what they are.

use wasmparser::{Chunk, Parser, Payload};

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

/// Returns an error if a component ends within a section. The end between two sections of the
/// component itself cannot be recognised.
pub fn check_end(bytes: &[u8]) -> Result<(), NotAComponent> {
    let mut outer = Vec::new();
    let (mut parser, mut rest) = (Parser::new(0), bytes);
    loop {
        match parser.parse(rest, false) {
            Err(_) => return Ok(()),
            Ok(Chunk::NeedMoreData(_)) if rest.is_empty() && outer.is_empty() => return Ok(()),
            Ok(Chunk::NeedMoreData(_)) => return Err(NotAComponent::Truncated(bytes.len())),
            Ok(Chunk::Parsed { consumed, payload }) => {
                rest = rest.get(consumed..).unwrap_or_default();
                match payload {
                    Payload::ModuleSection { parser: inner, .. } | Payload::ComponentSection { parser: inner, .. } => {
                        outer.push(std::mem::replace(&mut parser, inner));
                    }
                    Payload::End(_) => match outer.pop() {
                        Some(next) => parser = next,
                        None => return Ok(()),
                    },
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_within_a_section_is_recognised() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../modules/counter/counter.wasm");
        let bytes = std::fs::read(path).unwrap();
        assert_eq!((check(&bytes), check_end(&bytes)), (Ok(()), Ok(())));
        assert_eq!(check(&[]), Err(NotAComponent::Empty));
        for end in 1..HEADER {
            assert_eq!(check(&bytes[..end]), Err(NotAComponent::Truncated(end)));
        }
        let cuts = (HEADER + 1..bytes.len()).step_by(997);
        let (all, found) = (cuts.clone().count(), cuts.filter(|end| check_end(&bytes[..*end]).is_err()).count());
        assert!(found + 3 >= all, "{found} of {all}");
    }
}
