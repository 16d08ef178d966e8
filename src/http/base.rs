//! `/v2/`: that this is a registry.

use axum::response::Response;

/// GET and HEAD.
pub fn get() -> Response {
    super::json("application/json", &serde_json::json!({}))
}
