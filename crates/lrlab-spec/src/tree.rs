//! The file as a tree with the places of all keys and values, and the arguments that change it.

use std::ops::Range;

use serde_json::{Number, Value as Json};
use toml::de::{DeTable, DeValue};

/// A byte range of a source; without a source, a built-in value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) source: Option<usize>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Place {
    pub(crate) const BUILT_IN: Self = Self { source: None, start: 0, end: 0 };

    pub(crate) fn in_file(start: usize, end: usize) -> Self {
        Self { source: Some(0), start, end }
    }

    fn new(source: usize, span: Range<usize>, offset: usize) -> Self {
        Self { source: Some(source), start: span.start + offset, end: span.end + offset }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// A key and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
}

/// The values of TOML, with tables in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Null, which only built-in values contain.
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
    /// A value that no key accepts, by its description.
    Other(&'static str),
}

impl Node {
    pub(crate) fn table(&self) -> &[(Key, Node)] {
        if let Value::Table(entries) = &self.value { entries } else { &[] }
    }

    pub(crate) fn list(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self.value {
            Value::Integer(n) => Some(n as f64),
            Value::Float(x) => Some(x),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, node)| node)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Value::Table(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|(known, _)| known.name == key).map(|(_, node)| node)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&(Key, Self)> {
        self.table().iter().find(|(k, _)| k.name == key)
    }

    /// The node at a dotted path.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| match key.parse::<usize>() {
            Ok(index) if matches!(node.value, Value::List(_)) => node.list().get(index),
            _ => node.get(key),
        })
    }

    /// The place of the deepest node along a dotted path, in which `[1]` is an item of a list.
    pub(crate) fn place_near(&self, path: &str) -> Place {
        let path = path.replace('[', ".").replace(']', "");
        let mut path = path.as_str();
        loop {
            match (self.at(path), path.rsplit_once('.')) {
                (Some(node), _) => return node.place,
                (None, Some((parent, _))) => path = parent,
                (None, None) => return self.place,
            }
        }
    }

    /// The kind of the value in words.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(name) => name,
        }
    }

    /// The value as JSON; null if JSON cannot represent it.
    pub(crate) fn json(&self) -> Json {
        match &self.value {
            Value::Null | Value::Other(_) => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Integer(n) => Json::from(*n),
            Value::Float(x) => Number::from_f64(*x).map_or(Json::Null, Json::Number),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Self::json).collect()),
            Value::Table(entries) => {
                Json::Object(entries.iter().map(|(key, node)| (key.name.clone(), node.json())).collect())
            }
        }
    }

    /// A built-in value.
    pub(crate) fn built_in(json: &Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => {
                n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or_default()), Value::Integer)
            }
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Self::built_in).collect()),
            Json::Object(entries) => Value::Table(
                entries
                    .iter()
                    .map(|(name, json)| {
                        (Key { name: name.clone(), place: Place::BUILT_IN }, Self::built_in(json))
                    })
                    .collect(),
            ),
        };
        Self { value, place: Place::BUILT_IN }
    }

    /// Sets `node` at `keys`, creating intermediate tables; `false` if an intermediate value is not a table. A key with dots,
    /// such as `"optimizer.momentum"`, and the path of its parts are the same.
    pub(crate) fn set(&mut self, keys: &[Key], node: Self) -> bool {
        let Some((mut key, mut rest)) = keys.split_first() else {
            *self = node;
            return true;
        };
        let known = |name: &str| self.table().iter().any(|(known, _)| known.name == name);
        let joined = |n: usize| {
            let name = keys[..n].iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(".");
            Key { name, place: key.place }
        };
        let whole;
        if let Some(n) = (2..=keys.len()).rev().find(|n| known(&joined(*n).name)) {
            whole = joined(n);
            (key, rest) = (&whole, &keys[n..]);
        } else if key.name.contains('.') && !known(&key.name) && self.at(&key.name).is_some() {
            let part = |name: &str| Key { name: name.to_owned(), place: key.place };
            let parts: Vec<Key> = key.name.split('.').map(part).chain(rest.iter().cloned()).collect();
            return self.set(&parts, node);
        }
        let child = match &mut self.value {
            Value::List(items) => key.name.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            Value::Table(entries) => {
                let index =
                    entries.iter().position(|(known, _)| known.name == key.name).unwrap_or_else(|| {
                        entries
                            .push((key.clone(), Self { value: Value::Table(Vec::new()), place: key.place }));
                        entries.len() - 1
                    });
                // An error in the argument refers to the argument's key.
                if rest.is_empty() {
                    entries[index].0.place = key.place;
                }
                Some(&mut entries[index].1)
            }
            _ => None,
        };
        child.is_some_and(|child| child.set(rest, node))
    }
}

/// An error of the parser.
pub(crate) type Complaint = (Place, String);

/// Reads a document; returns the readable part and all errors of the parser.
pub(crate) fn parse(text: &str, source: usize) -> (Node, Vec<Complaint>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let complaints = errors
        .iter()
        .map(|error| {
            let span = error.span().unwrap_or(0..0);
            (Place::new(source, span, 0), error.message().replace('\n', ", "))
        })
        .collect();
    let place = Place::new(source, 0..0, 0);
    (Node { value: convert_table(table.get_ref(), source, 0, 0), place }, complaints)
}

/// Splits `KEY=VALUE` at the first `=` outside quotes and reads the key as TOML and the value as TOML, or else as a bare
/// string. Places are shifted by `offset`.
pub(crate) fn parse_argument(
    argument: &str,
    source: usize,
    offset: usize,
) -> Result<(Vec<Key>, Node), String> {
    let found = argument.match_indices('=').find_map(|(at, _)| {
        let keys = parse_key(&argument[..at], source, offset)?;
        Some((keys, at + 1))
    });
    let Some((keys, at)) = found else {
        return Err(format!("`{argument}` is not KEY=VALUE"));
    };
    let (raw, offset) = (&argument[at..], at + offset);
    let node = match DeValue::parse(raw.trim_end()) {
        Ok(value) => convert(value.get_ref(), value.span(), source, offset, 0),
        Err(_) => Node {
            value: Value::Text(raw.trim().to_owned()),
            place: Place::new(source, 0..raw.len(), offset),
        },
    };
    Ok((keys, node))
}

fn parse_key(text: &str, source: usize, offset: usize) -> Option<Vec<Key>> {
    if text.contains(['\n', '#', '[', '{']) || text.split('.').count() > MOST_DEPTH {
        return None;
    }
    let document = format!("{text}=0");
    let table = DeTable::parse(&document).ok()?;
    let mut keys = Vec::new();
    let mut table = table.get_ref();
    loop {
        let (key, value) = table.iter().next()?;
        keys.push(Key { name: key.get_ref().to_string(), place: Place::new(source, key.span(), offset) });
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(keys),
        }
    }
}

/// The maximum nesting depth, which bounds the recursion.
const MOST_DEPTH: usize = 32;

fn convert(value: &DeValue<'_>, span: Range<usize>, source: usize, offset: usize, depth: usize) -> Node {
    let place = Place::new(source, span, offset);
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => {
            let digits = n.as_str().replace('_', "");
            i64::from_str_radix(&digits, n.radix())
                .map_or(Value::Other("an integer too large"), Value::Integer)
        }
        DeValue::Float(x) => {
            x.as_str().replace('_', "").parse().map_or(Value::Other("no number"), Value::Float)
        }
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(_) | DeValue::Table(_) if depth >= MOST_DEPTH => {
            Value::Other("a value nested too deeply")
        }
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| convert(item.get_ref(), item.span(), source, offset, depth + 1))
                .collect(),
        ),
        DeValue::Table(table) => convert_table(table, source, offset, depth),
    };
    Node { value, place }
}

fn convert_table(table: &DeTable<'_>, source: usize, offset: usize, depth: usize) -> Value {
    let mut entries: Vec<(Key, Node)> = table
        .iter()
        .map(|(key, value)| {
            let node = convert(value.get_ref(), value.span(), source, offset, depth + 1);
            let place = Place::new(source, key.span(), offset);
            (Key { name: key.get_ref().to_string(), place }, node)
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.place);
    Value::Table(entries)
}
