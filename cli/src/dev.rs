//! `fanfare dev` serves the modules. When the sources of a module change, it builds the module and
//! asks the host to reload it.

mod sources;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::build::tools::Lacking;
use super::build::{self, BuildError, Group};
use super::log::Format;
use super::project::Selection;
use super::serve::{self, ServeArgs, ServeHooks, Signals};
use super::terminal::{eprint, exit_code};
use fanfare::tooling::document::source::shown;
use fanfare::tooling::{Manifest, ModuleState, ReloadOptions, Roster, manifest};
use fanfare::{Config, RunningHost};
use sources::{Changed, SourceWatcher};

/// Flags of `fanfare dev`.
#[derive(Debug, Clone, clap::Args)]
pub struct DevArgs {
    /// A module, by its name or folder, or any folder of the project [default: the current folder].
    /// The command builds only this module, or every one of the project that has a build.command:
    /// when its component is missing or older than its sources, and when its sources change.
    #[arg(value_name = "MODULE|DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Serves the modules, and builds those whose sources change, until a signal arrives.
pub fn run(args: &DevArgs) -> ExitCode {
    let selection = Selection::new(args.dir.as_deref(), &args.serve.settings);
    exit_code(selection.and_then(|selection| {
        let Selection { config, modules, is_single_module } = selection;
        let selected_dirs = is_single_module.then_some(modules);
        let dev = Dev { config: config.clone(), selected_dirs, watcher: None, failed: Vec::new() };
        serve::serve(&args.serve, config, dev)
    }))
}

/// Builds modules before and while a host serves them, and asks the host to reload each module that
/// it rebuilds while the host serves.
struct Dev {
    config: Config,
    /// The folders of the selected modules. `None` selects every module in `modulesDir`, including
    /// those that appear later.
    selected_dirs: Option<Vec<PathBuf>>,
    /// `None` until [`ServeHooks::before_loading`] runs, after [`ServeHooks::while_serving`] has
    /// taken it, and when the sources cannot be watched.
    watcher: Option<SourceWatcher>,
    /// The modules whose build failed before the host served, each with the reason.
    failed: Vec<(String, BuildError)>,
}

impl ServeHooks for Dev {
    fn log_format(&self) -> Format {
        Format::Short
    }

    /// A signal that a terminal sends to this program does not reach a build, because it has a
    /// process group of its own.
    fn signals(&self) -> std::io::Result<Signals> {
        Signals::of_terminal()
    }

    /// Starts to watch the sources, then builds each module whose component is missing or older
    /// than its sources.
    async fn before_loading(&mut self) {
        if let Some(hint) = nothing_to_serve(&self.config) {
            eprint(&hint);
        }
        // The watch starts before the builds, so that it sees files that change during a build.
        match SourceWatcher::new(self.config.modules_dir.clone(), self.manifests_to_build()) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => eprint(&format!(
                "cannot watch the sources: {error}\n\
                 fanfare dev does not see changes, so run `fanfare build` after each change\n"
            )),
        }
        let stale: Vec<_> =
            self.manifests_to_build().into_iter().filter(|manifest| sources::is_stale(manifest)).collect();
        let (ready, lacking, unprepared) = build::prepare_all(stale.iter().map(Arc::as_ref)).await;
        if !lacking.0.is_empty() {
            eprint(&format!("{lacking}\n{}: not built\n", lacking.modules()));
        }
        self.failed.extend(unprepared);
        let each =
            lacking.0.into_iter().map(|(name, tools)| (name.clone(), BuildError::Tools(Lacking(vec![(name, tools)]))));
        self.failed.extend(each);
        for prepared in ready {
            let name = &prepared.manifest.name;
            eprint(&format!("{name}: building\n"));
            if let Err(error) = prepared.run(&self.config, Group::Own).await {
                eprint(&format!("{error}\n"));
                self.failed.push((name.clone(), error));
            }
        }
    }

    /// Builds each module whose sources change, then asks the host to reload it. Does nothing when
    /// the sources cannot be watched.
    async fn while_serving(&mut self, host: &RunningHost) -> Infallible {
        for (name, error) in self.failed.drain(..) {
            host.roster().set_failed_build(&name, Some(failure(&error)));
        }
        let Some(mut watcher) = self.watcher.take() else { return std::future::pending().await };
        let selected_dirs = self.selected_dirs.clone();
        host.swapper().set_builder(move |dir| is_built(dir, selected_dirs.as_deref()));
        loop {
            watcher.next_save().await;
            for Changed { manifest, saved_at } in watcher.changed(self.manifests_to_build()) {
                let name = &manifest.name;
                eprint(&format!("{name}: building\n"));
                let previous_digest = installed_digest(host.roster(), name);
                let built = match build::prepare(&manifest).await {
                    Ok(prepared) => prepared.run(&self.config, Group::Own).await,
                    Err(error) => Err(error),
                };
                host.roster().set_failed_build(name, built.as_ref().err().map(failure));
                let build_time = match built {
                    Ok(build_time) => build_time,
                    Err(error) => {
                        let consequence = match previous_digest {
                            Some(_) => "so the previous generation keeps serving",
                            None => "so the host cannot serve the module yet",
                        };
                        eprint(&format!("{error}\n{name}: the build failed, {consequence}\n"));
                        continue;
                    }
                };
                let (reload, roster) = (host.swapper().reload(name, ReloadOptions::CHANGE), host.roster().clone());
                // The reload runs in its own task, because startups can delay it and the next build
                // must not wait for the reload.
                tokio::spawn(async move {
                    // When the host refuses a reload, it logs the reason.
                    if let Ok(reloaded) = reload.await {
                        // The result of the reload does not tell whether the component changed: the
                        // host watches the component too, and may have reloaded it first.
                        let changed = installed_digest(&roster, &manifest.name) != previous_digest;
                        let (name, since_save) = (&manifest.name, saved_at.elapsed());
                        eprint(&match reloaded.pinned && !changed {
                            true => pinned_report(name, reloaded.generation.as_deref(), build_time),
                            false => build_report(name, changed, since_save, build_time),
                        });
                    }
                });
            }
        }
    }
}

/// What the status and the page for developers say about a failed build.
fn failure(error: &BuildError) -> String {
    format!("the last build failed, and `fanfare dev` has printed its output: {error}")
}

/// Whether `fanfare dev` builds the module in a folder. It cannot build one with a faulty manifest,
/// whose faults the host reports.
fn is_built(dir: &Path, selected_dirs: Option<&[PathBuf]>) -> bool {
    let is_selected = selected_dirs.is_none_or(|selected| selected.iter().any(|one| one == dir));
    is_selected && Manifest::load(dir).is_ok_and(|manifest| manifest.build.is_some())
}

/// Returns the digest of the installed generation of a module, or `None` when none is installed.
fn installed_digest(roster: &Roster, module: &str) -> Option<String> {
    match roster.state(module)? {
        ModuleState::Installed(generation) => Some(generation.digest.clone()),
        _ => None,
    }
}

fn build_report(name: &str, changed: bool, since_save: Duration, build_time: Duration) -> String {
    let (since_save, build_time) = (since_save.as_secs_f64(), build_time.as_secs_f64());
    match changed {
        true => format!("{name}: live {since_save:.2} s after save (build {build_time:.2} s)\n"),
        false => format!("{name}: the build took {build_time:.2} s and did not change the component\n"),
    }
}

/// The build made what the module's files were when a rollback pinned another generation.
fn pinned_report(name: &str, generation: Option<&str>, build_time: Duration) -> String {
    let pinned = generation.unwrap_or("another generation");
    format!(
        "{name}: the build took {:.2} s, but a rollback has pinned {pinned}, which serves until the component changes: \
         run `fanfare reload {name} --force` to serve the build\n",
        build_time.as_secs_f64()
    )
}

/// Names the next step if there is no module.
fn nothing_to_serve(config: &Config) -> Option<String> {
    if !manifest::folder_names(&config.modules_dir).unwrap_or_default().is_empty() {
        return None;
    }
    Some(format!("{} has no modules yet: run `fanfare new hello`\n", shown(&config.modules_dir)))
}

impl Dev {
    /// Loads the manifests of the selected modules and returns those that have a `build.command`.
    /// Skips manifests that it cannot load.
    fn manifests_to_build(&self) -> Vec<Arc<Manifest>> {
        let all = || {
            let names = manifest::folder_names(&self.config.modules_dir).unwrap_or_default();
            names.into_iter().map(|name| self.config.modules_dir.join(name)).collect()
        };
        let dirs = self.selected_dirs.clone().unwrap_or_else(all);
        let manifests = dirs.iter().filter_map(|dir| match Manifest::load(dir) {
            Ok(manifest) => manifest.build.is_some().then(|| Arc::new(manifest)),
            Err(error) => {
                tracing::debug!(
                    dir = %shown(dir), %error,
                    "cannot load the manifest, so fanfare dev does not build the module"
                );
                None
            }
        });
        manifests.collect()
    }
}
