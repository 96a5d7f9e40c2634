//! Verifies the tokens of clients without holding up a worker.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Auth, TOKEN_ERROR, TokenError};
use crate::blocking::run_blocking;
use crate::call::time::now;
use crate::hub::Claims;

/// The tokens that are verified at the same time outside the workers, for each of these processors.
/// A flood of tokens leaves the other processors to the workers.
const PROCESSORS: usize = 4;

/// Verifies tokens. Those that take long are verified by other threads than the workers: a client
/// costs a worker no more than a message, also if its tokens are bad.
pub struct Verifier {
    auth: Arc<Auth>,
    /// In the order in which clients have shown their tokens.
    places: Semaphore,
}

impl Verifier {
    pub fn new(auth: Arc<Auth>) -> Verifier {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Verifier { auth, places: Semaphore::new((processors / PROCESSORS).max(1)) }
    }

    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Verifies a token: `None` for a value that is not a text. A token waits for the earlier ones.
    /// If nobody wants it any more then, it is not verified.
    pub async fn verify(&self, token: Option<String>, is_wanted: impl Fn() -> bool) -> Result<Claims, TokenError> {
        if !self.auth.is_slow() {
            return self.auth.verify(token.as_deref(), now());
        }
        let unverified =
            || TokenError { is_bad: false, ..TokenError::bad(TOKEN_ERROR, "the server has not verified the token") };
        // The semaphore is never closed.
        let _place = self.places.acquire().await.map_err(|_| unverified())?;
        if !is_wanted() {
            return Err(unverified());
        }
        let auth = self.auth.clone();
        run_blocking(move || auth.verify(token.as_deref(), now())).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::config::TokenAlgorithm::{ES256, HS256};
    use crate::triggers::websocket::auth::KeyText;

    fn verifier(algorithm: crate::config::TokenAlgorithm, text: &str) -> Verifier {
        let auth = Auth::new(Some(KeyText { algorithm, text }), &[], Duration::from_secs(60));
        Verifier::new(Arc::new(auth.unwrap_or_else(|(_, why)| panic!("{why}"))))
    }

    #[tokio::test]
    async fn a_token_that_takes_long_is_verified_outside_the_worker() {
        let (fast, slow) = (verifier(HS256, "kkkkkkkkkkkkkkkk"), verifier(ES256, include_str!("tests/ec.pem")));
        for (verifier, is_at_once) in [(fast, true), (slow, false)] {
            let (token, claims) = verifier.auth().sign("{}", None, now()).unwrap();
            // Outside the worker, a token waits for a place.
            let places = u32::try_from(verifier.places.available_permits()).unwrap();
            let running = verifier.places.acquire_many(places).await.unwrap();
            let mut verified = Box::pin(verifier.verify(Some(token), || true));
            let first = verified.as_mut().now_or_never();
            assert_eq!(first.is_some(), is_at_once);
            drop(running);
            assert_eq!(
                match first {
                    Some(first) => first,
                    None => verified.await,
                },
                Ok(claims)
            );
        }
    }

    #[tokio::test]
    async fn tokens_wait_in_their_order_and_those_of_clients_that_have_left_are_not_verified() {
        let verifier = verifier(ES256, include_str!("tests/ec.pem"));
        let (token, claims) = verifier.auth().sign("{}", None, now()).unwrap();
        let places = verifier.places.available_permits();
        let running = verifier.places.acquire_many(u32::try_from(places).unwrap()).await.unwrap();
        let is_here = AtomicBool::new(true);
        let mut left = Box::pin(verifier.verify(Some(token.clone()), || is_here.load(Relaxed)));
        let mut stays = Box::pin(verifier.verify(Some(token), || true));
        assert!(left.as_mut().now_or_never().is_none() && stays.as_mut().now_or_never().is_none());
        is_here.store(false, Relaxed);
        drop(running);
        assert_eq!(left.await.map_err(|error| error.is_bad), Err(false));
        assert_eq!(stays.await, Ok(claims));
        assert_eq!(verifier.places.available_permits(), places);
    }
}
