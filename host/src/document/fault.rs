//! Faults in a file, a variable or a flag, with their positions.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

/// The most faults that one check keeps. It only counts further ones.
const MAX_FAULTS: usize = 100;

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ValueOrigin {
    /// The default: no source sets the value.
    #[default]
    Default,
    /// A position in a file.
    File {
        /// The path, as messages show it.
        file: Arc<str>,
        /// The line, from 1.
        line: u32,
        /// The column in characters, from 1.
        column: u32,
        /// The name of the section in `environments` that contains it.
        environment: Option<Arc<str>>,
    },
    /// An environment variable, by name.
    Variable(Arc<str>),
    /// A command line flag, with its dashes.
    Flag(Arc<str>),
}

impl ValueOrigin {
    /// The start of a file, for faults of the file as a whole.
    pub fn start_of(file: &Arc<str>) -> ValueOrigin {
        ValueOrigin::File { file: file.clone(), line: 1, column: 1, environment: None }
    }
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueOrigin::Default => f.write_str("default"),
            ValueOrigin::File { file, line, column, environment: None } => write!(f, "{file}:{line}:{column}"),
            ValueOrigin::File { file, line, column, environment: Some(name) } => {
                write!(f, "environments.{name} {file}:{line}:{column}")
            }
            ValueOrigin::Variable(name) => write!(f, "variable {name}"),
            ValueOrigin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One fault: its position, its key, and the rule that the value breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// The source of the wrong value.
    pub origin: ValueOrigin,
    /// The path of the key, such as `routes[0].path`. Empty for the document as a whole.
    pub key: String,
    /// The rule, the value that was found, and how to fix it.
    pub message: String,
}

impl Fault {
    /// Creates a fault about the value from `origin`.
    pub fn new(origin: &ValueOrigin, key: impl fmt::Display, message: impl Into<String>) -> Fault {
        Fault { origin: origin.clone(), key: key.to_string(), message: message.into() }
    }
}

/// Writes `fanfare.json:4:14: workers: must be at least 1, found 0`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            ValueOrigin::Default => {}
            ValueOrigin::File { file, line, column, .. } => write!(f, "{file}:{line}:{column}: ")?,
            ValueOrigin::Variable(name) | ValueOrigin::Flag(name) => write!(f, "{name}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = match &self.origin {
            ValueOrigin::Default => json!({}),
            ValueOrigin::File { file, line, column, .. } => json!({ "file": &**file, "line": line, "column": column }),
            ValueOrigin::Variable(name) => json!({ "variable": &**name }),
            ValueOrigin::Flag(name) => json!({ "flag": &**name }),
        };
        if let Some(members) = value.as_object_mut() {
            members.insert("key".to_owned(), self.key.clone().into());
            members.insert("message".to_owned(), self.message.clone().into());
        }
        value.serialize(serializer)
    }
}

/// A list of faults, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// Adds a fault. Beyond 100 faults it only counts.
    pub fn push(&mut self, fault: Fault) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.list.push(fault);
        }
    }

    /// Adds the faults of another check.
    pub fn extend(&mut self, other: Faults) {
        self.more += other.more;
        other.list.into_iter().for_each(|fault| self.push(fault));
    }

    /// Whether there are no faults.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the list is full, so that further faults are only counted.
    pub fn is_full(&self) -> bool {
        self.list.len() >= MAX_FAULTS
    }

    /// The faults in the list, at most 100.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// The number of faults that are not in the list.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Sorts the faults in the order of the file, with variables and flags last.
    #[must_use]
    pub fn sorted(mut self) -> Faults {
        let place = |fault: &Fault| match &fault.origin {
            ValueOrigin::File { line, column, .. } => (0, *line, *column),
            _ => (1, 0, 0),
        };
        self.list.sort_by_key(place);
        self
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Faults {
        Faults { list: vec![fault], more: 0 }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_faults_are_kept_and_further_ones_are_counted() {
        let mut faults = Faults::default();
        for index in 0..100 {
            faults.push(Fault::new(&ValueOrigin::Default, index, "wrong"));
        }
        assert_eq!((faults.list().len(), faults.more()), (100, 0));
        faults.push(Fault::new(&ValueOrigin::Default, 100, "wrong"));
        assert_eq!((faults.list().len(), faults.more()), (100, 1));
        assert!(faults.to_string().ends_with("\nand 1 more"));
    }
}
