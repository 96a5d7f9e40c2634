use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Target;

#[path = "../_types/fanfare_types.rs"]
mod fanfare_types;

use fanfare_types::shop::{
    self, InnerRatesTakes, InnerRatesTakesType, QuoteTakes, QuoteTakesLine,
};

#[handler]
async fn total() -> Result<Json<Value>> {
    let takes = InnerRatesTakes {
        currencies: vec!["EUR".to_owned()],
        most_recent: Some(true),
        type_: Some(InnerRatesTakesType::Buy),
        limit: None,
    };
    let found = shop::inner_rates(&takes).await?;
    let count = found.rates.values().sum::<f64>() + found.at as f64;
    let name: Option<String> = found.source.and_then(|source| source.name);
    let rate: f64 = shop::get_by_currency_at(rpc::to(Target::Worker(0)), "a/b", ()).await?;
    let part = QuoteTakesLine { price: 2.0, parts: None };
    let line = QuoteTakesLine { price: 1.0, parts: Some(vec![part]) };
    let line = shop::quote(&QuoteTakes { lines: vec![line], any: Some(json!(1)) }).await?;
    let next: Option<String> = line.next.map(|next| next.name);
    let reply: Reply = shop::class("text").await?;
    let word: Option<String> = shop::word(&"w".to_owned()).await?;
    let receipt = shop::broadcasts::rate_changed::emit(&"EUR".to_owned())?;
    let heard = shop::broadcasts::rate_changed::gather(&"EUR".to_owned()).await?;
    let heard: Vec<bool> = heard.into_iter().map(|(_, value)| value).collect::<Result<_, CallError>>()?;
    Ok(Json(json!([count, name, rate, next, reply.text(), word, receipt.accepted, heard])))
}

fanfare_sdk::module!(total);
