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
fn the_sdk_is_found_from_the_command() {
    let temp = folder(&[("the sdk/include/fanfare.h", ""), ("go/fanfare.go", ""), ("m/module.json", "")]);
    let found = |command: &str| {
        let (sdk, folder) = sources::sdk(&temp.path().join("m"), command)?;
        Some((sdk.language().name, folder))
    };
    let sdk = Some(("C", temp.path().join("m/../the sdk")));
    assert_eq!(found("'../the sdk/build' -o a.wasm a.c"), sdk);
    assert_eq!(found("\"../the sdk/build\" -o a.wasm a.c"), sdk);
    assert_eq!(found("../go/build -o a.wasm"), Some(("Go", temp.path().join("m/../go"))));
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
    packages(Kind::Compiler(Sdk::C), "tools").clear().unwrap();
    assert!(temp.path().join("tools/precious").exists());
}

#[test]
fn every_section_of_a_package_json_counts() {
    for section in ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"] {
        let package = format!(r#"{{ "{section}": {{ "left": "1" }} }}"#);
        assert!(sources::uses_npm(folder(&[("package.json", &package)]).path()), "{section}");
    }
}

#[test]
fn a_project_without_dependencies_lists_no_packages() {
    let file = |text: &str| sources::python_file(folder(&[("pyproject.toml", text)]).path());
    assert_eq!(file("[project]\nname = \"a\"\n"), None);
    assert_eq!(file("dependencies = []\n"), None);
}

#[test]
fn what_npm_installs_depends_on_the_lock_and_on_linked_packages() {
    let package = r#"{ "dependencies": { "left": "1", "sdk": "file:../sdk" } }"#;
    let temp = folder(&[("m/package.json", package), ("m/package-lock.json", "{}"), ("sdk/package.json", "{}")]);
    let packages = Packages { kind: Kind::Npm, dir: temp.path().join("m"), folder: temp.path().join("m/node_modules") };
    let names: Vec<_> = packages.files().iter().map(|file| file.canonicalize().unwrap()).collect();
    let root = temp.path().canonicalize().unwrap();
    assert_eq!(names, ["m/package.json", "m/package-lock.json", "sdk/package.json"].map(|name| root.join(name)));
    let mut digests = vec![packages.digest()];
    for file in ["m/package-lock.json", "sdk/package.json"] {
        fs::write(temp.path().join(file), "{ }").unwrap();
        digests.push(packages.digest());
    }
    fs::rename(temp.path().join("m/package-lock.json"), temp.path().join("m/package.json")).unwrap();
    let renamed = packages.digest();
    fs::rename(temp.path().join("m/package.json"), temp.path().join("m/package-lock.json")).unwrap();
    digests.extend([renamed, packages.digest()]);
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 5, "each change counts, also of a name");
}

#[test]
fn linked_packages_are_installed_again_when_their_version_changes() {
    let package = r#"{ "dependencies": { "sdk": "file:../sdk", "left": "1" } }"#;
    let version = |number: &str| format!(r#"{{ "version": "{number}" }}"#);
    let temp = folder(&[("m/package.json", package), ("sdk/package.json", &version("1"))]);
    let dir = temp.path().join("m");
    assert!(sources::outdated_links(&dir).is_empty(), "npm installs it anyway");
    fs::create_dir_all(dir.join("node_modules/sdk")).unwrap();
    for (installed, outdated) in [("1", vec![]), ("2", vec!["sdk@file:../sdk".to_owned()])] {
        fs::write(dir.join("node_modules/sdk/package.json"), version(installed)).unwrap();
        assert_eq!(sources::outdated_links(&dir), outdated);
    }
}

#[test]
fn requirements_that_name_themselves_are_read_once() {
    let temp = folder(&[("requirements.txt", "-r requirements.txt\n-r more.txt"), ("more.txt", "-r requirements.txt")]);
    let files = sources::of(Kind::Pip("requirements.txt"), temp.path());
    assert_eq!(files.len(), 2);
}

#[test]
fn an_environment_without_python_is_due() {
    let temp = folder(&[("requirements.txt", "left"), (".venv/bin/python", "")]);
    let dir = temp.path().to_owned();
    let packages = Packages { kind: Kind::Pip("requirements.txt"), folder: dir.join(".venv"), dir };
    assert!(packages.due().is_some(), "nothing was installed");
    packages.set_stamp(&packages.digest()).unwrap();
    assert_eq!(packages.due(), None);
    fs::remove_file(temp.path().join(".venv/bin/python")).unwrap();
    assert!(packages.due().is_some());
}

#[test]
fn a_failed_install_says_what_to_correct() {
    let remedy = |kind, said: &str| Packages { kind, dir: PathBuf::new(), folder: PathBuf::new() }.remedy(said);
    for said in ["npm error code ENOTFOUND", "NewConnectionError: ..", "ProxyError"] {
        assert!(remedy(Kind::Npm, said).contains("check the network and the proxy"), "{said}");
    }
    assert_eq!(remedy(Kind::Npm, "npm error code E404"), "correct package.json as it says");
    assert_eq!(remedy(Kind::Pip("pyproject.toml"), "no"), "correct pyproject.toml as it says");
    assert_eq!(remedy(Kind::Compiler(Sdk::C), "no"), "do what it says");
}
