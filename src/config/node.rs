//! YAML as it was written: a tree whose scalars keep their text, so that the type that is wanted decides what `0123`
//! or `yes` means, and no password goes through a number.
//!
//! Aliases and merge keys (`<<`) are resolved here. Tags other than `!!str` mean nothing. Not for writing YAML.

use std::collections::BTreeMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle};

use super::Error;

/// Longest configuration that is read, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Deepest nesting of lists and maps.
const MAX_DEPTH_LEVELS: usize = 32;
/// Most nodes, copies made by aliases counted: a small text can describe a huge tree.
const MAX_NODES: usize = 100_000;

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) value: Value,
    /// The environment variable that it comes from; otherwise it comes from the file.
    pub(super) variable: Option<Arc<str>>,
}

/// What a node holds. Maps keep the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Value {
    #[default]
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The entry `key` of a map.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|(k, _)| k == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Sets the entry `key`; what is no map becomes one.
    pub(super) fn set(&mut self, key: &str, node: Node) -> &mut Node {
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut self.value else { unreachable!("it was just made a map") };
        let at = entries.iter().position(|(k, _)| k == key).unwrap_or_else(|| {
            entries.push((key.to_owned(), Node::default()));
            entries.len() - 1
        });
        entries[at].1 = node;
        &mut entries[at].1
    }

    fn from(value: Value, variable: Option<&Arc<str>>) -> Self {
        Self { value, variable: variable.cloned() }
    }
}

/// Parses one document; an empty one is null. `variable` is where the text comes from, if not from the file.
pub(super) fn parse(text: &str, variable: Option<&Arc<str>>) -> Result<Node, Error> {
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(Error::plain(format!("{} bytes, more than the limit of {MAX_CONFIG_BYTES}", text.len())));
    }
    let mut builder =
        Builder { variable, open: Vec::new(), anchors: BTreeMap::new(), document: None, documents: 0, nodes: 0 };
    for event in Parser::new_from_str(text) {
        // The message quotes no value: it may be a secret.
        let (event, span) = event.map_err(|e| {
            let at = e.marker();
            Error::plain(format!("line {}, column {}: {}", at.line(), at.col() + 1, e.info()))
        })?;
        let line = span.start.line();
        builder.event(event).map_err(|what| Error::plain(format!("line {line}: {what}")))?;
    }
    Ok(builder.document.unwrap_or_default())
}

/// A list or a map whose end has not come yet.
struct Open {
    value: Value,
    /// The key that waits for its value.
    key: Option<String>,
    anchor: usize,
}

struct Builder<'a> {
    variable: Option<&'a Arc<str>>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    document: Option<Node>,
    documents: usize,
    nodes: usize,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err("a second document begins: a configuration is one".to_owned());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|t| t.is_yaml_core_schema_tag("str"));
                let is_null = !is_text && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if is_null { Value::Null } else { Value::Scalar(text.into_owned()) };
                return self.put(Node::from(value, self.variable), anchor);
            }
            Event::SequenceStart(_, anchor, _) => return self.begin(Value::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => return self.begin(Value::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { mut value, anchor, .. } = self.open.pop().ok_or("an end without a beginning")?;
                merge(&mut value)?;
                return self.put(Node::from(value, self.variable), anchor);
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or("an alias inside of what it stands for")?;
                self.count(size(&node))?;
                return self.put(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, value: Value, anchor: usize) -> Result<(), String> {
        if self.open.len() == MAX_DEPTH_LEVELS {
            return Err(format!("nested deeper than {MAX_DEPTH_LEVELS} levels"));
        }
        self.open.push(Open { value, key: None, anchor });
        Ok(())
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES { Err(format!("more than {MAX_NODES} values")) } else { Ok(()) }
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.count(1)?;
        if anchor != 0 {
            self.count(size(&node))?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(Open { value, key, .. }) = self.open.last_mut() else {
            self.document = Some(node);
            return Ok(());
        };
        match (value, key.take()) {
            (Value::List(list), _) => list.push(node),
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::Map(entries), None) => match node.value {
                Value::Scalar(text) if text != "<<" && entries.iter().any(|(k, _)| *k == text) => {
                    return Err(format!("the key {text:?} is given twice"));
                }
                Value::Scalar(text) => *key = Some(text),
                _ => return Err("a key must be plain text".to_owned()),
            },
            _ => return Err("a value in a value".to_owned()),
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(list) => list.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, node)| size(node)).sum(),
        _ => 0,
    }
}

/// Resolves `<<`: what the map does not say itself is taken from the maps named there, the first that says it.
fn merge(value: &mut Value) -> Result<(), String> {
    let Value::Map(entries) = value else { return Ok(()) };
    while let Some(at) = entries.iter().position(|(key, _)| key == "<<") {
        let sources = match entries.remove(at).1 {
            Node { value: Value::List(list), .. } => list,
            node => vec![node],
        };
        for source in sources {
            let Value::Map(source) = source.value else { return Err("<< must name a map".to_owned()) };
            for (key, node) in source {
                if entries.iter().all(|(k, _)| *k != key) {
                    entries.push((key, node));
                }
            }
        }
    }
    Ok(())
}
