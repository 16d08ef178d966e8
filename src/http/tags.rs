//! `/v2/NAME/tags/list`: the tags of a repository, page by page.

use serde_json::json;

use super::errors::Answer;
use super::{App, Asked, set_next};
use crate::fs::Fs;
use crate::oci::{Name, Tag};

/// GET and HEAD.
pub async fn get<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name) -> Answer {
    let page = asked.page()?;
    let (registry, name, wanted) = (app.registry.clone(), repo.clone(), page.clone());
    let listing = app.call(async move { registry.tags(&name, &wanted).await }).await?;
    let mut response = super::json("application/json", &json!({ "name": repo, "tags": listing.items }));
    let last = listing.items.last().filter(|_| listing.more);
    set_next(
        &mut response,
        &app.url(&asked.parts.headers, &format!("/v2/{repo}/tags/list")),
        &page,
        last.map(Tag::as_str),
    );
    Ok(response)
}
