//! The sources of settings, and their order.

use super::*;

#[test]
fn each_layer_overrides_the_previous_one() {
    let text = r#"{"workers": 2, "environments": {"production": {"workers": 3, "http": {"maxHeaders": 3}}, "other": {"workers": 9}}}"#;
    let mut with = Sources::default();
    let seen = |with: &Sources| {
        let config = load_with(text, with).unwrap();
        (config.workers, config.origin(&KeyPath::of(&["workers"])).to_string())
    };
    assert_eq!(seen(&with), (2, "fanfare.json:1:13".into()));
    with.environment = Some("production".into());
    assert_eq!(seen(&with), (3, "environments.production fanfare.json:1:59".into()));
    with.variables.insert("FANFARE_WORKERS".into(), "4".into());
    assert_eq!(seen(&with), (4, "variable FANFARE_WORKERS".into()));
    with.flags.workers = Some("4".into());
    assert_eq!(
        seen(&with),
        (4, "variable FANFARE_WORKERS".into()),
        "the command line has filled the flag from the variable"
    );
    with.flags.workers = Some("5".into());
    assert_eq!(seen(&with), (5, "flag --workers".into()));
    assert_eq!(load_with(text, &with).unwrap().http.max_headers, 3);
}

#[test]
fn null_restores_the_default() {
    let text = r#"{"workers": 2, "http": {"domain": "a.test", "maxBody": 5}, "modules": {"m": {"limits": {"concurrency": 1}}},
        "environments": {"development": {"workers": null, "http": {"domain": null, "maxBody": null}, "modules": {"m": null}}}}"#;
    let config = load(text).unwrap();
    assert_eq!(config.workers, std::thread::available_parallelism().map_or(1, usize::from));
    assert_eq!((config.http.domain, config.http.max_body), (None, 2 * MIB));
    assert!(config.modules.is_empty());
    assert!(load(r#"{"http": null, "modules": null, "environments": null}"#).is_ok());
}

#[test]
fn the_flag_chooses_the_environment_before_the_variable() {
    let mut with = sources(&[("FANFARE_ENV", "test")]);
    assert_eq!(load_with("{}", &with).unwrap().environment, "test");
    with.environment = Some("production".into());
    assert_eq!(load_with("{}", &with).unwrap().environment, "production");
    with.environment = Some("a b".into());
    assert!(load_with("{}", &with).unwrap_err().to_string().starts_with("--env: must be a name"));
}

#[test]
fn an_environment_without_a_section_causes_a_warning_if_others_have_one() {
    let text = r#"{"environments": {"production": {}}}"#;
    let with = |name: &str| Sources { environment: Some(name.into()), ..Sources::default() };
    let warnings = load_with(text, &with("prodution")).unwrap().warnings;
    assert_eq!(
        warnings[0].to_string(),
        "fanfare.json:1:18: environments: no section for the environment \"prodution\"; did you mean \"production\"?"
    );
    assert!(load_with(text, &with("production")).unwrap().warnings.is_empty());
    assert!(load(text).unwrap().warnings.is_empty());
}

#[test]
fn as_many_streams_as_connections_cause_a_warning() {
    let warnings = |text: &str| load(text).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        warnings(r#"{"http": {"maxConnections": 50}, "sse": {"maxClients": 50}}"#),
        [
            "fanfare.json:1:56: sse.maxClients: is not lower than http.maxConnections (50, fanfare.json:1:29), found 50: \
             streams over HTTP/1.x that are idle can take every connection, so lower it or raise http.maxConnections"
        ]
    );
    assert_eq!(warnings(r#"{"sse": {"maxClients": 10000}}"#).len(), 1);
    for text in ["{}", r#"{"sse": {"maxClients": 9999}}"#, r#"{"http": {"maxConnections": 1}, "sse": {}}"#] {
        assert!(warnings(text).is_empty(), "{text}");
    }
}

#[test]
fn variables_are_checked_like_the_file() {
    let list = load_with(
        "{}",
        &sources(&[("FANFARE_WORKERS", "0"), ("FANFARE_HTTP_LISTEN", "x"), ("FANFARE_HTTP_CORS_CREDENTIALS", "yes")]),
    )
    .unwrap_err();
    let list: Vec<String> = list.list().iter().map(ToString::to_string).collect();
    assert_eq!(list[0], "FANFARE_HTTP_CORS_CREDENTIALS: http.cors.credentials: must be true or false, found \"yes\"");
    assert!(list[1].starts_with("FANFARE_HTTP_LISTEN: http.listen: must be an IP address and port"));
    assert_eq!(list[2], "FANFARE_WORKERS: workers: must be at least 1, found 0");
    let config = load_with("{}", &sources(&[("FANFARE_HTTP_MAX_BODY", "1KiB"), ("FANFARE_NOTHING", "1")])).unwrap();
    assert_eq!((config.http.max_body, config.warnings.len()), (1024, 1));
}

#[test]
fn flags_are_checked_like_the_file() {
    let flags = Flags { workers: Some("many".into()), admin: Some("x".into()), ..Flags::default() };
    let list = load_with("{}", &Sources { flags, ..Sources::default() }).unwrap_err().to_string();
    assert!(list.contains("--workers: workers: must be \"auto\" or a whole number, found \"many\""), "{list}");
    assert!(list.contains("--admin: admin.listen: must be an IP address"), "{list}");
}

#[test]
fn relative_folders_are_relative_to_the_file_or_for_flags_to_the_current_folder() {
    let config = load(r#"{"modulesDir": "./m", "stateDir": "/var/f"}"#).unwrap();
    assert_eq!(
        (config.modules_dir.as_path(), config.state_dir.as_path()),
        (Path::new("/srv/app/m"), Path::new("/var/f"))
    );
    let flags = Flags { modules: Some("m".into()), ..Flags::default() };
    let config = load_with("{}", &Sources { flags, ..Sources::default() }).unwrap();
    assert_eq!(config.modules_dir, std::env::current_dir().unwrap().join("m"));
}

#[test]
fn the_file_is_optional_unless_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let in_dir = Sources { dir: dir.to_owned(), ..Sources::default() };
    let none = Config::load(in_dir.clone()).unwrap();
    assert_eq!((none.root.as_path(), none.file), (dir, None));
    std::fs::write(dir.join(FILE_NAME), "{\"workers\": 7}").unwrap();
    let found = Config::load(in_dir.clone()).unwrap();
    assert_eq!((found.workers, found.file), (7, Some(dir.join(FILE_NAME))));
    let named = Sources { config: Some(dir.join("other.json")), ..in_dir };
    assert!(Config::load(named).unwrap_err().to_string().contains("other.json:1:1: cannot be read"));
}
