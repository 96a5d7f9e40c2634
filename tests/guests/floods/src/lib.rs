//! Writes more output than the host accepts.

use std::io::Write;

use fanfare_sdk::prelude::*;

#[derive(Deserialize)]
struct Flood {
    #[serde(default = "one")]
    lines: u32,
    #[serde(default)]
    length: usize,
    /// The text of a line. The default is `length` times the letter x.
    text: Option<String>,
    #[serde(default)]
    stderr: bool,
    /// Adds escapes and other control characters.
    #[serde(default)]
    control: bool,
    /// Omits line breaks.
    #[serde(default)]
    unbroken: bool,
    #[serde(default)]
    level: String,
}

fn one() -> u32 {
    1
}

impl Flood {
    fn line(&self) -> String {
        let text = self.text.clone().unwrap_or_else(|| "x".repeat(self.length));
        if self.control { format!("\x1b[31m\x07\0{text}\r\x1b[2J\u{9b}") } else { text }
    }
}

/// Prints to stdout or stderr.
#[handler]
fn print(flood: Json<Flood>) -> Result<&'static str> {
    let mut out: Box<dyn Write> = if flood.stderr { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    let end = if flood.unbroken { "" } else { "\n" };
    let line = flood.line();
    for _ in 0..flood.lines {
        write!(out, "{line}{end}")?;
    }
    out.flush()?;
    Ok("ok")
}

/// Writes to the host's log.
#[handler]
fn log(flood: Json<Flood>) -> &'static str {
    use fanfare_sdk::types::Level;
    let level = match flood.level.as_str() {
        "trace" => Level::Trace,
        "debug" => Level::Debug,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Info,
    };
    let line = if flood.unbroken { flood.line() } else { format!("{}\n{}", flood.line(), flood.lines) };
    for _ in 0..flood.lines {
        host::log(level, &line, &[("k\ney".to_owned(), line.clone())]);
    }
    "ok"
}

fanfare_sdk::module!(print, log);
