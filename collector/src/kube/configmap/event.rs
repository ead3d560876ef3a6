//! What a list and the events of a watch say, out of the API server's JSON.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::ObjectName;

/// An event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is there now, with these keys.
    Changed {
        /// Its version.
        version: String,
        /// Its keys.
        data: BTreeMap<String, String>,
    },
    /// It was removed.
    Gone {
        /// Its last version.
        version: String,
    },
    /// Nothing but a newer version to go on from.
    Bookmark {
        /// The version.
        version: String,
    },
    /// The version that was watched from is too old: a list comes next.
    Expired,
    /// The API server cannot go on.
    Failed {
        /// What it says.
        message: String,
    },
}

/// Why bytes are no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not the JSON that was expected.
    #[error("the API server answers what is no list or event of ConfigMaps: {0}")]
    Json(#[from] serde_json::Error),
    /// Of something else than was asked for.
    #[error("the API server speaks of {0:?}, which was not asked for")]
    Other(String),
    /// A version that cannot be asked from.
    #[error("the API server names a version that is none")]
    Version,
}

#[derive(Deserialize)]
struct RawList {
    metadata: Metadata,
    items: Option<Vec<ConfigMap>>,
}

#[derive(Deserialize)]
struct ConfigMap {
    metadata: Metadata,
    data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    resource_version: String,
}

#[derive(Deserialize)]
struct RawEvent {
    #[serde(rename = "type")]
    kind: String,
    object: serde_json::Value,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

impl Metadata {
    /// The version, which goes into a query as it is.
    fn version(self) -> Result<String, EventError> {
        let version = self.resource_version;
        let is_one = (1..=64).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_one { Ok(version) } else { Err(EventError::Version) }
    }
}

impl ConfigMap {
    fn of(self, name: &ObjectName) -> Result<(String, BTreeMap<String, String>), EventError> {
        if self.metadata.name != name.name {
            return Err(EventError::Other(self.metadata.name.chars().take(300).collect()));
        }
        Ok((self.metadata.version()?, self.data.unwrap_or_default()))
    }
}

/// The version of a list, and the keys of the one object in it; `None` if there is none.
pub fn list(bytes: &[u8], name: &ObjectName) -> Result<(String, Option<BTreeMap<String, String>>), EventError> {
    let RawList { metadata, items } = serde_json::from_slice(bytes)?;
    let found = items.unwrap_or_default().into_iter().next().map(|item| item.of(name)).transpose()?;
    Ok((metadata.version()?, found.map(|(_, data)| data)))
}

/// A line of a watch.
pub fn event(line: &[u8], name: &ObjectName) -> Result<Event, EventError> {
    const EXPIRED: u16 = 410;
    let RawEvent { kind, object } = serde_json::from_slice(line)?;
    let config_map = |object| serde_json::from_value::<ConfigMap>(object);
    match &*kind {
        "ADDED" | "MODIFIED" => {
            let (version, data) = config_map(object)?.of(name)?;
            Ok(Event::Changed { version, data })
        }
        "DELETED" => Ok(Event::Gone { version: config_map(object)?.of(name)?.0 }),
        "BOOKMARK" => Ok(Event::Bookmark { version: config_map(object)?.metadata.version()? }),
        _ => match serde_json::from_value(object)? {
            Status { code: EXPIRED, .. } => Ok(Event::Expired),
            Status { code, message } => {
                let message = format!("{code} {}", message.chars().take(300).collect::<String>());
                Ok(Event::Failed { message })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn name() -> ObjectName {
        ObjectName { namespace: "audit".into(), name: "payments-pool".into() }
    }

    fn object(name: &str, version: &str) -> serde_json::Value {
        json!({ "metadata": { "name": name, "resourceVersion": version }, "data": { "pool.json": "{}" } })
    }

    fn heard(kind: &str, object: &serde_json::Value) -> Result<Event, EventError> {
        event(json!({ "type": kind, "object": object }).to_string().as_bytes(), &name())
    }

    #[test]
    fn a_list_has_a_version_and_the_keys_of_the_one_that_was_asked_for() {
        let of = |items: serde_json::Value| {
            let list_of = json!({ "kind": "ConfigMapList", "metadata": { "resourceVersion": "9" }, "items": items });
            list(list_of.to_string().as_bytes(), &name())
        };
        let (version, data) = of(json!([object("payments-pool", "7")])).unwrap();
        assert_eq!((&*version, data.unwrap()["pool.json"].as_str()), ("9", "{}"));
        assert_eq!(of(json!([])).unwrap(), ("9".to_owned(), None));
        assert_eq!(of(json!(null)).unwrap(), ("9".to_owned(), None));
        assert!(matches!(of(json!([object("other", "7")])), Err(EventError::Other(_))));
        for text in ["", "{}", "[]", "<html>", r#"{"metadata":{"resourceVersion":"a&b=c"},"items":[]}"#] {
            assert!(list(text.as_bytes(), &name()).is_err(), "{text}");
        }
    }

    #[test]
    fn each_kind_of_event_is_told_apart() {
        let data = BTreeMap::from([("pool.json".to_owned(), "{}".to_owned())]);
        for kind in ["ADDED", "MODIFIED"] {
            let changed = Event::Changed { version: "8".into(), data: data.clone() };
            assert_eq!(heard(kind, &object("payments-pool", "8")).unwrap(), changed);
        }
        let gone = Event::Gone { version: "8".into() };
        assert_eq!(heard("DELETED", &object("payments-pool", "8")).unwrap(), gone);
        let bookmark =
            json!({ "kind": "ConfigMap", "metadata": { "resourceVersion": "12", "creationTimestamp": null } });
        assert_eq!(heard("BOOKMARK", &bookmark).unwrap(), Event::Bookmark { version: "12".into() });
        let status = |code: u16| json!({ "kind": "Status", "code": code, "message": "too old resource version" });
        assert_eq!(heard("ERROR", &status(410)).unwrap(), Event::Expired);
        assert!(matches!(heard("ERROR", &status(500)).unwrap(), Event::Failed { .. }));
        assert!(matches!(heard("MODIFIED", &object("other", "8")), Err(EventError::Other(_))));
        assert!(matches!(heard("MODIFIED", &object("payments-pool", "")), Err(EventError::Version)));
        assert!(heard("MODIFIED", &json!(7)).is_err());
    }

    proptest! {
        #[test]
        fn reading_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = (event(bytes, &name()), list(bytes, &name()));
            }
        }
    }
}
