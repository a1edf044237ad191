//! JSON as a model file may have it: no name twice in an object, no more than so many levels.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// What is asked for of a JSON value.
#[derive(Debug)]
pub(super) enum Value {
    /// A whole number from 0 on.
    Count(u64),
    Text(String),
    List(Vec<Value>),
    Object(Object),
    /// Anything else.
    Other,
}

pub(super) type Object = BTreeMap<String, Value>;

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A list of `N` whole numbers from 0 on.
    pub(super) fn counts<const N: usize>(&self) -> Option<[u64; N]> {
        let Self::List(items) = self else { return None };
        let count = |item: &Value| if let Self::Count(count) = item { Some(*count) } else { None };
        items.iter().map(count).collect::<Option<Vec<u64>>>()?.try_into().ok()
    }
}

/// The JSON object that is all of `text`; None for anything else.
pub(super) fn object(text: &str, levels: usize) -> Option<Object> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Levels(levels).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    if let Value::Object(object) = value { Some(object) } else { None }
}

/// Reads a value of so many levels at most.
#[derive(Clone, Copy)]
struct Levels(usize);

impl Levels {
    fn within<E: de::Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("too many levels"))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other) // the reader gives what is not negative as u64
    }
    fn visit_u64<E>(self, count: u64) -> Result<Value, E> {
        Ok(Value::Count(count))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let within = self.within()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(within)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let within = self.within()?;
        let mut object = Object::new();
        while let Some(name) = entries.next_key::<String>()? {
            if object.insert(name, entries.next_value_seed(within)?).is_some() {
                return Err(de::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}
