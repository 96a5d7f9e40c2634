//! Why a module is not loaded.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::call::{Blame, text};
use crate::document::Faults;
use crate::files::relative;
use crate::isolate::Crash;
use crate::registry::manifest::ManifestError;
use crate::registry::{GenerationStoreError, LoadError};

/// Why a module cannot be loaded.
///
/// [`Display`](fmt::Display) returns every fault with its file. It may contain text from the
/// component, with control characters escaped.
#[derive(Debug)]
pub struct ModuleError(Reason);

#[derive(Debug)]
enum Reason {
    /// A file of the module cannot be read.
    Unreadable {
        /// The path of the file.
        file: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// `module.json` has faults or cannot be read.
    Manifest(ManifestError),
    /// The component is rejected, or does not compile.
    Load(LoadError),
    /// The component imports or exports something that the interfaces in `wit/` do not have.
    Link {
        /// The path of the component.
        component: PathBuf,
        /// The reason.
        error: String,
    },
    /// The host started an instance to list its handlers, and the instance failed.
    Check {
        /// The path of the component.
        component: PathBuf,
        /// How the instance ended.
        crash: Crash,
    },
    /// Routes name handlers that the component does not have.
    Handlers(Faults),
    /// A retained generation cannot be read again.
    Kept(GenerationStoreError),
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match &self.0 {
            Reason::Unreadable { file, error } => format!("{}: cannot be read: {error}", relative(file).display()),
            Reason::Manifest(error) => error.to_string(),
            Reason::Load(error) => error.to_string(),
            Reason::Link { component, error } => format!("{}: {error}", relative(component).display()),
            Reason::Check { component, crash } => format!("{}: {crash}", relative(component).display()),
            Reason::Handlers(faults) => faults.to_string(),
            Reason::Kept(error) => error.to_string(),
        };
        f.write_str(&text::lines(&message, text::REPORT))
    }
}

impl std::error::Error for ModuleError {}

impl ModuleError {
    /// A file of the module cannot be read.
    pub(crate) fn unreadable(file: PathBuf, error: io::Error) -> ModuleError {
        ModuleError(Reason::Unreadable { file, error })
    }

    /// The component does not link with the interfaces in `wit/`.
    pub(crate) fn link(component: PathBuf, error: String) -> ModuleError {
        ModuleError(Reason::Link { component, error })
    }

    /// The instance that lists the handlers failed.
    pub(crate) fn check(component: PathBuf, crash: Crash) -> ModuleError {
        ModuleError(Reason::Check { component, crash })
    }

    /// Routes name handlers that the component does not have.
    pub(crate) fn handlers(faults: Faults) -> ModuleError {
        ModuleError(Reason::Handlers(faults.sorted()))
    }

    /// The faults with the place of each. `None` if the error is about the component as a whole.
    pub fn faults(&self) -> Option<&Faults> {
        match &self.0 {
            Reason::Manifest(error) => Some(&error.faults),
            Reason::Load(LoadError::Refused(faults)) | Reason::Handlers(faults) => Some(faults),
            _ => None,
        }
    }

    pub(crate) fn fault(&self) -> Blame {
        match &self.0 {
            Reason::Load(error) => error.fault(),
            Reason::Check { crash, .. } => crash.fault(),
            Reason::Link { .. } | Reason::Handlers(_) => Blame::Guest,
            Reason::Unreadable { .. } | Reason::Manifest(_) | Reason::Kept(_) => Blame::Operator,
        }
    }

    /// Whether the module can be loaded once the machine has room again.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(&self.0, Reason::Load(error) if error.is_transient())
    }
}

impl From<ManifestError> for ModuleError {
    fn from(error: ManifestError) -> ModuleError {
        ModuleError(Reason::Manifest(ManifestError { faults: error.faults.sorted() }))
    }
}

impl From<LoadError> for ModuleError {
    fn from(error: LoadError) -> ModuleError {
        ModuleError(Reason::Load(match error {
            LoadError::Refused(faults) => LoadError::Refused(faults.sorted()),
            error => error,
        }))
    }
}

impl From<GenerationStoreError> for ModuleError {
    fn from(error: GenerationStoreError) -> ModuleError {
        ModuleError(Reason::Kept(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Fault, ValueOrigin};
    use crate::engine::{CacheError, CompileError};

    #[test]
    fn faults_are_in_the_order_of_the_file() {
        let fault = |line, message: &str| {
            let origin = ValueOrigin::File { file: "module.json".into(), line, column: 1, environment: None };
            Fault::new(&origin, "", message)
        };
        let mut faults = Faults::default();
        [fault(7, "b"), fault(2, "a")].into_iter().for_each(|fault| faults.push(fault));
        for error in [
            ModuleError::from(ManifestError { faults: faults.clone() }),
            ModuleError::from(LoadError::Refused(faults.clone())),
            ModuleError::handlers(faults),
        ] {
            assert_eq!(error.to_string(), "module.json:2:1: a\nmodule.json:7:1: b");
        }
    }

    #[test]
    fn a_component_is_shown_relative_to_the_current_folder() {
        let component = std::env::current_dir().unwrap().join("modules/m/m.wasm");
        let cut = CompileError::Refused { path: component.clone(), why: "unexpected end".into() };
        let cut = ModuleError::from(LoadError::from(CacheError::from(cut)));
        let faults = vec!["it imports nothing".to_owned()];
        let compile = |error: CompileError| ModuleError::from(LoadError::from(CacheError::from(error)));
        for error in [
            cut,
            compile(CompileError::Read { path: component.clone(), source: io::Error::other("gone") }),
            compile(CompileError::TooLarge { path: component.clone(), size: 2, max: 1 }),
            ModuleError::link(component.clone(), "no such import".into()),
            ModuleError::check(component.clone(), Crash::Unresponsive),
            ModuleError::unreadable(component.clone(), io::Error::other("gone")),
            ModuleError::from(LoadError::Component { path: component, faults }),
        ] {
            assert!(error.to_string().starts_with("modules/m/m.wasm"), "{error}");
        }
    }
}
