//! Back to a generation that served before, until the module's folder changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::disk::Choice;
use super::error::SwapError;
use super::outcome::Ended;
use super::request::Want;
use super::run::{Ran, Run};
use super::swapper::Swapper;
use crate::api::Reloaded;
use crate::files::aside;
use crate::registry::{Note, Pin, short};

/// How long after a pin could not be written that is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl Swapper {
    /// Lets a kept generation take over in every worker and pins it: the one before that which serves, or the one whose digest
    /// begins with `to`. During a trial it is the one that served before that. It goes on when the future is dropped.
    pub fn rollback(self: &Arc<Swapper>, module: &str, to: Option<&str>) -> impl Future<Output = Ended> + Send + use<> {
        let (swapper, module, to) = (self.clone(), module.to_owned(), to.map(str::to_owned));
        let running =
            self.runtime.spawn(async move { swapper.until_stop(swapper.roll_back_to(&module, to.as_deref())).await });
        async { running.await.unwrap_or_else(|error| Err(SwapError::Panicked(error.to_string()))) }
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
        let folder = self.folder_digest(module).await;
        let serves = held.as_ref().map(|holding| holding.program.generation.digest.clone());
        let (generation, want) = match (serves, to) {
            // What served before the trial serves again.
            (Some(serves), None) if tried => (serves, Want::CHANGE),
            (serves, to) => (self.before(module, serves.as_deref(), to).await?, Want::RENEW),
        };
        let candidate = self.kept_aside(module, &generation, self.live.load_full()).await?;
        let pin = (generation != folder).then_some(Pin { generation, folder });
        let choice = Choice { candidate, pinned: pin.is_some() };
        let (hurry, compiling) = (held.hurry.clone(), Mutex::default());
        let ran = Run { swapper: self, module, want, hurry, compiling }.run(&mut held, Ok(choice)).await?;
        let pinned = pin.as_ref().map(|pin| pin.generation.clone());
        let durable = self.set_pin(module, pin).await;
        if matches!(ran, Ran::Done(_)) {
            self.note_pin(module, pinned.as_deref());
        }
        self.leave(held);
        match ran {
            Ran::Done(reloaded) => Ok(Reloaded { durable, ..reloaded }),
            Ran::OnTrial(trial) => trial.await,
        }
    }

    /// Pins a generation, or nothing, and returns whether a restart finds it so. The pin holds in
    /// any case; writing it is tried again until it succeeds.
    pub(super) async fn set_pin(self: &Arc<Swapper>, module: &str, pin: Option<Pin>) -> bool {
        let (swapper, name) = (self.clone(), module.to_owned());
        let saved = aside(move || swapper.kept.set_pin(&name, pin)).await;
        if let Err(error) = &saved {
            let dir = self.config.state_dir.display();
            tracing::error!(
                %module, %dir, %error,
                "could not save the pin of a rollback, or its end, in stateDir; it holds until a restart, saving is retried"
            );
            self.save_pins_later();
        }
        saved.is_ok()
    }

    /// Tries to write what could not be written, until nothing is left. One task does it for all
    /// modules.
    fn save_pins_later(self: &Arc<Swapper>) {
        if self.saves_pins.swap(true, Ordering::AcqRel) {
            return;
        }
        let (swapper, stop) = (self.clone(), self.services.stop.clone());
        let saving = async move {
            loop {
                tokio::time::sleep(RETRY).await;
                let unsaved = swapper.kept.unsaved();
                if unsaved.is_empty() {
                    swapper.saves_pins.store(false, Ordering::Release);
                    // One that failed just before does not wait for the next failure.
                    if swapper.kept.unsaved().is_empty() || swapper.saves_pins.swap(true, Ordering::AcqRel) {
                        return;
                    }
                }
                for module in unsaved {
                    let (kept, name) = (swapper.clone(), module.clone());
                    if aside(move || kept.kept.save_pin(&name)).await.is_ok() {
                        tracing::info!(%module, "the pin is saved in stateDir now");
                        if let Some(Note::Pinned { generation, .. }) = swapper.roster.note(&module) {
                            swapper.note_pin(&module, Some(&generation));
                        }
                    }
                }
            }
        };
        self.runtime.spawn(stop.run_until_cancelled_owned(saving));
    }

    /// What the status notes of a pinned generation.
    pub(super) fn pinned(&self, module: &str, generation: &str) -> Note {
        Note::Pinned { generation: short(generation).to_owned(), saved: self.kept.is_saved(module) }
    }

    /// Notes that a generation is pinned, or that nothing needs to be noted.
    pub(super) fn note_pin(&self, module: &str, generation: Option<&str>) {
        self.roster.set_note(module, generation.map(|generation| self.pinned(module, generation)));
    }

    /// The digest of the generation to go back to.
    async fn before(
        self: &Arc<Swapper>,
        module: &str,
        serves: Option<&str>,
        to: Option<&str>,
    ) -> Result<String, SwapError> {
        let (swapper, name) = (self.clone(), module.to_owned());
        let kept = aside(move || swapper.kept.generations(&name)).await;
        let found = match (to, serves) {
            (Some(to), _) => kept.iter().find(|digest| digest.starts_with(to)),
            (None, Some(serves)) => match kept.iter().position(|digest| digest == serves) {
                Some(place) => kept.get(place + 1),
                None => kept.first(),
            },
            (None, None) => kept.first(),
        };
        found.cloned().ok_or_else(|| SwapError::NoGeneration {
            module: module.to_owned(),
            to: to.map(str::to_owned),
            kept: kept.iter().map(|digest| short(digest).to_owned()).collect(),
        })
    }
}
