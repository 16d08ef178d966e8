//! `/v2/NAME/referrers/DIGEST`: what refers to a manifest, as an index; an empty one where nothing does.

use http::HeaderName;
use serde_json::{Value, json};

use super::errors::Answer;
use super::{App, Asked, set};
use crate::fs::Fs;
use crate::oci::manifest::OCI_INDEX;
use crate::oci::{Digest, Name};
use crate::registry::Referrer;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// GET and HEAD.
pub async fn get<F: Fs>(app: &App<F>, asked: &mut Asked, repo: Name, subject: Digest) -> Answer {
    // Media types have pluses and no spaces, and not every client escapes the plus.
    let artifact_type = asked.query.get("artifactType").filter(|t| !t.is_empty()).map(|t| t.replace(' ', "+"));
    let (registry, filter) = (app.registry.clone(), artifact_type.clone());
    let found = app.call(async move { registry.referrers(&repo, &subject, filter.as_deref()).await }).await?;
    let manifests: Vec<Value> = found.into_iter().map(descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let mut response = super::json(OCI_INDEX, &index);
    if artifact_type.is_some() {
        set(&mut response, FILTERS_APPLIED, "artifactType");
    }
    Ok(response)
}

fn descriptor(referrer: Referrer) -> Value {
    let Referrer { digest, media_type, size, artifact_type, annotations } = referrer;
    let mut descriptor = json!({ "mediaType": media_type, "digest": digest, "size": size });
    if let Some(artifact_type) = artifact_type {
        descriptor["artifactType"] = artifact_type.into();
    }
    if !annotations.is_empty() {
        descriptor["annotations"] = json!(annotations);
    }
    descriptor
}
