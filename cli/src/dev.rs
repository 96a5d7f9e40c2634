//! `fanfare dev`: serves, and builds and swaps a module whenever its sources are saved.

mod sources;

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::build;
use super::project::Wanted;
use super::serve::{self, Companion, ServeArgs};
use super::terminal::complain;
use fanfare::RunningHost;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::{Manifest, ModuleState, Roster, Want, manifest};
use sources::Sources;

/// Serve the modules, and build and swap one whenever its sources are saved.
#[derive(Debug, Clone, clap::Args)]
pub struct DevArgs {
    /// The folder of one module, or that of fanfare.json for all modules that have a build.command [default: the current one].
    #[arg(value_name = "DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Serves until a signal comes.
pub fn run(args: &DevArgs) -> ExitCode {
    let wanted = Wanted::new(args.dir.as_deref(), &args.serve.settings);
    serve::exit(wanted.and_then(|wanted| {
        let config = wanted.config.clone();
        let only = wanted.alone.then_some(wanted.modules);
        serve::serve(&args.serve, config, Dev { modules_dir: wanted.config.modules_dir, only, sources: None })
    }))
}

/// Builds beside a host.
struct Dev {
    modules_dir: PathBuf,
    /// The modules to build; else all that say how.
    only: Option<Vec<PathBuf>>,
    sources: Option<Sources>,
}

impl Companion for Dev {
    /// What has no component yet is built, and what cargo would build anew.
    async fn before(&mut self) {
        // What is saved from now on is built, even if a build is on.
        match Sources::watch(self.modules_dir.clone(), self.modules()) {
            Ok(sources) => self.sources = Some(sources),
            Err(error) => complain(&format!("sources cannot be watched: {error}\n")),
        }
        for manifest in self.modules() {
            if sources::is_stale(&manifest) {
                complain(&format!("{}: building\n", manifest.name));
                if let Err(error) = build::make(&manifest).await {
                    complain(&format!("{}: {error}\n", manifest.name));
                }
            }
        }
    }

    async fn beside(&mut self, host: &RunningHost) -> Infallible {
        let Some(mut sources) = self.sources.take() else { return std::future::pending().await };
        loop {
            let saved = sources.saved().await;
            for manifest in sources.changed(self.modules()) {
                let name = &manifest.name;
                complain(&format!("{name}: building\n"));
                let (begun, before) = (Instant::now(), generation(host.roster(), name));
                if let Err(error) = build::make(&manifest).await {
                    complain(&format!("{name}: {error}\n{name}: what served serves on\n"));
                    continue;
                }
                let built = begun.elapsed();
                let (reload, modules) = (host.swapper().reload(name, Want::CHANGE), host.roster().clone());
                // Beside the next build: there may be a trial first. A refusal is in the log, with its reasons.
                tokio::spawn(async move {
                    if reload.await.is_ok() {
                        // Whoever took it up: the host watches the component too.
                        let live = generation(&modules, &manifest.name) != before;
                        complain(&told(&manifest.name, live, saved.elapsed(), built));
                    }
                });
            }
        }
    }
}

/// The digest of what is served.
fn generation(modules: &Roster, module: &str) -> Option<String> {
    match modules.state(module)? {
        ModuleState::Installed(generation) => Some(generation.digest.clone()),
        _ => None,
    }
}

fn told(name: &str, live: bool, whole: Duration, built: Duration) -> String {
    let (whole, built) = (whole.as_secs_f64(), built.as_secs_f64());
    match live {
        true => format!("{name}: live {whole:.2} s after it was saved, {built:.2} s of it to build\n"),
        false => format!("{name}: built in {built:.2} s, the component is the same\n"),
    }
}

impl Dev {
    /// The modules that say how they are built, as they are now.
    fn modules(&self) -> Vec<Arc<Manifest>> {
        let all = || {
            let names = manifest::folders(&self.modules_dir).unwrap_or_default();
            names.into_iter().map(|name| self.modules_dir.join(name)).collect()
        };
        let dirs = self.only.clone().unwrap_or_else(all);
        let manifests = dirs.iter().filter_map(|dir| match Manifest::load(dir) {
            Ok(manifest) => manifest.build.is_some().then(|| Arc::new(manifest)),
            Err(error) => {
                tracing::debug!(dir = %shown(dir), %error, "not built");
                None
            }
        });
        manifests.collect()
    }
}
