//! `/v2/_catalog`: the repositories, page by page.

use serde_json::json;

use super::errors::Answer;
use super::{App, Asked, set_next};
use crate::fs::Fs;
use crate::oci::Name;

/// GET and HEAD.
pub async fn get<F: Fs>(app: &App<F>, asked: &mut Asked) -> Answer {
    let mut page = asked.page()?;
    let most = app.options.catalog_entries;
    page.n = Some(page.n.unwrap_or(most).min(most));
    let (registry, wanted) = (app.registry.clone(), page.clone());
    let listing = app.call(async move { registry.catalog(&wanted).await }).await?;
    let mut response = super::json("application/json", &json!({ "repositories": listing.items }));
    let last = listing.items.last().filter(|_| listing.more);
    set_next(&mut response, &app.url(&asked.parts.headers, "/v2/_catalog"), &page, last.map(Name::as_str));
    Ok(response)
}
