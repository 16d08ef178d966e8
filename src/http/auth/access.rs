//! What a request needs, and what a token grants.
//!
//! A resource has a type and a name, and an action is done to it. A scope is the words for some actions on one
//! resource: `repository:lib/app:pull,push`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One action on one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Access {
    /// `repository` or `registry`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// The repository's name, or `catalog`.
    pub name: String,
    /// `pull`, `push`, `delete`, or `*`.
    pub action: &'static str,
}

impl Access {
    /// An action on a repository.
    pub fn repository(name: &str, action: &'static str) -> Self {
        Self { kind: "repository", name: name.to_owned(), action }
    }

    /// To list the repositories.
    pub fn catalog() -> Self {
        Self { kind: "registry", name: "catalog".to_owned(), action: "*" }
    }

    /// The scope of this one action.
    pub fn scope(&self) -> String {
        format!("{}:{}:{}", self.kind, self.name, self.action)
    }
}

/// The scopes of all of `needed`, one a resource, in their order.
///
/// ```
/// use pullplug::http::auth::access::{Access, scopes};
/// let needed = [Access::repository("a/b", "pull"), Access::repository("a/b", "push"), Access::repository("c", "pull")];
/// assert_eq!(scopes(&needed), "repository:a/b:pull,push repository:c:pull");
/// ```
pub fn scopes(needed: &[Access]) -> String {
    let mut scopes: Vec<String> = Vec::new();
    for (i, access) in needed.iter().enumerate() {
        match needed[..i].last() {
            Some(before) if (before.kind, &before.name) == (access.kind, &access.name) => {
                if let Some(scope) = scopes.last_mut() {
                    scope.push(',');
                    scope.push_str(access.action);
                }
            }
            _ => scopes.push(access.scope()),
        }
    }
    scopes.join(" ")
}

/// One entry of a token's `access` claim.
#[derive(Debug, Clone, Deserialize)]
struct Grant {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    actions: Option<Vec<String>>,
}

/// What a token grants: actions by type and name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Option<Vec<Option<Grant>>>")]
pub struct Granted(BTreeMap<(String, String), BTreeSet<String>>);

impl From<Option<Vec<Option<Grant>>>> for Granted {
    fn from(grants: Option<Vec<Option<Grant>>>) -> Self {
        let mut granted = BTreeMap::<_, BTreeSet<String>>::new();
        for grant in grants.into_iter().flatten().flatten() {
            granted.entry((grant.kind, grant.name)).or_default().extend(grant.actions.unwrap_or_default());
        }
        Self(granted)
    }
}

impl Granted {
    /// Whether `access` is granted: its action or `*`, on just that resource.
    pub fn allows(&self, access: &Access) -> bool {
        let resource = (access.kind.to_owned(), access.name.clone());
        self.0.get(&resource).is_some_and(|actions| actions.contains(access.action) || actions.contains("*"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn granted(json: &str) -> Granted {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_a_claim_grants() {
        let claim = granted(
            r#"[{"type":"repository","class":"","name":"a/b","actions":["pull"]}, null, {"type":"repository","name":"c","actions":null},
               {"type":"repository","name":"a/b","actions":["push"]}, {"type":"repository","name":"all","actions":["*"]}]"#,
        );
        for (name, action, allowed) in [
            ("a/b", "pull", true),
            ("a/b", "push", true),
            ("a/b", "delete", false),
            ("a", "pull", false),
            ("a/b/c", "pull", false),
            ("c", "pull", false),
            ("all", "delete", true),
        ] {
            assert_eq!(claim.allows(&Access::repository(name, action)), allowed, "{name} {action}");
        }
        assert!(!claim.allows(&Access::catalog()));
        assert!(granted(r#"[{"type":"registry","name":"catalog","actions":["*"]}]"#).allows(&Access::catalog()));
        assert!(!granted("null").allows(&Access::catalog()));
    }

    proptest! {
        #[test]
        fn any_bytes_grant_nothing_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(claim) = serde_json::from_slice::<Granted>(&bytes) {
                prop_assert!(!claim.allows(&Access::repository("a", "pull")));
            }
        }

        #[test]
        fn a_grant_is_for_what_it_names(
            grants in prop::collection::vec(("[ab/*:]{0,3}", prop::collection::vec("pull|push|delete", 0..3)), 0..4),
            name in "[ab]{1,2}",
        ) {
            let json: Vec<_> = grants.iter()
                .map(|(name, actions)| serde_json::json!({"type": "repository", "name": name, "actions": actions})).collect();
            let claim: Granted = serde_json::from_value(json.into()).unwrap();
            for action in ["pull", "push", "delete"] {
                let expected = grants.iter().any(|(n, actions)| *n == name && actions.iter().any(|a| a == action));
                prop_assert_eq!(claim.allows(&Access::repository(&name, action)), expected);
            }
        }
    }
}
