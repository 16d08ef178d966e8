//! Whoever sends any `Authorization` header gets in, as the user `silly`: for tests of clients, never for use.

use axum::http::{HeaderMap, header::AUTHORIZATION};

use super::{Access, Grant, Refusal, header};

/// What the challenge tells.
#[derive(Debug, Clone)]
pub struct Silly {
    /// Told in the challenge.
    pub realm: String,
    /// Told in the challenge.
    pub service: String,
}

impl Silly {
    pub(super) fn authorize(&self, headers: &HeaderMap, needed: &[Access]) -> Result<Grant, Refusal> {
        if headers.get(AUTHORIZATION).is_some_and(|value| !value.is_empty()) {
            return Ok(Grant::all("silly".to_owned()));
        }
        // One scope an action, as distribution's.
        let scope: Vec<String> = needed.iter().map(Access::scope).collect();
        let scope = scope.join(" ");
        let mut parameters = vec![("realm", self.realm.as_str()), ("service", &self.service)];
        if !scope.is_empty() {
            parameters.push(("scope", &scope));
        }
        let www_authenticate = header::challenge("Bearer", &parameters);
        Err(Refusal::Challenge { www_authenticate, reason: "credentials are required" })
    }
}
