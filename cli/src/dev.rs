//! `fanfare dev`: serves the modules; builds and swaps a module when its sources change.

mod sources;

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::build;
use super::project::Selection;
use super::serve::{self, Companion, ServeArgs};
use super::terminal::{complain, exit};
use fanfare::RunningHost;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::{Manifest, ModuleState, ReloadOptions, Roster, manifest};
use sources::Sources;

/// Flags of `fanfare dev`.
#[derive(Debug, Clone, clap::Args)]
pub struct DevArgs {
    /// A module's folder, or the project's folder to build every module that has a build.command
    /// [default: the current folder].
    #[arg(value_name = "DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Serves and builds until a signal arrives.
pub fn run(args: &DevArgs) -> ExitCode {
    let selection = Selection::new(args.dir.as_deref(), &args.serve.settings);
    exit(selection.and_then(|selection| {
        let Selection { config, modules, alone } = selection;
        let dev = Dev { modules_dir: config.modules_dir.clone(), only: alone.then_some(modules), sources: None };
        serve::serve(&args.serve, config, dev)
    }))
}

/// Builds modules while a host serves them.
struct Dev {
    modules_dir: PathBuf,
    /// The folders of the modules to build. `None`: every module that has a `build.command`.
    only: Option<Vec<PathBuf>>,
    sources: Option<Sources>,
}

impl Companion for Dev {
    /// Builds the modules whose component is missing or older than its sources.
    async fn prepare(&mut self) {
        // Watches before it builds, so that it notices files saved during a build.
        match Sources::watch(self.modules_dir.clone(), self.modules()) {
            Ok(sources) => self.sources = Some(sources),
            Err(error) => complain(&format!("cannot watch the sources, so changes are not built: {error}\n")),
        }
        for manifest in self.modules() {
            if sources::is_stale(&manifest) {
                complain(&format!("{}: building\n", manifest.name));
                if let Err(error) = build::run_command(&manifest).await {
                    complain(&format!("{error}\n"));
                }
            }
        }
    }

    async fn accompany(&mut self, host: &RunningHost) -> Infallible {
        let Some(mut sources) = self.sources.take() else { return std::future::pending().await };
        loop {
            let saved = sources.saved().await;
            for manifest in sources.changed(self.modules()) {
                let name = &manifest.name;
                complain(&format!("{name}: building\n"));
                let (begun, previous) = (Instant::now(), generation(host.roster(), name));
                if let Err(error) = build::run_command(&manifest).await {
                    complain(&format!("{error}\n{name}: the previous generation keeps serving\n"));
                    continue;
                }
                let built = begun.elapsed();
                let (reload, modules) = (host.swapper().reload(name, ReloadOptions::CHANGE), host.roster().clone());
                // In a task, because a canary may delay the reload and the next build must not wait
                // for it. The host logs why it refuses a reload.
                tokio::spawn(async move {
                    if reload.await.is_ok() {
                        // The host watches the component too, so its own reload may have been
                        // first.
                        let live = generation(&modules, &manifest.name) != previous;
                        complain(&build_report(&manifest.name, live, saved.elapsed(), built));
                    }
                });
            }
        }
    }
}

/// The digest of the generation that serves.
fn generation(modules: &Roster, module: &str) -> Option<String> {
    match modules.state(module)? {
        ModuleState::Installed(generation) => Some(generation.digest.clone()),
        _ => None,
    }
}

fn build_report(name: &str, live: bool, whole: Duration, built: Duration) -> String {
    let (whole, built) = (whole.as_secs_f64(), built.as_secs_f64());
    match live {
        true => format!("{name}: live {whole:.2} s after save (build {built:.2} s)\n"),
        false => format!("{name}: built in {built:.2} s, the component has not changed\n"),
    }
}

impl Dev {
    /// Reads the manifests of the modules that have a `build.command`.
    fn modules(&self) -> Vec<Arc<Manifest>> {
        let all = || {
            let names = manifest::folders(&self.modules_dir).unwrap_or_default();
            names.into_iter().map(|name| self.modules_dir.join(name)).collect()
        };
        let dirs = self.only.clone().unwrap_or_else(all);
        let manifests = dirs.iter().filter_map(|dir| match Manifest::load(dir) {
            Ok(manifest) => manifest.build.is_some().then(|| Arc::new(manifest)),
            Err(error) => {
                tracing::debug!(dir = %shown(dir), %error, "cannot read the module, so it is not built");
                None
            }
        });
        manifests.collect()
    }
}
