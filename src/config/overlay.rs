//! Environment overrides, with distribution's rules: `REGISTRY_A_B=value` sets the key `a.b`; the value is YAML.
//!
//! Variables are applied in the order of their names, so that `REGISTRY_STORAGE` comes before
//! `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`. A component in a list is an index, at most one past the end. Where Go's
//! field is not called as its key (`health.file` is `HEALTH_FILECHECKERS`), both names work. What cannot be a key is
//! ignored with a warning. One difference: distribution ignores overrides below a second level of maps that the file
//! holds (`storage.maintenance.uploadpurging.enabled`); here they work.

use std::sync::Arc;

use super::Error;
use super::node::{self, Node, Value};
use super::read::near_match;

const PREFIX: &str = "REGISTRY_";
/// Names the file; nothing in it.
pub const CONFIGURATION_PATH: &str = "REGISTRY_CONFIGURATION_PATH";

/// Names of Go's fields that are not those of the keys: section, name, key.
const FIELD_NAMES: [(&str, &str, &str); 4] = [
    ("notifications", "EVENTCONFIG", "events"),
    ("health", "FILECHECKERS", "file"),
    ("health", "HTTPCHECKERS", "http"),
    ("health", "TCPCHECKERS", "tcp"),
];

/// Applies the variables of `environment` that begin with `REGISTRY_`; returns warnings. `sections` are the keys that
/// there are at the top.
pub(super) fn apply(
    root: &mut Node,
    environment: &[(String, String)],
    sections: &[&str],
) -> Result<Vec<String>, Error> {
    let mut variables: Vec<_> = environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    let mut warnings = Vec::new();
    for (name, text) in variables {
        if name == CONFIGURATION_PATH {
            continue;
        }
        let path: Vec<&str> = name[PREFIX.len()..].split('_').collect();
        let section = path[0].to_lowercase();
        let ignored = if !sections.contains(&&*section) {
            let near = near_match(&section, sections).map(|near| format!("; did you mean {near}?"));
            Some(format!("there is no section {section}{}", near.unwrap_or_default()))
        } else if name.contains(|c: char| c.is_ascii_lowercase()) {
            Some("keys are in upper case here".to_owned())
        } else {
            let variable: Arc<str> = name.as_str().into();
            // What it holds may be a secret, and is not quoted.
            let value = node::parse(text, Some(&variable)).map_err(|e| Error::of(name, e.what));
            set(root, "", &path, value?).map_err(|what| Error::of(name, what))?
        };
        warnings.extend(ignored.map(|why| format!("{name} is ignored: {why}")));
    }
    Ok(warnings)
}

/// Sets what `path` leads to; or says why that is ignored.
fn set(node: &mut Node, section: &str, path: &[&str], value: Node) -> Result<Option<String>, String> {
    let Some((first, rest)) = path.split_first() else {
        *node = value;
        return Ok(None);
    };
    let is_index = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
    if node.value == Value::Null {
        node.value = if is_index { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
        node.variable.clone_from(&value.variable);
    }
    match &mut node.value {
        Value::Map(entries) => {
            let named = FIELD_NAMES.iter().find(|(of, name, _)| of == &section && name == first);
            let upper = named.map_or((*first).to_owned(), |(_, _, key)| key.to_uppercase());
            // A last component does not look for another spelling: it is the key itself.
            let known = entries.iter().find(|(key, _)| !rest.is_empty() && key.to_uppercase() == upper);
            let key = known.map_or_else(|| upper.to_lowercase(), |(key, _)| key.clone());
            if node.get_mut(&key).is_none() {
                let variable = value.variable.clone();
                node.set(&key, Node { value: Value::Null, variable });
            }
            let below = node.get_mut(&key).ok_or("a key that was just made is gone")?;
            set(below, &key, rest, value)
        }
        Value::List(list) => {
            let index: usize = first.parse().map_err(|_| format!("{first:?} must be the index of a list"))?;
            if index > list.len() {
                return Err(format!("the list has {} items, so there is no index {index}", list.len()));
            }
            if index == list.len() {
                list.push(Node { value: Value::Null, variable: value.variable.clone() });
            }
            set(&mut list[index], section, rest, value)
        }
        Value::Scalar(_) => Ok(Some(format!("{section} has a value, and nothing below it"))),
        Value::Null => Err("a node that was just made is gone".to_owned()),
    }
}
