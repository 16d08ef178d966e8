//! Bearer tokens: JSON web tokens that an authorization server signed, and the challenge that sends clients there.
//!
//! A token counts when a trusted key signed it by an allowed algorithm, it comes from the issuer, is for this service,
//! and now lies between its `nbf` and its `exp`, give or take the leeway. What it grants is its `access` claim. The
//! signature is checked before anything in the token is believed. Keys and certificates are read at start alone.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::{HeaderMap, header::HOST};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::access::{Access, Granted, scopes};
use super::file::{FileError, read_file};
use super::keys::KeyRing;
use super::{Actor, Grant, Refusal, header};
use crate::env::clock::Clock;
use crate::http::MayPull;

/// How far the clocks of the two servers may be apart: as in distribution.
pub const DEFAULT_LEEWAY_SECONDS: u64 = 60;
/// Largest file of keys or certificates that is read.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// The algorithms that can be verified, all of them allowed unless the options name some.
pub const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("EdDSA", Algorithm::EdDSA),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
];

/// Which tokens count, and where clients get them.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// The authorization server's address, told in the challenge.
    pub realm: String,
    /// This registry's name: told in the challenge, and what a token's `aud` must hold.
    pub service: String,
    /// What a token's `iss` must be.
    pub issuer: String,
    /// Certificates (PEM) whose keys are trusted, and which chains may lead to.
    pub root_cert_bundle: Option<PathBuf>,
    /// Keys (JWKS) that are trusted.
    pub jwks: Option<PathBuf>,
    /// The algorithms that are allowed, of [`ALGORITHMS`]; none means all.
    pub signing_algorithms: Vec<String>,
    /// Seconds by which `exp` and `nbf` may be missed.
    pub leeway_seconds: u64,
    /// Send clients to this path on the host that they asked, instead of to `realm`.
    pub auto_redirect_path: Option<String>,
}

/// Why no token can be verified.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file of keys that cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Neither file holds a key.
    #[error("token authentication needs a key: give rootcertbundle or jwks a file that holds one")]
    NoKey,
    /// An algorithm that cannot be verified.
    #[error("signing algorithm {0:?} is not supported; known are {known}", known = ALGORITHMS.map(|a| a.0).join(", "))]
    Algorithm(String),
}

/// Why a token does not count, in words that may be told to whoever sent it.
type Bad = &'static str;

/// Verifies tokens.
pub struct Token {
    options: TokenOptions,
    algorithms: Vec<Algorithm>,
    keys: KeyRing,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audience,
    /// Seconds since 1970, fractions allowed.
    #[serde(default)]
    exp: f64,
    #[serde(default)]
    nbf: f64,
    #[serde(default)]
    access: Granted,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
    #[default]
    Nobody,
}

impl Token {
    /// Reads the keys.
    pub fn new(options: TokenOptions, clock: Arc<dyn Clock>) -> Result<Self, TokenError> {
        let mut keys = KeyRing::default();
        let mut read = |path: &Option<PathBuf>, add: fn(&mut KeyRing, &[u8]) -> Result<(), String>| {
            let Some(path) = path else { return Ok(()) };
            let content = read_file(path, MAX_FILE_BYTES)?;
            add(&mut keys, &content).map_err(|detail| FileError { path: path.clone(), detail })
        };
        read(&options.root_cert_bundle, KeyRing::add_bundle)?;
        read(&options.jwks, KeyRing::add_jwks)?;
        if keys.is_empty() {
            return Err(TokenError::NoKey);
        }
        let find = |name: &String| {
            let known = ALGORITHMS.iter().find(|(known, _)| known == name);
            known.map(|(_, algorithm)| *algorithm).ok_or_else(|| TokenError::Algorithm(name.clone()))
        };
        let mut algorithms = options.signing_algorithms.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            algorithms = ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec();
        }
        Ok(Self { options, algorithms, keys, clock })
    }

    pub(super) fn authorize(&self, headers: &HeaderMap, needed: &[Access]) -> Result<Grant, Refusal> {
        let refuse = |error: Option<&str>, reason| Err(self.refusal(headers, needed, error, reason));
        let Some(token) = header::bearer(headers) else { return refuse(None, "a token is required") };
        match self.verify(token) {
            Err(bad) => refuse(Some("invalid_token"), bad),
            Ok(Claims { sub, access, .. }) if needed.iter().all(|needed| access.allows(needed)) => {
                let may_pull = MayPull(Arc::new(move |name| access.allows(&Access::repository(name.as_str(), "pull"))));
                Ok(Grant { actor: Actor(sub), may_pull: Some(may_pull) })
            }
            Ok(_) => refuse(Some("insufficient_scope"), "the token does not grant this access"),
        }
    }

    fn verify(&self, token: &str) -> Result<Claims, Bad> {
        const MALFORMED: Bad = "the token is malformed";
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| MALFORMED);
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (_, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| MALFORMED)?;
        let (claims, signature) = (decode(claims)?, decode(signature)?);
        // An extension that must be understood is not.
        if header.crit.is_some() || !self.algorithms.contains(&header.alg) {
            return Err("the token is of a kind that is not accepted");
        }
        let now = self.clock.now();
        let key = self.keys.find(&header, now).ok_or("the token is signed by a key that is not trusted")?;
        if !key.verifies(header.alg, signed.as_bytes(), &signature) {
            return Err("the token's signature is wrong");
        }
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| MALFORMED)?;
        let (now, leeway) = (now.0 as f64, self.options.leeway_seconds as f64);
        let for_us = match &claims.aud {
            Audience::One(one) => *one == self.options.service,
            Audience::Several(several) => several.contains(&self.options.service),
            Audience::Nobody => false,
        };
        match () {
            () if claims.iss != self.options.issuer => Err("the token is from another issuer"),
            () if !for_us => Err("the token is for another service"),
            () if now > claims.exp + leeway => Err("the token has expired"),
            () if now < claims.nbf - leeway => Err("the token is not valid yet"),
            () => Ok(claims),
        }
    }

    fn refusal(&self, headers: &HeaderMap, needed: &[Access], error: Option<&str>, reason: Bad) -> Refusal {
        let realm = self.realm(headers);
        let mut parameters = vec![("realm", realm.as_str()), ("service", &self.options.service)];
        let scope = scopes(needed);
        if !scope.is_empty() {
            parameters.push(("scope", &scope));
        }
        if let Some(error) = error {
            parameters.extend([("error", error), ("error_description", reason)]);
        }
        Refusal::Challenge { www_authenticate: header::challenge("Bearer", &parameters), reason }
    }

    fn realm(&self, headers: &HeaderMap) -> String {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match (&self.options.auto_redirect_path, text(HOST.as_str())) {
            (Some(path), Some(host)) => {
                let scheme = text("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https"));
                format!("{}://{host}{path}", scheme.unwrap_or("https"))
            }
            _ => self.options.realm.clone(),
        }
    }
}
