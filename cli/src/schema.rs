//! `fanfare schema`: prints a JSON Schema for editors.

use std::process::ExitCode;

use super::terminal::print;
use super::test::file;
use fanfare::tooling::config::schema;
use fanfare::tooling::manifest;

/// Flags of `fanfare schema`.
#[derive(Debug, Clone, clap::Args)]
pub struct SchemaArgs {
    /// The file to describe.
    #[arg(value_enum, value_name = "FILE", env = "FANFARE_SCHEMA")]
    pub which: Which,
}

/// A file that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// module.json
    Module,
    /// fanfare.json
    Config,
    /// *.test.json
    Test,
}

impl Which {
    /// The schema as text.
    pub fn document(self) -> String {
        match self {
            Which::Module => schema::document(manifest::schema().clone()),
            Which::Config => schema::config_document(),
            Which::Test => schema::document(file::schema().clone()),
        }
    }
}

/// Prints the schema.
pub fn run(args: &SchemaArgs) -> ExitCode {
    print(&args.which.document());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// `FANFARE_BLESS=1 cargo test` updates the files.
    #[test]
    fn the_schemas_in_the_repository_match_the_types() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (which, name) in [
            (Which::Module, "module.schema.json"),
            (Which::Config, "fanfare.schema.json"),
            (Which::Test, "test.schema.json"),
        ] {
            let file = root.join("schema").join(name);
            if std::env::var_os("FANFARE_BLESS").is_some() {
                std::fs::create_dir_all(root.join("schema")).unwrap();
                std::fs::write(&file, which.document()).unwrap();
            }
            let there = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(
                there == which.document(),
                "schema/{name} does not match the types: run FANFARE_BLESS=1 cargo test"
            );
        }
    }

    #[test]
    fn every_key_has_a_description_and_no_internal_keyword_is_shown() {
        fn described(schema: &serde_json::Value, path: &str) {
            for (name, value) in schema.as_object().into_iter().flatten() {
                assert!(!name.starts_with("x-"), "{path}.{name}");
                if name == "properties" {
                    for (key, property) in value.as_object().unwrap() {
                        assert!(property.get("description").is_some(), "{path}.{key} has no description");
                        described(property, &format!("{path}.{key}"));
                    }
                } else {
                    described(value, &format!("{path}.{name}"));
                }
            }
        }
        for which in [Which::Module, Which::Config, Which::Test] {
            described(&serde_json::from_str(&which.document()).unwrap(), "");
        }
    }
}
