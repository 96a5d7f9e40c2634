//! Who asks for a reload, and when it runs: requests that wait for the same module share one run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::error::SwapError;
use super::outcome::Ended;
use super::request::{Claim, Request, Want};
use super::run::{Ran, Run};
use super::swapper::Swapper;
use crate::api::Reloaded;
use crate::call::{CallError, IsolateId, Receipt};
use crate::ports::{BoxFuture as Boxed, Reloads};
use crate::registry::manifest::{folders, is_candidate, is_module};

impl Reloads for Swapper {
    fn renew(&self, module: &str, isolate: IsolateId, instance: u64) -> Boxed<Result<(), CallError>> {
        let Some(swapper) = self.me.upgrade() else {
            return Box::pin(std::future::ready(Err(CallError::Unavailable("the host stops".to_owned()))));
        };
        let module = module.to_owned();
        let renewed = self.runtime.spawn(async move { swapper.renew_one(&module, isolate, instance).await });
        Box::pin(async {
            let renewed = renewed.await.map_err(|error| CallError::Crashed(format!("the host panicked: {error}")))?;
            renewed.map_err(|error| CallError::Unavailable(error.to_string()))
        })
    }

    fn request(&self, module: Option<&str>) -> Result<Receipt, CallError> {
        let swapper = self.me.upgrade().ok_or_else(|| CallError::Unavailable("the host stops".to_owned()))?;
        match module {
            Some(module) if !self.knows(module) => {
                return Err(CallError::NotFound(format!("there is no module {module}")));
            }
            // Each logs what it comes to.
            Some(module) => drop(swapper.reload(module, Want::RENEW)),
            None => self.names().iter().for_each(|module| drop(swapper.reload(module, Want::RENEW))),
        }
        Ok(Receipt {
            id: self.services.next_id(),
            seq: self.requests.asked_by_guests.fetch_add(1, Ordering::Relaxed) + 1,
            accepted: u32::try_from(self.dispatch.workers().len()).unwrap_or(u32::MAX),
            skipped: Vec::new(),
            extra: Vec::new(),
        })
    }
}

/// How long files that are being written are left alone before they are read again.
const REREAD: Duration = Duration::from_millis(20);

impl Swapper {
    /// Reads `fanfare.json` again, then reloads a module.
    pub async fn reload_as_operator(self: &Arc<Swapper>, module: &str, want: Want) -> Ended {
        let restart = self.reconfigure().map_err(SwapError::Settings)?;
        let reloaded = self.reload(module, want).await?;
        Ok(Reloaded { restart, ..reloaded })
    }

    /// Reads a module's folder again, and lets what is there take over in every worker. Who asks while it runs gets
    /// the outcome of the next run. The reload goes on when the future is dropped.
    pub fn reload(self: &Arc<Swapper>, module: &str, want: Want) -> impl Future<Output = Ended> + Send + use<> {
        if !self.knows(module) {
            return std::future::ready(Err(SwapError::NotFound(module.to_owned()))).left_future();
        }
        let mut requests = self.requests.waiting.lock();
        if let Some(request) = requests.get_mut(module) {
            request.want = request.want.and(want);
            request.asked += 1;
            return request.ended.clone().right_future();
        }
        let (tell, told) = oneshot::channel();
        let lost = |_| Err(SwapError::Lost("reload"));
        let ended = told.map(move |ended: Result<Ended, _>| ended.unwrap_or_else(lost)).boxed().shared();
        requests.insert(module.to_owned(), Request { want, asked: 1, ended: ended.clone() });
        let (swapper, module) = (self.clone(), module.to_owned());
        self.runtime.spawn(async move {
            let ended = swapper.until_stop(swapper.run_request(&module)).await;
            // Nobody may wait for it.
            let _ = tell.send(ended);
        });
        ended.right_future()
    }

    /// The same for every module there is or was.
    pub async fn reload_all(self: &Arc<Swapper>, want: Want) -> Vec<(String, Ended)> {
        let reloads = self.names().into_iter().map(|name| {
            let ended = self.reload(&name, want);
            async move { (name, ended.await) }
        });
        join_all(reloads).await
    }

    /// Every module there is or was.
    fn names(&self) -> BTreeSet<String> {
        let folders = folders(&self.config.modules_dir).unwrap_or_default().into_iter();
        folders.chain(self.roster.states().into_keys()).collect()
    }

    /// Whether there is such a module, or was one. The name leads nowhere else.
    pub(super) fn knows(&self, module: &str) -> bool {
        let folder = || is_candidate(module) && is_module(&self.config.modules_dir.join(module));
        self.roster.state(module).is_some() || folder()
    }

    /// Runs one request when its module's files have come to rest.
    async fn run_request(self: &Arc<Swapper>, module: &str) -> Ended {
        let mut claim = Claim { requests: &self.requests, module, begun: false };
        let until = Instant::now() + self.config.swap.patience;
        let mut compiling = None;
        loop {
            // Past the limit it is read as it is, even when its files are at rest and only reading
            // them is put off.
            let settled = tokio::time::timeout_at(until.into(), self.settle(module)).await;
            let must = settled.is_err() || Instant::now() >= until;
            let (mut held, mut permit) = self.turn_to_run(module).await;
            let (want, asked) = claim.asked();
            let config = self.live.load_full();
            let chosen = self.choose_aside(module, config, want.force, must).await;
            if compiling.is_none() && chosen.as_ref().is_ok_and(|choice| !self.loader.is_compiled(&choice.candidate)) {
                // What waits to be compiled is read again when its turn has come: it has neither
                // place nor memory meanwhile.
                drop((chosen, permit));
                self.leave(held);
                compiling = self.compiling.acquire().await.ok();
                continue;
            }
            let bytes = chosen.as_ref().map_or(0, |choice| choice.candidate.component.len());
            self.keep_needed(&mut permit, bytes);
            let unsettled = match &chosen {
                Err(SwapError::Unsettled) => true,
                // They were there before the turn came.
                Err(SwapError::NoManifest | SwapError::Waiting(_)) => settled == Ok(true),
                _ => false,
            };
            let up_to_date = !unsettled && claim.begin(asked, must);
            if !claim.begun {
                drop((chosen, permit, compiling.take()));
                self.leave(held);
                tokio::time::sleep(REREAD).await;
                continue;
            }
            let run = Run { swapper: self, module, want, hurry: held.hurry.clone(), compiling: Mutex::new(compiling) };
            let ran = run.run(&mut held, chosen).await;
            drop(permit);
            self.leave(held);
            if !up_to_date {
                // What was written since it was read; it logs what it comes to.
                drop(self.reload(module, Want::CHANGE));
            }
            return match ran? {
                Ran::Done(reloaded) => Ok(reloaded),
                Ran::OnTrial(trial) => trial.await,
            };
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.begun {
            self.requests.waiting.lock().remove(self.module);
        }
    }
}
