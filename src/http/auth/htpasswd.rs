//! Users from an htpasswd file, bcrypt alone.
//!
//! - The file is read again for every request that has credentials and parsed when its bytes changed, so an edit holds
//!   from the next request on. While it cannot be read or parsed, nobody gets in.
//! - An entry of another kind than bcrypt (MD5, crypt, plain) lets nobody in; loading it logs the line's number.
//! - A user who is not there costs one bcrypt comparison, as costly as the costliest of the file.
//! - Comparisons run off the async threads, at most [`MAX_COMPARISONS`] at once. Credentials that held are remembered,
//!   at most [`MAX_REMEMBERED`], as a salted hash over them and the file's entry: a changed entry is compared anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::file::{FileError, read_file};
use super::{Grant, Refusal, header};
use crate::env::sync::hold;

/// How many bcrypt comparisons run at the same time.
pub const MAX_COMPARISONS: usize = 4;
/// How many credentials that held are remembered.
pub const MAX_REMEMBERED: usize = 1024;
/// Largest htpasswd file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// What an unknown user costs when the file is empty: bcrypt's usual cost.
const DEFAULT_COST: u32 = 10;

/// Where the users are.
#[derive(Clone)]
pub struct HtpasswdOptions {
    /// Told in the challenge.
    pub realm: String,
    /// The htpasswd file.
    pub path: PathBuf,
    /// Fresh random bytes for each process: what is remembered is hashed with them.
    pub salt: [u8; 32],
}

/// The users of an htpasswd file.
pub struct Htpasswd {
    options: HtpasswdOptions,
    /// The file as it was read last, and what it said.
    loaded: Mutex<(Vec<u8>, Arc<Entries>)>,
    remembered: Mutex<BTreeSet<[u8; 32]>>,
    comparisons: Semaphore,
}

/// What a file says: each user's hash, or none where it is not bcrypt's; and the highest cost.
#[derive(Debug, Default)]
struct Entries {
    hashes: BTreeMap<String, Option<String>>,
    max_cost: Option<u32>,
}

impl Htpasswd {
    /// Reads the file. Errors: [`FileError`] where it is not there or is not of the form `user:hash`.
    pub fn new(options: HtpasswdOptions) -> Result<Self, FileError> {
        let (remembered, comparisons) = (Mutex::default(), Semaphore::new(MAX_COMPARISONS));
        let new = Self { options, loaded: Mutex::default(), remembered, comparisons };
        new.load()?;
        Ok(new)
    }

    /// Who the request comes from. Users are not told apart: whoever is in the file may do everything.
    pub(super) async fn authorize(&self, headers: &HeaderMap) -> Result<Grant, Refusal> {
        let Some(given) = header::basic(headers) else { return Err(self.refusal("credentials are required")) };
        let entries = self.load().map_err(|e| Refusal::Unavailable(e.to_string()))?;
        let (hash, known) = match entries.hashes.get(&given.user) {
            Some(Some(hash)) => (hash.clone(), true),
            _ => (dummy_hash(entries.max_cost.unwrap_or(DEFAULT_COST)), false),
        };
        let key = self.key(&given, &hash);
        if !hold(&self.remembered).contains(&key) {
            if !(self.matches(given.password, hash).await? && known) {
                return Err(self.refusal("wrong user or password"));
            }
            let mut remembered = hold(&self.remembered);
            if remembered.len() >= MAX_REMEMBERED {
                remembered.pop_first();
            }
            remembered.insert(key);
        }
        Ok(Grant::all(given.user))
    }

    /// Compares on a thread that may take its time.
    #[expect(clippy::disallowed_methods, reason = "bcrypt takes a tenth of a second of work; no simulation runs it")]
    async fn matches(&self, password: Vec<u8>, hash: String) -> Result<bool, Refusal> {
        let unavailable =
            |e: &dyn std::fmt::Display| Refusal::Unavailable(format!("passwords cannot be compared: {e}"));
        let _permit = self.comparisons.acquire().await.map_err(|e| unavailable(&e))?;
        let compared = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false));
        compared.await.map_err(|e| unavailable(&e))
    }

    /// What stands for credentials in memory. Each part is preceded by its length: no two triples run together.
    fn key(&self, given: &header::Basic, hash: &str) -> [u8; 32] {
        let mut hasher = Sha256::new_with_prefix(self.options.salt);
        for part in [given.user.as_bytes(), &given.password, hash.as_bytes()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    fn load(&self) -> Result<Arc<Entries>, FileError> {
        let text = read_file(&self.options.path, MAX_FILE_BYTES)?;
        let mut loaded = hold(&self.loaded);
        if loaded.0 != text || text.is_empty() {
            let bad = |detail: String| FileError { path: self.options.path.clone(), detail };
            let entries = parse(&text).map_err(bad)?;
            for (user, _) in entries.hashes.iter().filter(|(_, hash)| hash.is_none()) {
                tracing::warn!(user, path = %self.options.path.display(), "not a bcrypt hash: this user cannot log in");
            }
            *loaded = (text, Arc::new(entries));
        }
        Ok(Arc::clone(&loaded.1))
    }

    fn refusal(&self, reason: &'static str) -> Refusal {
        Refusal::Challenge { www_authenticate: header::challenge("Basic", &[("realm", &self.options.realm)]), reason }
    }
}

/// `user:hash` by line; empty lines and lines that begin with `#` do not count. The last entry of a user holds.
fn parse(text: &[u8]) -> Result<Entries, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let mut entries = Entries::default();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (user, hash) = line.split_once(':').ok_or_else(|| format!("line {} is not user:hash", i + 1))?;
        let cost = hash.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost());
        entries.max_cost = entries.max_cost.max(cost);
        entries.hashes.insert(user.to_owned(), cost.map(|_| hash.to_owned()));
    }
    Ok(entries)
}

/// A hash that costs as much as a real one and that no password is known for; what it says is not believed anyway.
fn dummy_hash(cost: u32) -> String {
    format!("$2b${cost:02}${}", ".".repeat(53))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_user_costs_a_whole_comparison() {
        // A hash that bcrypt refused to parse would be answered at once, and tell who is there.
        for cost in [4, 5, DEFAULT_COST] {
            assert!(matches!(bcrypt::verify("password", &dummy_hash(cost)), Ok(false)));
            assert_eq!(dummy_hash(cost).parse::<bcrypt::HashParts>().unwrap().get_cost(), cost);
        }
        let costs = parse(format!("a:{}\nb:{}\nc:plain", dummy_hash(5), dummy_hash(4)).as_bytes()).unwrap();
        assert_eq!(costs.max_cost, Some(5), "as much as the costliest of the file");
    }
}
