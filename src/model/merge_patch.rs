//! JSON Merge Patch (RFC 7396) on text: what a patch does not name stays as it was written.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What `target` becomes by `patch`. Both are JSON objects nested to a bounded depth.
pub(super) fn merge(target: &RawValue, patch: &RawValue) -> String {
    // What is no object is replaced as a whole, be it by one or not.
    let Ok(Members(patches)) = serde_json::from_str(patch.get()) else {
        return patch.get().to_owned();
    };
    let Members(mut members) = serde_json::from_str(target.get()).unwrap_or_default();
    for (name, patch) in patches.into_iter().filter_map(|(name, patch)| Some((name, patch?))) {
        if patch.get() == "null" {
            members.entry(name).and_modify(|stored| *stored = None);
            continue;
        }
        let stored = members.get(&name).and_then(Option::as_deref);
        let merged = merge(stored.unwrap_or(RawValue::NULL), &patch);
        members.insert(name, RawValue::from_string(merged).ok());
    }
    written(&members)
}

fn written(members: &IndexMap<String, Option<Box<RawValue>>>) -> String {
    let mut text = String::from("{");
    for (name, value) in members.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        if text.len() > 1 {
            text.push(',');
        }
        // A string always has a JSON text.
        text.push_str(&serde_json::to_string(name).unwrap_or_default());
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    text
}

/// The members of an object in their order, `None` once removed; of those with one name, the value
/// of the last.
#[derive(Default)]
struct Members(IndexMap<String, Option<Box<RawValue>>>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = IndexMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            members.insert(name, Some(value));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    /// The pseudo code of RFC 7396, section 2.
    fn reference(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut target = match target {
            Value::Object(target) => target,
            _ => Map::new(),
        };
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let merged = reference(target.remove(name).unwrap_or(Value::Null), value);
                target.insert(name.clone(), merged);
            }
        }
        Value::Object(target)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\"\\\\\u{e9}]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                1 => proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                3 => object(inner),
            ]
        })
    }

    fn object(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        let members = proptest::collection::btree_map("[a-c\"]{1,2}", values, 0..4);
        members.prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn it_does_what_the_rfc_says(target in object(value()), patch in object(value())) {
            let merged = merge(&raw(&target.to_string()), &raw(&patch.to_string()));

            let merged: Value = serde_json::from_str(&merged).unwrap();
            prop_assert_eq!(merged, reference(target, &patch));
        }
    }

    /// RFC 7396, appendix A.
    #[test]
    fn the_examples_of_the_rfc() {
        for (target, patch, merged) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let text = merge(&raw(&target.to_string()), &raw(&patch.to_string()));
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), merged, "{target} {patch}");
        }
    }

    #[test]
    fn what_is_not_patched_keeps_its_order_and_its_bytes() {
        let target = raw(r#"{ "b": 1.0e2, "a": { "x" : 1 ,"y":2}, "c": [ 1 ] }"#);

        let merged = merge(&target, &raw(r#"{"a":{"y":null,"z":1E1},"d":0.10}"#));

        assert_eq!(merged, r#"{"b":1.0e2,"a":{"x":1,"z":1E1},"c":[ 1 ],"d":0.10}"#);
    }

    #[test]
    fn of_members_with_one_name_the_last_counts() {
        let twice = raw(r#"{"a":1,"b":2,"\u0061":3}"#);

        assert_eq!(merge(&twice, &raw("{}")), r#"{"a":3,"b":2}"#);
        assert_eq!(merge(&raw("{}"), &twice), r#"{"a":3,"b":2}"#);
        assert_eq!(merge(&twice, &raw(r#"{"\u0061":null}"#)), r#"{"b":2}"#);
    }
}
