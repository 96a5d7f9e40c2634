use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// Identifies a call and everything done in its name, in logs and responses: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(u128);

impl Trace {
    /// Creates a new id. Each thread counts from a random number of its own.
    pub fn fresh() -> Trace {
        thread_local! {
            static NEXT: Cell<u128> = Cell::new((u128::from(random()) << 64) | u128::from(random()));
        }
        // An id of zeros is invalid (Trace Context, 3.2.2.3).
        Trace(NEXT.replace(NEXT.get().wrapping_add(1)).max(1))
    }

    /// Parses 32 hexadecimal digits in lower case, not all 0.
    pub fn parse(text: &str) -> Option<Trace> {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let digits = Some(text).filter(|text| text.len() == 32 && text.bytes().all(lower))?;
        u128::from_str_radix(digits, 16).ok().filter(|trace| *trace != 0).map(Trace)
    }

    /// Parses a `traceparent` header (W3C Trace Context). `None` if it is malformed.
    pub fn from_traceparent(value: &str) -> Option<Trace> {
        let mut fields = value.split('-');
        let (version, trace) = (fields.next()?, fields.next()?);
        if version.len() == 2 && version != "ff" { Trace::parse(trace) } else { None }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
