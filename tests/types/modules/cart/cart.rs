use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Target;

#[path = "../_types/fanfare_types.rs"]
mod fanfare_types;

use fanfare_types::shop::{
    self, GetByCurrencyQuery, InnerRatesTakes, InnerRatesTakesType, QuoteTakes, QuoteTakesLine,
};

#[handler]
async fn total() -> Result<String> {
    let takes = InnerRatesTakes {
        currencies: vec!["EUR".to_owned()],
        most_recent: Some(true),
        type_: Some(InnerRatesTakesType::Buy),
        limit: None,
    };
    let found = shop::inner_rates(&takes).await?;
    let count = found.rates.len() as i64 + found.at;
    let name: Option<String> = found.source.and_then(|source| source.name);
    let query = GetByCurrencyQuery {
        day: "mo & tu".to_owned(),
        limit: Some(3),
        exact: Some(true),
        kind: None,
    };
    let at = rpc::to(Target::Worker(0)).timeout(Duration::from_secs(5));
    let rate: f64 = shop::get_by_currency_at(at, "a/b", &query, ()).await?;
    let part = QuoteTakesLine { price: 2.0, parts: None };
    let line = QuoteTakesLine { price: 1.0, parts: Some(vec![part]) };
    let line = shop::quote(&QuoteTakes { lines: vec![line], any: Some(json!(1)) }).await?;
    let next: Option<String> = line.next.map(|next| next.name);
    let reply: Reply = shop::class("text").await?;
    let word: Option<String> = shop::word(&"w".to_owned()).await?;
    let receipt = shop::broadcasts::rate_changed::emit(&"EUR".to_owned())?;
    let timeout = Duration::from_secs(5);
    let options = |broadcast: broadcast::Emit| broadcast.timeout(timeout);
    let heard = shop::broadcasts::rate_changed::gather_with(options, &"EUR".to_owned()).await?;
    let heard: Vec<bool> = heard.into_iter().map(|(_, value)| value).collect::<Result<_, CallError>>()?;
    let heard: Vec<String> = heard.iter().map(bool::to_string).collect();
    let (name, next) = (name.unwrap_or_default(), next.unwrap_or_default());
    let (any, word, accepted) = (reply.text(), word.unwrap_or_default(), receipt.accepted);
    Ok(format!("{count} {name} {rate} {next} {any} {word} {accepted} {}", heard.join(",")))
}

fanfare_sdk::module!(total);
