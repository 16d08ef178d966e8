//! From the tree to the typed configuration: a serde deserializer in which the wanted type decides what text means,
//! every error names its key, and a key that nobody knows is an error with a near match.
//!
//! What an environment variable sets in a section that has no such key is ignored with a warning, as distribution
//! does: the variables that Kubernetes makes for a service called `registry` look like that. In `storage` and `auth`
//! it is an error, as it is there.

use std::cell::RefCell;

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{self, IntoDeserializer, Visitor};

use super::Error;
use super::node::{Node, Value};

/// How alike two names must be for one to be suggested for the other (Jaro-Winkler, 1 is equal).
const MIN_LIKENESS: f64 = 0.8;

/// Reads `node` as a `T`; says in `warnings` what it ignored.
pub(super) fn read<T: de::DeserializeOwned>(node: Node, warnings: &RefCell<Vec<String>>) -> Result<T, Error> {
    T::deserialize(Reader { node, path: String::new(), warnings })
}

/// The name in `known` that `name` may have been meant to be.
pub(super) fn near_match<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_lowercase().replace(['-', '_'], "");
    let likeness = |k: &str| strsim::jaro_winkler(&name, k);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= MIN_LIKENESS).then_some(best)
}

/// A node, and where it is.
struct Reader<'w> {
    node: Node,
    path: String,
    warnings: &'w RefCell<Vec<String>>,
}

impl<'w> Reader<'w> {
    fn below(&self, key: &str, node: Node) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { node, path, warnings: self.warnings }
    }

    /// Runs `read` on the value; an error that does not know its key gets this one.
    fn placed<T>(mut self, read: impl FnOnce(&Self, Value) -> Result<T, Error>) -> Result<T, Error> {
        let value = std::mem::take(&mut self.node.value);
        read(&self, value).map_err(|e| e.at(&self.path, self.node.variable.as_ref()))
    }

    /// The entries of a map whose keys must be among `known` (if there are any).
    fn entries(&self, value: Value, known: Option<&[&'static str]>) -> Result<Vec<(String, Self)>, Error> {
        let entries = match value {
            Value::Null => Vec::new(),
            Value::Map(entries) => entries,
            _ => return Err(Error::plain("must hold further keys, not a value or a list")),
        };
        let mut kept = Vec::new();
        for (key, node) in entries {
            let reader = self.below(&key, node);
            match known {
                Some(known) if !known.contains(&&*key) => reader.unknown(&key, known)?,
                _ => kept.push((key, reader)),
            }
        }
        Ok(kept)
    }

    fn unknown(self, key: &str, known: &[&'static str]) -> Result<(), Error> {
        let strict = ["storage.", "auth."].iter().any(|section| self.path.starts_with(section));
        match &self.node.variable {
            Some(variable) if !strict => {
                self.warnings.borrow_mut().push(format!("{variable} is ignored: there is no key {}", self.path));
                Ok(())
            }
            variable => {
                let help = match near_match(key, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                Err(Error { variable: variable.clone(), ..Error::of(&self.path, "there is no such key") }.help(help))
            }
        }
    }
}

impl<'de> IntoDeserializer<'de, Error> for Reader<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Some(false),
        _ => None,
    }
}

/// The methods for numbers: all of them read decimal text.
macro_rules! numbers {
    ($($method:ident => $visit:ident: $type:ty),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.placed(|_, value| match &value {
                Value::Scalar(text) => match text.parse::<$type>() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => Err(Error::plain(format!("{text:?} is not a whole number in its range"))),
                },
                _ => Err(Error::plain("must be a whole number")),
            })
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Scalar(_) => self.deserialize_string(visitor),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(|_, value| match &value {
            Value::Null => visitor.visit_bool(false),
            Value::Scalar(text) => match boolean(text) {
                Some(value) => visitor.visit_bool(value),
                None => Err(Error::plain(format!("{text:?} must be true or false"))),
            },
            _ => Err(Error::plain("must be true or false")),
        })
    }

    numbers!(
        deserialize_i8 => visit_i8: i8, deserialize_i16 => visit_i16: i16, deserialize_i32 => visit_i32: i32,
        deserialize_i64 => visit_i64: i64, deserialize_u8 => visit_u8: u8, deserialize_u16 => visit_u16: u16,
        deserialize_u32 => visit_u32: u32, deserialize_u64 => visit_u64: u64, deserialize_f32 => visit_f32: f32,
        deserialize_f64 => visit_f64: f64,
    );

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(|_, value| match value {
            Value::Null => visitor.visit_string(String::new()),
            Value::Scalar(text) => visitor.visit_string(text),
            _ => Err(Error::plain("must be text, not a list or a map")),
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(|this, value| {
            let list = match value {
                Value::Null => Vec::new(),
                Value::List(list) => list,
                _ => return Err(Error::plain("must be a list, as in [one, two]")),
            };
            let items = list.into_iter().enumerate().map(|(i, node)| Reader {
                node,
                path: format!("{}[{i}]", this.path),
                warnings: this.warnings,
            });
            visitor.visit_seq(SeqDeserializer::new(items))
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.placed(|this, value| visitor.visit_map(MapDeserializer::new(this.entries(value, None)?.into_iter())))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.placed(|this, value| {
            let entries = this.entries(value, Some(fields))?;
            visitor.visit_map(MapDeserializer::new(entries.into_iter()))
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let known = variants.join(", ");
        self.placed(|_, value| match value {
            Value::Scalar(text) if variants.contains(&&*text.to_lowercase()) => {
                let name: StringDeserializer<Error> = text.to_lowercase().into_deserializer();
                visitor.visit_enum(name)
            }
            Value::Scalar(text) => Err(Error::plain(format!("{text:?} is not known here, it must be one of: {known}"))),
            _ => Err(Error::plain(format!("must be one of: {known}"))),
        })
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }
}
