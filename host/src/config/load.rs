//! Turns [`Sources`] into a checked [`Config`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::settings::{Config, Settings};
use super::sources::{FILE_NAME, Flags, Sources};
use super::topology::{self, ServerConfig, Servers};
use super::{formats, relations, schema, variables};
use crate::document::fault::{Fault, Faults, ValueOrigin};
use crate::document::merge::overlay;
use crate::document::shape::{self, Nulls};
use crate::document::source;
use crate::document::tree::{Member, Node, Path as KeyPath, Value, quoted};

/// The environment if neither a flag nor a variable names one.
pub const DEFAULT_ENVIRONMENT: &str = "development";

/// Finds the file, reads it and merges the other sources into it. Returns a configuration in any
/// case: a section with a fault has its defaults.
pub fn load_with_faults(sources: &Sources) -> (Config, Faults) {
    let dir = if sources.dir.as_os_str().is_empty() { Path::new(".") } else { &sources.dir };
    let file = match &sources.config {
        Some(file) => Some(file.clone()),
        None => Some(dir.join(FILE_NAME)).filter(|file| file.exists()),
    };
    let (text, unread) = match file.as_deref().map(source::read).transpose() {
        Ok(text) => (text, Faults::default()),
        Err(fault) => (None, fault.into()),
    };
    let root = match file.as_deref().and_then(Path::parent) {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    };
    let (mut config, mut faults) = assemble(text.as_deref(), file.as_deref(), root, sources);
    config.file = file.map(|file| absolute(&file));
    config.sources = Some(sources.clone());
    faults.extend(unread);
    (config, faults)
}

/// Loads from a text in place of the file. `root` is the folder that the file would be in.
pub fn from_text(text: Option<&str>, root: &Path, sources: &Sources) -> Result<Config, Faults> {
    let (config, faults) = assemble(text, None, root, sources);
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn assemble(text: Option<&str>, file: Option<&Path>, root: &Path, sources: &Sources) -> (Config, Faults) {
    let shown = file.map_or_else(|| Arc::from(FILE_NAME), source::shown);
    let empty = || Node::object(&ValueOrigin::Default);
    let (mut tree, mut faults) = match text.map(|text| source::parse(text, &shown)) {
        None => (empty(), Faults::default()),
        Some(Ok(parsed)) => parsed,
        Some(Err(faults)) => (empty(), faults),
    };
    topology::refuse_masters(&mut tree).into_iter().for_each(|fault| faults.push(fault));
    faults.extend(schema::check(&tree, &KeyPath::default(), schema::config(), Nulls::Remove));
    let mut warnings = Vec::new();
    let environment = environment(sources, &mut faults);
    let with_servers = topology::environments(&tree);
    let section = take_section(&mut tree, &environment, &mut warnings);
    if !with_servers.is_empty() {
        // Without its section, an environment would have no servers, or those of another one.
        warnings.drain(..).for_each(|warning| faults.push(warning));
    }

    let (overrides, unknown) = variables::read(&sources.variables);
    warnings.extend(unknown);
    let flags = flags(sources);
    for layer in [&overrides, &flags] {
        faults.extend(schema::check(layer, &KeyPath::default(), schema::config(), Nulls::Remove));
    }
    for layer in [Some(&tree), section.as_ref(), Some(&overrides), Some(&flags)].into_iter().flatten() {
        warnings.extend(shape::warnings(layer, schema::config(), Nulls::Remove));
    }
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut effective = Node::from_json(defaults, &ValueOrigin::Default);
    // The user's layers are merged with each other before they are laid over the defaults, so that
    // the default applies to a key that a null removes.
    let mut user = Node::object(&ValueOrigin::Default);
    for layer in [Some(tree), section].into_iter().flatten() {
        overlay(&mut user, layer);
    }
    let Servers { list: servers, warnings: doubts } = Servers::of(&user, &mut faults);
    warnings.extend(doubts);
    let mut checked: Option<KeyPath> = None;
    for (node, path) in servers.iter().filter_map(ServerConfig::overrides) {
        // The servers of a range have one entry.
        if checked.replace(path.clone()).as_ref() != Some(&path) {
            faults.extend(schema::check(node, &path, schema::config(), Nulls::Remove));
        }
    }
    let id = KeyPath::of(&["node", "id"]);
    let chosen = [&flags, &overrides, &user].into_iter().find_map(|layer| layer.at(&id));
    let server = match chosen.map(|id| topology::own(&servers, id, &environment, &with_servers)) {
        None => None,
        Some(Ok(server)) => server.cloned(),
        Some(Err(fault)) => {
            faults.push(fault);
            None
        }
    };
    let entry = server.as_ref().map(|server| server.layer(&user));
    for layer in [entry, Some(overrides), Some(flags)].into_iter().flatten() {
        overlay(&mut user, layer);
    }
    overlay(&mut effective, user);

    let settings = Settings::read(&effective);
    relations::check(&settings, &effective, &mut faults);
    warnings.extend(relations::warning(&effective, &faults));
    if faults.is_empty() && effective.read::<Settings>().is_none() {
        faults.push(Fault::new(
            &ValueOrigin::start_of(&shown),
            "",
            "passes all checks but cannot be read: please report this bug",
        ));
    }
    let mut config = build(settings, absolute(root), environment, warnings, effective);
    if let Some(server) = &server {
        config.state_dir.push(&server.id);
    }
    (config.servers, config.server) = (servers, server);
    (config, faults.sorted())
}

fn build(settings: Settings, root: PathBuf, environment: String, warnings: Vec<Fault>, effective: Node) -> Config {
    // A path on the command line is relative to the current folder, not to the file.
    let flag = effective.at(&KeyPath::of(&["modulesDir"])).filter(|node| matches!(node.origin, ValueOrigin::Flag(_)));
    let modules_dir = flag.map(|_| absolute(Path::new(&settings.modules_dir)));
    let mut config = Config::new(settings, root, environment, effective);
    let sections = config.effective.members().iter();
    config.sse.configured =
        sections.into_iter().any(|section| section.name == "sse" && section.origin != ValueOrigin::Default);
    Config { modules_dir: modules_dir.unwrap_or_else(|| config.modules_dir.clone()), warnings, ..config }
}

fn absolute(path: &Path) -> PathBuf {
    // Collecting the components removes a trailing slash, so that `a/` and `a` are the same path.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components().collect()
}

fn environment(sources: &Sources, faults: &mut Faults) -> String {
    let variable = sources.variables.get("FANFARE_ENV").filter(|name| !name.is_empty());
    let (name, origin) = match (&sources.environment, variable) {
        (Some(name), Some(variable)) if name == variable => (name.clone(), ValueOrigin::Variable("FANFARE_ENV".into())),
        (Some(name), _) => (name.clone(), ValueOrigin::Flag("--env".into())),
        (None, Some(name)) => (name.clone(), ValueOrigin::Variable("FANFARE_ENV".into())),
        (None, None) => (DEFAULT_ENVIRONMENT.to_owned(), ValueOrigin::Default),
    };
    if let Err(rule) = formats::check("environment", &name) {
        faults.push(Fault::new(&origin, "", format!("must be {rule}, found {}", quoted(&name))));
    }
    name
}

/// Removes `$schema` and `environments` from the tree, and returns the section that applies.
fn take_section(tree: &mut Node, name: &str, warnings: &mut Vec<Fault>) -> Option<Node> {
    tree.remove("$schema");
    let mut environments = tree.remove("environments")?;
    if let Some(mut section) = environments.remove(name) {
        mark(&mut section, &Arc::from(name));
        return Some(section).filter(|section| !section.is_null());
    }
    let names: Vec<&str> = environments.members().iter().map(|member| member.name.as_str()).collect();
    if name != DEFAULT_ENVIRONMENT && !names.is_empty() {
        let message = format!("no section for the environment {}{}", quoted(name), shape::did_you_mean(name, &names));
        warnings.push(Fault::new(&environments.origin, "environments", message));
    }
    None
}

/// Records the section's name in the origins of its values.
fn mark(node: &mut Node, name: &Arc<str>) {
    if let ValueOrigin::File { environment, .. } = &mut node.origin {
        *environment = Some(name.clone());
    }
    match &mut node.value {
        Value::Object(members) => members.iter_mut().for_each(|Member { node, .. }| mark(node, name)),
        Value::List(items) => items.iter_mut().for_each(|item| mark(item, name)),
        _ => {}
    }
}

fn flags(sources: &Sources) -> Node {
    let Flags { modules, workers, listen, admin, node } = &sources.flags;
    let given = [
        ("--modules", "FANFARE_MODULES_DIR", modules),
        ("--workers", "FANFARE_WORKERS", workers),
        ("--listen", "FANFARE_HTTP_LISTEN", listen),
        ("--admin", "FANFARE_ADMIN_LISTEN", admin),
        ("--node", "FANFARE_NODE_ID", node),
    ];
    let mut tree = Node::object(&ValueOrigin::Default);
    for (flag, variable, text) in given {
        let (Some(text), Some(key)) = (text, variables::known().get(variable)) else { continue };
        // The command line fills the flag from the variable, so an equal value is the variable's.
        if sources.variables.get(variable) != Some(text) {
            let origin = ValueOrigin::Flag(flag.into());
            variables::insert(&mut tree, &key.path, Node::new(&origin, key.value(text)), &origin);
        }
    }
    tree
}
