//! The operator's values for what a module reaches beyond the host: variables, secrets, folders.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::manifest::Manifest;
use crate::config::{Config, DirAccess};
use crate::document::fault::{Fault, Faults};
use crate::document::tree::Path as KeyPath;

/// What a generation reaches beyond the host. The manifest asks for all of it, and the operator has
/// granted it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// The variables, with their values.
    pub env: Vec<(String, String)>,
    secrets: BTreeMap<String, String>,
    pub folders: Vec<Folder>,
}

/// A folder of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The path that the guest sees.
    pub guest: String,
    pub host: PathBuf,
    pub write: bool,
    /// Whether the host makes the folder, because it is the host's own.
    pub make: bool,
}

/// Without values.
impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<&String> = self.env.iter().map(|(name, _)| name).collect();
        let secrets: Vec<&String> = self.secrets.keys().collect();
        f.debug_struct("Outside")
            .field("env", &env)
            .field("secrets", &secrets)
            .field("folders", &self.folders)
            .finish_non_exhaustive()
    }
}

impl Outside {
    /// Reads the values. Blocks while it reads files. A fault contains no part of a secret.
    pub fn resolve(manifest: &Manifest, config: &Config) -> Result<Outside, Faults> {
        let operator = config.module(&manifest.name);
        let (asked, variables) = (&manifest.capabilities, config.variables());
        let value = |name: &String| operator.env.get(name).or_else(|| variables.get(name)).cloned();
        let env = asked.env.0.iter().filter_map(|name| Some((name.clone(), value(name)?))).collect();
        let (mut secrets, mut faults) = (BTreeMap::new(), Faults::default());
        for name in &asked.secrets.0 {
            let Some(secret) = operator.secrets.get(name) else { continue };
            match secret.read(&config.root, variables) {
                Ok(value) => drop(secrets.insert(name.clone(), value)),
                Err(why) => {
                    let path = KeyPath::of(&["modules", &manifest.name, "secrets", name]);
                    faults.push(Fault::new(&config.origin(&path), path, format!("cannot be read: {why}")));
                }
            }
        }
        let folder = |(guest, access): (&String, &DirAccess)| {
            let placed = operator.dirs.get(guest).map(|dir| config.root.join(&dir.path));
            Folder {
                make: placed.is_none(),
                host: placed.unwrap_or_else(|| {
                    config.state_dir.join("dirs").join(&manifest.name).join(guest.trim_start_matches('/'))
                }),
                guest: guest.clone(),
                write: *access == DirAccess::Rw,
            }
        };
        let folders = asked.dirs.0.iter().map(folder).collect();
        if faults.is_empty() { Ok(Outside { env, secrets, folders }) } else { Err(faults) }
    }

    /// The secret with this name, if the module may read it.
    pub fn secret(&self, name: &str) -> Option<&str> {
        self.secrets.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Sources;

    #[test]
    fn values_come_from_the_operator_else_from_the_host_and_are_never_shown() {
        let manifest = r#"{ "component": "a.wasm", "capabilities": { "env": ["REGION", "HOME_PAGE", "NO"], "secrets": ["hmac", "key"] } }"#;
        let manifest = Manifest::from_text(Path::new("/m/chat"), manifest).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hmac.txt"), "line 1\nline 2\r\n").unwrap();
        let text = r#"{ "modules": { "chat": {
            "grants": { "env": ["REGION", "HOME_PAGE", "NO"], "secrets": ["hmac", "key"] },
            "env": { "REGION": "eu" },
            "secrets": { "hmac": { "file": "hmac.txt" }, "key": { "variable": "CHAT_KEY" } } } } }"#;
        std::fs::write(dir.path().join("fanfare.json"), text).unwrap();
        let variables = [("REGION", "us"), ("HOME_PAGE", "x"), ("CHAT_KEY", "hidden"), ("PATH", "/bin")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let sources = Sources { dir: dir.path().to_owned(), variables, ..Sources::default() };
        let config = Config::load(sources).unwrap();
        let outside = Outside::resolve(&manifest, &config).unwrap();
        assert_eq!(outside.env, [("REGION".into(), "eu".into()), ("HOME_PAGE".into(), "x".into())]);
        assert_eq!(outside.secret("hmac"), Some("line 1\nline 2"));
        assert_eq!((outside.secret("key"), outside.secret("other")), (Some("hidden"), None));
        assert!(!format!("{outside:?}").contains("hidden") && format!("{outside:?}").contains("hmac"));

        std::fs::remove_file(dir.path().join("hmac.txt")).unwrap();
        let faults = Outside::resolve(&manifest, &config).unwrap_err().to_string();
        assert!(faults.contains("modules.chat.secrets.hmac: cannot be read: "), "{faults}");
    }
}
