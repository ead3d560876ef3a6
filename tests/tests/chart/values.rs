//! The values: each is described, has a schema, is used, and stands in the README's table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::files::{assert_generated, chart, read, templates};

const BEGIN: &str = "<!-- values: made from values.yaml by `make generate` -->\n";
const END: &str = "<!-- end of values -->";

fn values() -> Value {
    serde_saphyr::from_str(&read(chart().join("values.yaml"))).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&read(chart().join("values.schema.json"))).unwrap()
}

/// The comment above each key of values.yaml, by the key's path.
fn comments() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let (mut path, mut comment): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for line in read(chart().join("values.yaml")).lines() {
        let text = line.trim_start();
        if let Some(more) = text.strip_prefix("# ") {
            comment.push(more.to_owned());
        } else if let Some((key, _)) = text.split_once(':').filter(|_| !text.starts_with("- ")) {
            path.truncate((line.len() - text.len()) / 2);
            path.push(key.to_owned());
            found.insert(path.join("."), comment.join(" "));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    found
}

/// A value that is set as a whole, with its path: no mapping, or one that the user fills as he likes.
fn leaves<'a>(path: &str, value: &'a Value, comments: &BTreeMap<String, String>, found: &mut Vec<(String, &'a Value)>) {
    let described = comments.get(path).is_some_and(|comment| !comment.is_empty());
    match value {
        Value::Object(fields) if !described => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, value, comments, found);
            }
        }
        _ => found.push((path.to_owned(), value)),
    }
}

/// The Markdown table of all values, in the order of values.yaml.
fn table() -> String {
    let (comments, values) = (comments(), values());
    let mut found = Vec::new();
    leaves("", &values, &comments, &mut found);
    let text = read(chart().join("values.yaml"));
    // Paths are unique; where each key stands in the file gives the order.
    let order = |path: &str| {
        let mut from = 0;
        for (depth, key) in path.split('.').enumerate() {
            let line = format!("\n{}{key}:", "  ".repeat(depth));
            from += text[from..].find(&line).unwrap_or_else(|| panic!("{path} is not in values.yaml")) + 1;
        }
        from
    };
    found.sort_by_key(|(path, _)| order(path));
    let mut out = String::from("| value | default | |\n| --- | --- | --- |\n");
    for (path, value) in found {
        let comment = &comments[&path];
        assert!(comment.len() > 5, "{path} has no comment in values.yaml");
        writeln!(out, "| `{path}` | `{value}` | {} |", comment.replace('|', "\\|")).unwrap();
    }
    out
}

#[test]
fn the_readme_has_every_value_with_its_default() {
    let readme = read(chart().join("README.md"));
    let (before, rest) = readme.split_once(BEGIN).expect("the mark before the values");
    let (_, after) = rest.split_once(END).expect("the mark after the values");
    assert_generated("charts/indelible/README.md", &format!("{before}{BEGIN}\n{}\n{END}{after}", table()));
}

fn resolve<'a>(schema: &'a Value, all: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => &all["definitions"][reference.strip_prefix("#/definitions/").unwrap()],
        None => schema,
    }
}

fn assert_in_schema(path: &str, value: &Value, schema: &Value, all: &Value) {
    let schema = resolve(schema, all);
    assert!(!schema.is_null(), "{path} is not in values.schema.json");
    let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else { return };
    for (name, value) in fields {
        assert_in_schema(&format!("{path}.{name}"), value, &properties.get(name).cloned().unwrap_or_default(), all);
    }
    for name in properties.keys().filter(|name| !path.is_empty() || name.as_str() != "global") {
        let open = matches!(path.rsplit('.').next(), Some("affinity" | "resources"));
        assert!(open || fields.contains_key(name), "{path}.{name} has a schema and is not in values.yaml");
    }
}

#[test]
fn every_value_has_a_schema_and_every_schema_a_value() {
    let schema = schema();
    assert_in_schema("", &values(), &schema, &schema);
}

fn assert_closed(path: &str, schema: &Value) {
    match schema {
        Value::Object(fields) => {
            // What Helm hands to subcharts, and three shapes of Kubernetes' own, which the API server checks.
            let foreign = ["/global", "/nodeAffinity", "/podAffinity", "/podAntiAffinity", "/labelSelector"];
            if fields.get("type").is_some_and(|kind| kind == "object") && !foreign.iter().any(|end| path.ends_with(end))
            {
                let rest = fields.get("additionalProperties");
                let closed = rest.is_some_and(|rest| *rest == Value::Bool(false) || rest.is_object());
                assert!(closed, "{path} takes any field");
            }
            fields.iter().for_each(|(name, schema)| assert_closed(&format!("{path}/{name}"), schema));
        }
        Value::Array(all) => all.iter().for_each(|schema| assert_closed(path, schema)),
        _ => {}
    }
}

#[test]
fn no_object_of_the_schema_takes_a_field_that_nobody_reads() {
    assert_closed("", &schema());
}

/// Every `.Values.a.b` of the templates. One that is ranged over or handed on counts for what is below it.
fn used() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in templates() {
        for rest in text.split(".Values.").skip(1) {
            let path: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
            found.insert(path.trim_end_matches('.').to_owned());
        }
    }
    found
}

fn is_within(path: &str, whole: &str) -> bool {
    path == whole || path.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'))
}

#[test]
fn every_value_is_used_and_every_used_one_is_there() {
    let (comments, values, used) = (comments(), values(), used());
    let mut found = Vec::new();
    leaves("", &values, &comments, &mut found);
    for (path, _) in &found {
        assert!(used.iter().any(|used| is_within(path, used)), "no template uses {path}");
    }
    for used in used {
        let known = found.iter().any(|(path, _)| is_within(path, &used) || is_within(&used, path));
        assert!(known, "a template uses {used}, which is not in values.yaml");
    }
}
