//! The values of a session: JSON texts with names, within limits.

use std::collections::{BTreeMap, BTreeSet};

use super::bounds;

/// The most values of a session. Each costs memory besides its bytes.
pub const VALUES: usize = 1_024;

/// Why the values of a session do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("the values of the session would have {bytes} bytes, but websocket.sessionSize allows {max}: store less")]
    TooLarge { bytes: u64, max: u64 },
    #[error("the session would have {count} values, but {VALUES} is the maximum: store several in one value")]
    TooMany { count: usize },
}

/// The values of one session.
#[derive(Debug, Default)]
pub struct Values {
    /// JSON texts.
    texts: BTreeMap<Box<str>, Box<str>>,
    /// The bytes of the names and texts.
    bytes: u64,
}

/// Whether a value never leaves the node of its session.
pub fn is_local(name: &str) -> bool {
    name.starts_with('_')
}

impl Values {
    pub fn get(&self, name: &str) -> Option<String> {
        self.texts.get(name).map(|text| text.clone().into_string())
    }

    /// Returns all values, sorted by name.
    pub fn all(&self) -> Vec<(String, String)> {
        self.texts.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    /// Returns the values that may leave the node of the session, sorted by name.
    pub fn shared(&self) -> Vec<(String, String)> {
        self.all().into_iter().filter(|(name, _)| !is_local(name)).collect()
    }

    /// The bytes of the names and texts.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Removes values, then sets values. Does all of it, or nothing if the values would exceed
    /// `max` bytes or [`VALUES`].
    pub fn change(&mut self, set: Vec<(String, String)>, remove: &[String], max: u64) -> Result<(), ChangeError> {
        let removed: BTreeSet<&str> = remove.iter().map(String::as_str).collect();
        self.replace(set, |name| removed.contains(name), max)
    }

    /// Sets values in place of all that may leave the node of the session. Local ones among `set`
    /// are ignored. Does all of it, or nothing, as [`Values::change`].
    pub fn apply(&mut self, mut set: Vec<(String, String)>, max: u64) -> Result<(), ChangeError> {
        set.retain(|(name, _)| !is_local(name));
        self.replace(set, |name| !is_local(name), max)
    }

    fn replace(
        &mut self,
        set: Vec<(String, String)>,
        is_removed: impl Fn(&str) -> bool,
        max: u64,
    ) -> Result<(), ChangeError> {
        let size = |name: &str, text: &str| (name.len() + text.len()) as u64;
        // The last value of a name counts.
        let set: BTreeMap<Box<str>, Box<str>> =
            set.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        let old = self.texts.iter().filter(|(name, _)| is_removed(name) || set.contains_key(*name));
        let (gone, old) = old.fold((0, 0), |(count, bytes), (name, text)| (count + 1, bytes + size(name, text)));
        let new: u64 = set.iter().map(|(name, text)| size(name, text)).sum();
        let bytes = self.bytes.saturating_sub(old).saturating_add(new);
        if bytes > max && new > 0 {
            return Err(ChangeError::TooLarge { bytes, max });
        }
        let count = (self.texts.len() + set.len()).saturating_sub(gone);
        if count > VALUES {
            bounds::SESSION_VALUES.count();
            return Err(ChangeError::TooMany { count });
        }
        self.texts.retain(|name, _| !is_removed(name));
        self.texts.extend(set);
        self.bytes = bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn what_is_applied_replaces_all_values_but_the_local_ones() {
        let mut values = Values::default();
        values.change(pairs(&[("a", "1"), ("b", "2"), ("_own", "3")]), &[], 64).unwrap();
        assert_eq!(values.shared(), pairs(&[("a", "1"), ("b", "2")]));
        values.apply(pairs(&[("b", "20"), ("c", "4"), ("_own", "9"), ("_new", "9")]), 64).unwrap();
        assert_eq!(values.all(), pairs(&[("_own", "3"), ("b", "20"), ("c", "4")]));
        assert_eq!(values.bytes(), 10);
    }

    #[test]
    fn what_does_not_fit_is_not_applied_at_all() {
        let mut values = Values::default();
        values.change(pairs(&[("a", "1"), ("_own", "3")]), &[], 8).unwrap();
        let error = values.apply(pairs(&[("b", "1234")]), 8).unwrap_err();
        assert_eq!(error, ChangeError::TooLarge { bytes: 10, max: 8 });
        let many = (0..VALUES).map(|number| (format!("k{number}"), "1".to_owned())).collect();
        assert_eq!(values.apply(many, u64::MAX).unwrap_err(), ChangeError::TooMany { count: VALUES + 1 });
        assert_eq!(values.all(), pairs(&[("_own", "3"), ("a", "1")]));
    }
}
