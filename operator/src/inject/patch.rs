//! The JSON patch that gives a pod its sidecar.
//!
//! Pure. Ours is *replaced*, wherever it stood and whoever put it there, and is the first init container after each call:
//! it starts before all others and is the last to stop. No other container, volume, label or annotation is touched.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use serde_json::{Map, Value, json};

/// What is added to a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Addition {
    /// The sidecar's container.
    pub container: Value,
    /// Its volumes.
    pub volumes: [Value; 3],
    /// Names of Secrets that its image is pulled with.
    pub pull_secrets: Vec<String>,
    /// A label.
    pub label: (&'static str, String),
    /// Annotations, as they shall be.
    pub annotations: Vec<(&'static str, String)>,
}

/// The operations that make `pod` have it.
pub fn patch(pod: &Value, addition: &Addition) -> Patch {
    let mut operations = Vec::new();
    let name = name_of(&addition.container);
    let there = take_out(&mut operations, pod, "initContainers", &[name]);
    operations.push(if there {
        add(&["spec", "initContainers", "0"], addition.container.clone())
    } else {
        add(&["spec", "initContainers"], json!([addition.container]))
    });
    let names: Vec<&str> = addition.volumes.iter().map(name_of).collect();
    let there = take_out(&mut operations, pod, "volumes", &names);
    append(&mut operations, there, "volumes", addition.volumes.to_vec());
    let secrets = pod.pointer("/spec/imagePullSecrets").and_then(Value::as_array);
    let known = |secret: &String| secrets.into_iter().flatten().any(|there| name_of(there) == secret);
    let missing: Vec<Value> =
        addition.pull_secrets.iter().filter(|secret| !known(secret)).map(|name| json!({"name": name})).collect();
    append(&mut operations, secrets.is_some(), "imagePullSecrets", missing);
    set(&mut operations, pod, "labels", std::slice::from_ref(&addition.label));
    set(&mut operations, pod, "annotations", &addition.annotations);
    Patch(operations)
}

fn name_of(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}

fn add(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path.iter().copied()), value })
}

/// Removes what has one of the names; whether there is a list.
fn take_out(operations: &mut Vec<PatchOperation>, pod: &Value, list: &str, names: &[&str]) -> bool {
    let Some(there) = pod["spec"][list].as_array() else { return false };
    // From the end, so that the places before it stay what they are.
    for (at, _) in there.iter().enumerate().rev().filter(|(_, value)| names.contains(&name_of(value))) {
        let path = PointerBuf::from_tokens(["spec", list, at.to_string().as_str()]);
        operations.push(PatchOperation::Remove(RemoveOperation { path }));
    }
    true
}

fn append(operations: &mut Vec<PatchOperation>, there: bool, list: &str, values: Vec<Value>) {
    if there {
        operations.extend(values.into_iter().map(|value| add(&["spec", list, "-"], value)));
    } else if !values.is_empty() {
        operations.push(add(&["spec", list], Value::Array(values)));
    }
}

fn set(operations: &mut Vec<PatchOperation>, pod: &Value, map: &str, values: &[(&'static str, String)]) {
    if pod["metadata"][map].is_object() {
        operations.extend(values.iter().map(|(name, value)| add(&["metadata", map, name], json!(value))));
    } else if !values.is_empty() {
        let values: Map<String, Value> =
            values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        operations.push(add(&["metadata", map], Value::Object(values)));
    }
}
