//! Why an instance that still serves is replaced.

use std::fmt;

/// Why an instance that still serves is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Leaked calls leave too little room. The text says which.
    Leaked(&'static str),
    /// Its memory has grown beyond its mark: see `StoreUsage::set_mark`.
    Memory,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::Leaked(why) => why,
            Unfit::Memory => "its memory has almost reached limits.memory",
        })
    }
}
