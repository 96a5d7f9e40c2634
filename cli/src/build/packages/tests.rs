use super::*;

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    temp
}

#[test]
fn npm_installs_only_what_a_package_json_lists() {
    let uses = |files: &[(&str, &str)]| sources::uses_npm(folder(files).path());
    let lists = r#"{ "dependencies": { "left": "1" } }"#;
    assert!(uses(&[("package.json", lists)]));
    assert!(uses(&[("package.json", r#"{ "devDependencies": { "left": "1" } }"#)]));
    assert!(uses(&[("package.json", "{ broken")]), "npm says what is wrong");
    assert!(!uses(&[("package.json", r#"{ "type": "module", "dependencies": {} }"#)]));
    assert!(!uses(&[("package.json", lists), ("yarn.lock", "")]));
    assert!(!uses(&[]));
}

#[test]
fn a_pyproject_with_settings_of_tools_lists_no_packages() {
    let file = |files: &[(&str, &str)]| sources::python_file(folder(files).path());
    let project = ("pyproject.toml", "[project]\nname = \"a\"\ndependencies = [\"left\"]\n");
    assert_eq!(file(&[project]), Some("pyproject.toml"));
    assert_eq!(file(&[project, ("requirements.txt", "")]), Some("requirements.txt"));
    assert_eq!(file(&[("pyproject.toml", "[tool.ruff]\nline-length = 100\n")]), None);
    assert_eq!(file(&[("a.py", "")]), None);
}

#[test]
fn the_c_sdk_is_found_from_the_command() {
    let temp = folder(&[("the sdk/include/fanfare.h", ""), ("m/module.json", "")]);
    let found = |command: &str| sources::c_sdk(&temp.path().join("m"), command);
    let sdk = Some(temp.path().join("m/../the sdk"));
    assert_eq!(found("'../the sdk/build' -o a.wasm a.c"), sdk);
    assert_eq!(found("\"../the sdk/build\" -o a.wasm a.c"), sdk);
    for other in ["", "'", "build", "'../the sdk/test' a.c", "../other/build -o a.wasm a.c", "cargo build"] {
        assert_eq!(found(other), None, "{other}");
    }
}

#[test]
fn folders_that_requirements_name_count_with_their_version() {
    let temp = folder(&[("sdk/pyproject.toml", ""), ("m/more.txt", ""), ("m/limits.txt", "")]);
    let root = temp.path();
    let named = |lines: &str| {
        fs::write(root.join("m/requirements.txt"), lines).unwrap();
        let files = sources::of(Kind::Pip("requirements.txt"), &root.join("m"));
        files.into_iter().skip(1).map(|(path, _)| path.canonicalize().unwrap()).collect::<Vec<_>>()
    };
    let sdk = root.join("sdk/pyproject.toml");
    for line in [
        "../sdk".to_owned(),
        "-e ../sdk[build]  # the SDK".to_owned(),
        format!("{}[build]", root.join("sdk").display()),
        format!("fanfare[build] @ file://{}", root.join("sdk").display()),
    ] {
        assert_eq!(named(&line), [sdk.as_path()], "{line}");
    }
    assert_eq!(named("-r more.txt\n--constraint=limits.txt"), [root.join("m/more.txt"), root.join("m/limits.txt")]);
    assert_eq!(named("left==1.0\n# ../sdk\nhttps://host/left.whl\n"), Vec::<PathBuf>::new());
}

#[test]
fn only_folders_with_packages_are_removed() {
    let temp = folder(&[("node_modules/a", ""), ("tools/precious", "")]);
    let packages =
        |kind, folder: &str| Packages { kind, dir: temp.path().to_owned(), folder: temp.path().join(folder) };
    packages(Kind::Npm, "node_modules").clear().unwrap();
    assert!(!temp.path().join("node_modules").exists());
    packages(Kind::C, "tools").clear().unwrap();
    assert!(temp.path().join("tools/precious").exists());
}
