//! The opinion of another module on a text, such as `scorer` (`sdk/python/examples/scorer`).

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Target;

/// How long a message waits. Those behind it in the room wait too.
const TIMEOUT: Duration = Duration::from_secs(1);

/// `config.spam` of the module.
#[derive(Deserialize)]
struct Config {
    /// The route that scores a text, such as `scorer/score`. Without it, no text is scored.
    route: Option<String>,
    /// A text with a higher score is refused.
    above: f64,
}

#[derive(Deserialize)]
struct Score {
    /// From 0 to 1.
    spam: f64,
}

/// Refuses a text that is spam. While the scorer does not answer, every text passes.
pub async fn refuse_spam(text: &str) -> Result<()> {
    let Some(Config { route: Some(route), above }) = config::get("/spam")? else { return Ok(()) };
    match score(&route, text).await {
        Ok(Score { spam }) if spam > above => {
            Err(Failure::new("spam", "this looks like spam: say it in other words").with_status(422))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            warn!("{route} did not score a text: {error}");
            Ok(())
        }
    }
}

async fn score(route: &str, text: &str) -> Result<Score> {
    Ok(rpc::to(Target::Any).timeout(TIMEOUT).call(route, text).await?.json()?)
}
