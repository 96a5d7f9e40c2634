//! Back to a generation that served before, until the module's folder changes.

use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Choice;
use super::outcome::Ended;
use super::run::{Ran, Run};
use super::{SwapError, Swapper, Want};
use crate::registry::{Pin, folder_digest, short};

impl Swapper {
    /// Lets a kept generation take over in every worker and pins it: the one before that which serves, or the one whose digest
    /// begins with `to`. During a trial it is the one that served before that. It goes on when the future is dropped.
    pub fn rollback(self: &Arc<Swapper>, module: &str, to: Option<&str>) -> impl Future<Output = Ended> + Send + use<> {
        let (swapper, module, to) = (self.clone(), module.to_owned(), to.map(str::to_owned));
        let running =
            self.runtime.spawn(async move { swapper.until_stop(swapper.roll_back_to(&module, to.as_deref())).await });
        async { running.await.unwrap_or_else(|error| Err(SwapError::Refused(format!("the host panicked: {error}")))) }
    }

    async fn roll_back_to(self: &Arc<Swapper>, module: &str, to: Option<&str>) -> Ended {
        if !self.knows(module) {
            return Err(SwapError::NotFound(module.to_owned()));
        }
        let mut held = self.turn_at_once(module).await;
        let mut tried = false;
        if let Some(holding) = held.as_mut() {
            tried = holding.canary.is_some();
            self.end_trial(module, holding).await;
        }
        let folder = folder_digest(&self.config.modules_dir.join(module));
        let serves = held.as_ref().map(|holding| holding.program.generation.digest.clone());
        let (generation, want) = match (serves, to) {
            // What served before the trial serves again.
            (Some(serves), None) if tried => (serves, Want::CHANGE),
            (serves, to) => (self.before(module, serves.as_deref(), to).map_err(SwapError::Refused)?, Want::RENEW),
        };
        let candidate = self.kept(module, &generation, &self.live.load()).map_err(SwapError::Refused)?;
        let pin = (generation != folder).then_some(Pin { generation, folder });
        let choice = Choice { candidate, pinned: pin.is_some() };
        let (hurry, compiling) = (held.hurry.clone(), Mutex::default());
        let ran = Run { swapper: self, module, want, hurry, compiling }.run(&mut held, Ok(choice)).await?;
        self.set_pin(module, pin);
        self.leave(held);
        match ran {
            Ran::Done(reloaded) => Ok(reloaded),
            Ran::OnTrial(trial) => trial.await,
        }
    }

    /// The digest of the generation to go back to.
    fn before(&self, module: &str, serves: Option<&str>, to: Option<&str>) -> Result<String, String> {
        let kept = self.kept.generations(module);
        let found = match (to, serves) {
            (Some(to), _) => kept.iter().find(|digest| digest.starts_with(to)),
            (None, Some(serves)) => match kept.iter().position(|digest| digest == serves) {
                Some(place) => kept.get(place + 1),
                None => kept.first(),
            },
            (None, None) => kept.first(),
        };
        found.cloned().ok_or_else(|| {
            let kept: Vec<&str> = kept.iter().map(|digest| short(digest)).collect();
            let wanted = to.map_or("none before the one that serves".to_owned(), |to| format!("no {to}"));
            let all = if kept.is_empty() { "none".to_owned() } else { kept.join(", ") };
            format!("of {module} there is {wanted}; kept are, the newest first: {all}")
        })
    }
}
