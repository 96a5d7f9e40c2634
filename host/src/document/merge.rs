//! Merges layers of values: objects merge, arrays and scalars replace, `null` removes.

use serde_json::{Map, Value as Json};

use super::tree::{Member, Node, Value};

/// Merges `over` into `base`. Below `modules.<name>.config` and `sse.headers` a `null` is kept,
/// because it removes a value of `module.json` or a header field later.
pub fn overlay(base: &mut Node, over: Node) {
    overlay_at(base, over, &mut Vec::new());
}

fn overlay_at(base: &mut Node, over: Node, path: &mut Vec<String>) {
    let Value::Object(members) = over.value else {
        *base = over;
        return;
    };
    if !matches!(base.value, Value::Object(_)) {
        *base = Node::object(&over.origin);
    }
    for Member { name, origin, node } in members {
        if node.is_null() && !keeps_nulls(path) {
            base.remove(&name);
            continue;
        }
        let Value::Object(present) = &mut base.value else { return };
        let index = present.iter().position(|member| member.name == name).unwrap_or_else(|| {
            present.push(Member { name: name.clone(), origin: origin.clone(), node: Node::object(&node.origin) });
            present.len() - 1
        });
        let Some(member) = present.get_mut(index) else { return };
        member.origin = origin;
        path.push(name);
        overlay_at(&mut member.node, node, path);
        path.pop();
    }
}

/// Whether the path is that of a module's `config` or below it, or that of `sse.headers`.
fn keeps_nulls(path: &[String]) -> bool {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        keys.as_slice(),
        ["modules", _, "config", ..] | ["modules", _, "subdomains", _, "config", ..] | ["sse", "headers"]
    )
}

/// Merges `over` into `base`, which are both values of a module's `config`. A `null` in `over`
/// removes the value, and none remains in the objects that come from `over`.
pub fn overlay_json(base: &mut Map<String, Json>, over: &Map<String, Json>) {
    for (name, value) in over {
        match value {
            Json::Null => {
                base.shift_remove(name);
            }
            Json::Object(members) => {
                let present = base.entry(name.clone()).or_insert_with(|| Json::Object(Map::new()));
                if !present.is_object() {
                    *present = Json::Object(Map::new());
                }
                if let Json::Object(present) = present {
                    overlay_json(present, members);
                }
            }
            other => {
                base.insert(name.clone(), other.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::fault::ValueOrigin;
    use serde_json::json;

    fn merged(base: Json, over: Json) -> Json {
        let mut base = Node::from_json(base, &ValueOrigin::Default);
        overlay(&mut base, Node::from_json(over, &ValueOrigin::Flag("--x".into())));
        base.to_json()
    }

    fn merged_json(base: Json, over: Json) -> Json {
        let mut base = base.as_object().cloned().unwrap();
        overlay_json(&mut base, over.as_object().unwrap());
        base.into()
    }

    #[test]
    fn objects_merge_arrays_and_scalars_replace_null_removes() {
        let base = json!({"a": {"b": 1, "c": 2}, "d": [1, 2], "e": 1, "f": {"g": 1}, "h": 2});
        let over = json!({"a": {"c": 3, "n": null}, "d": [3], "e": null, "f": 7, "h": {"i": {"j": null, "k": 1}}});
        let want = json!({"a": {"b": 1, "c": 3}, "d": [3], "f": 7, "h": {"i": {"k": 1}}});
        assert_eq!(merged(base.clone(), over.clone()), want);
        assert_eq!(merged_json(base, over), want);
    }

    #[test]
    fn a_null_in_a_modules_config_is_kept() {
        let base = json!({"modules": {"m": {"config": {"a": 1}, "limits": {"memory": 1}}}});
        let over = json!({"modules": {"m": {
            "config": {"a": null, "b": {"c": null}}, "limits": {"memory": null},
            "subdomains": {"s": {"config": {"d": null}}}
        }}});
        let want = json!({"modules": {"m": {
            "config": {"a": null, "b": {"c": null}}, "limits": {}, "subdomains": {"s": {"config": {"d": null}}}
        }}});
        assert_eq!(merged(base, over), want);
        assert_eq!(
            merged(json!({"modules": {"m": {"config": {"a": 1}}}}), json!({"modules": {"m": {"config": null}}})),
            json!({"modules": {"m": {}}})
        );
    }

    #[test]
    fn a_value_has_the_origin_of_the_last_layer() {
        let mut base = Node::from_json(json!({"a": 1, "b": 2}), &ValueOrigin::Default);
        overlay(&mut base, Node::from_json(json!({"a": 3}), &ValueOrigin::Flag("--a".into())));
        assert_eq!(base.get("a").unwrap().origin, ValueOrigin::Flag("--a".into()));
        assert_eq!(base.get("b").unwrap().origin, ValueOrigin::Default);
    }
}
