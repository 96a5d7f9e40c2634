//! Shortens the backtrace of a crash to the frame of the author's code.

/// What the names of functions begin with that are not those of the module's author: of the
/// standard library and of the SDK.
const FOREIGN: &[&str] = &[
    "<alloc::",
    "<core::",
    "<fanfare_sdk::",
    "<std::",
    "<wit_bindgen::",
    "<wasm function",
    "__",
    "abort",
    "alloc::",
    "core::",
    "fanfare_sdk::",
    "panic",
    "rust_",
    "std::",
    "wit_bindgen::",
];

/// What the names of functions contain that the SDK's macros and the bindings put into the author's
/// crate.
const GLUE: &[&str] = &["fanfare_sdk::", "wit_bindgen::", "exports::fanfare::", "_cabi", "cabi_", "[async-lift]"];

/// Replaces each backtrace in a text by the frame of the author's code. The other lines stay.
pub fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let parts = lines.chunk_by(|line, next| is_frame(line) == is_frame(next));
    let shown = parts.flat_map(|part| match part.first() {
        Some(line) if is_frame(line) => frame_of_author(part).into_iter().collect(),
        _ => part.to_vec(),
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// Whether a line of a report is a frame of a backtrace.
pub fn is_frame(line: &str) -> bool {
    line.starts_with(' ') && line.trim_start().starts_with("at ")
}

/// The innermost frame of the author's code: one with its file and line, if there is one.
pub fn frame_of_author<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let is_own = |line: &&str| {
        line.trim().strip_prefix("at ").is_some_and(|function| {
            let is_glue = GLUE.iter().any(|part| function.contains(part));
            !is_glue && !FOREIGN.iter().any(|prefix| function.starts_with(prefix))
        })
    };
    let has_own_file = |line: &&str| {
        line.trim().split_once(" (").is_some_and(|(_, file)| {
            file.ends_with(')')
                && !["/rustc/", "/.cargo/", "/rust/deps/", "_sdk/"].iter().any(|other| file.contains(other))
        })
    };
    let mut own = lines.iter().copied().filter(is_own);
    let first = own.clone().next();
    own.find(has_own_file).or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_keeps_its_reasons_and_the_frame_of_the_author() {
        let report = "a.wasm: unreachable; its last line on stderr: panicked\n    at abort\n    at __rustc::rust_panic\n    \
                      at hello::warm (src/lib.rs:9)\n    at hello::outer\nanother fault\n    at std::x";
        let short =
            "a.wasm: unreachable; its last line on stderr: panicked\n    at hello::warm (src/lib.rs:9)\nanother fault";
        assert_eq!((shortened(report).as_str(), shortened(short).as_str()), (short, short));
        assert_eq!((shortened("one\ntwo").as_str(), shortened("").as_str()), ("one\ntwo", ""));
    }

    #[test]
    fn a_frame_without_a_file_is_better_than_none() {
        let frame = |text: &str| frame_of_author(&text.lines().collect::<Vec<_>>()).map(str::to_owned);
        assert_eq!(frame("at std::x\nat hello::greet\nat hello::outer").as_deref(), Some("at hello::greet"));
        let inlined = "at hello::inlined\nat hello::vec (/rustc/1/vec.rs:7)\nat hello::greet (src/lib.rs:9)";
        assert_eq!(frame(inlined).as_deref(), Some("at hello::greet (src/lib.rs:9)"));
        assert_eq!(frame("at <wasm function 3>\nat std::x"), None);
        let glue = "at <hello::Guest as fanfare_sdk::Handlers>::call\nat hello::exports::fanfare::module::_export_call_cabi\n\
                    at [async-lift]fanfare:module/handler";
        assert_eq!(frame(glue), None, "the line has the names of the handlers");
    }
}
