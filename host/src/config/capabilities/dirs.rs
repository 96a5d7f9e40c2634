//! The capability `dirs`: folders, each with what the module may do there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Scope;

/// What a module may do in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DirAccess {
    /// Read only.
    Ro,
    /// Read and write.
    Rw,
}

impl fmt::Display for DirAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DirAccess::Ro => "ro",
            DirAccess::Rw => "rw",
        })
    }
}

/// Folders, by the path that the guest sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dirs(pub BTreeMap<String, DirAccess>);

impl JsonSchema for Dirs {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Dirs".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = BTreeMap::<String, DirAccess>::json_schema(generator);
        schema.insert("x-names".to_owned(), "guest-path".into());
        schema
    }
}

impl Scope for Dirs {
    fn lacking(&self, granted: &Dirs) -> Dirs {
        let lacks =
            |(path, access): &(&String, &DirAccess)| granted.0.get(*path).is_none_or(|granted| granted < access);
        Dirs(self.0.iter().filter(lacks).map(|(path, access)| (path.clone(), *access)).collect())
    }

    fn requests(&self) -> Vec<Option<String>> {
        self.0.iter().map(|(path, access)| Some(format!("{path} ({access})"))).collect()
    }

    fn remove_own(&mut self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_to_write_covers_reading() {
        let dirs = |access| Dirs([("/data".to_owned(), access)].into());
        let (ro, rw) = (dirs(DirAccess::Ro), dirs(DirAccess::Rw));
        assert_eq!(
            (ro.lacking(&rw), ro.lacking(&ro), rw.lacking(&rw)),
            (Dirs::default(), Dirs::default(), Dirs::default())
        );
        assert_eq!((rw.lacking(&ro), ro.lacking(&Dirs::default())), (rw.clone(), ro));
        assert_eq!(rw.requests(), [Some("/data (rw)".to_owned())]);
        assert_eq!(serde_json::to_string(&rw).unwrap(), r#"{"/data":"rw"}"#);
    }
}
