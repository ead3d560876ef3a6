//! What a watch has shown of one kind of object, reduced to what admission needs of it.
//!
//! Pure. A watch that begins anew lists everything again: until that list is complete, what was known before counts.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};

type Values<T> = BTreeMap<(String, String), T>;

/// Values by namespace (empty for what has none) and name.
#[derive(Debug)]
pub struct Mirror<T> {
    values: Values<T>,
    listing: Option<Values<T>>,
    is_complete: bool,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self { values: Values::new(), listing: None, is_complete: false }
    }
}

impl<T> Mirror<T> {
    /// Takes an event in. `reduce` gives what is kept of an object; none where it does not matter.
    pub fn apply<K: Resource>(&mut self, event: Event<K>, reduce: impl FnOnce(&K) -> Option<T>) {
        let key = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            Event::Init => self.listing = Some(Values::new()),
            Event::InitApply(object) => {
                if let (Some(listing), Some(value)) = (&mut self.listing, reduce(&object)) {
                    listing.insert(key(&object), value);
                }
            }
            Event::InitDone => {
                self.values = self.listing.take().unwrap_or_default();
                self.is_complete = true;
            }
            Event::Apply(object) => {
                match reduce(&object) {
                    Some(value) => self.values.insert(key(&object), value),
                    None => self.values.remove(&key(&object)),
                };
            }
            Event::Delete(object) => {
                self.values.remove(&key(&object));
            }
        }
    }

    /// Whether everything there is was listed once.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// One value.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&T> {
        self.values.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// The values of one namespace.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = &T> {
        let from = (namespace.to_owned(), String::new());
        self.values.range(from..).take_while(move |((there, _), _)| there == namespace).map(|(_, value)| value)
    }

    /// All of them, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&(String, String), &T)> {
        self.values.iter()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn object(namespace: &str, name: &str, value: &str) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name}, "data": {"x": value}}))
            .unwrap()
    }

    fn apply(mirror: &mut Mirror<String>, event: Event<ConfigMap>) {
        mirror.apply(event, |object| object.data.as_ref()?.get("x").filter(|value| *value != "-").cloned());
    }

    fn all(mirror: &Mirror<String>) -> Vec<String> {
        mirror.iter().map(|((namespace, name), value)| format!("{namespace}/{name}={value}")).collect()
    }

    #[test]
    fn what_was_known_counts_until_a_new_list_is_complete() {
        let mut mirror = Mirror::default();
        for event in [Event::Init, Event::InitApply(object("a", "1", "x")), Event::InitApply(object("a", "2", "-"))] {
            apply(&mut mirror, event);
            assert!(!mirror.is_complete() && all(&mirror).is_empty());
        }
        apply(&mut mirror, Event::InitDone);
        assert!(mirror.is_complete());
        assert_eq!(all(&mirror), ["a/1=x"]);
        apply(&mut mirror, Event::Init);
        apply(&mut mirror, Event::InitApply(object("b", "1", "y")));
        assert_eq!(all(&mirror), ["a/1=x"]);
        apply(&mut mirror, Event::InitDone);
        assert_eq!(all(&mirror), ["b/1=y"]);
    }

    #[test]
    fn objects_come_change_and_go_and_stay_in_their_namespace() {
        let mut mirror = Mirror::default();
        for (namespace, name, value) in [("a", "1", "x"), ("a-b", "1", "y"), ("a", "2", "z"), ("a", "1", "w")] {
            apply(&mut mirror, Event::Apply(object(namespace, name, value)));
        }
        assert_eq!(mirror.of("a").collect::<Vec<_>>(), ["w", "z"]);
        apply(&mut mirror, Event::Apply(object("a", "1", "-")));
        apply(&mut mirror, Event::Delete(object("a", "2", "z")));
        assert_eq!(all(&mirror), ["a-b/1=y"]);
        assert_eq!((mirror.get("a-b", "1").map(String::as_str), mirror.get("a", "1")), (Some("y"), None));
    }
}
