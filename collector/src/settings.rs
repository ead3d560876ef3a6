//! What others decide and may change while the collector runs: the pool, the opted-in namespaces, the witnesses.
//!
//! Each is a value that requests look at. It comes out of a file that is read again when it changes, or, in a cluster,
//! out of a key of the pool's ConfigMap, which takes the place of the file's at the first answer. A key that is wrong or
//! missing changes nothing. Invariant: without an answer and without a file, no namespace is taken for opted in.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{ObjectName, Witness};
use crate::ingest::{NamespaceList, Namespaces};
use crate::limits::{MAX_WITNESS_LINES_BYTES, MAX_WITNESSES};
use crate::metrics::{Metrics, ReloadOutcome};
use crate::reload::{Pool, chain};

/// A value and its changes.
pub type Changing<T> = watch::Receiver<Arc<T>>;

/// A value that nobody changes.
pub fn fixed<T>(value: T) -> Changing<T> {
    watch::channel(Arc::new(value)).1
}

/// The values, for who changes them.
#[derive(Debug)]
pub struct Settings {
    pool: Key<Option<Pool>>,
    namespaces: Key<Namespaces>,
    witnesses: Key<Vec<Witness>>,
}

/// The values, for who looks at them.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the words say what each is")]
pub struct View {
    pub pool: Changing<Option<Pool>>,
    pub namespaces: Changing<Namespaces>,
    pub witnesses: Changing<Vec<Witness>>,
}

/// A value, and the text of the key that it was last taken from.
#[derive(Debug)]
struct Key<T> {
    value: watch::Sender<Arc<T>>,
    text: Option<String>,
}

impl<T> Key<T> {
    fn new(value: Arc<T>) -> Self {
        Self { value: watch::channel(value).0, text: None }
    }

    /// Takes a text, if it is another one. An error says what is wrong with it, once.
    fn take<E: std::error::Error>(
        &mut self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Result<(), String>> {
        if self.text.as_deref() == Some(text) {
            return None;
        }
        self.text = Some(text.to_owned());
        let taken = parse(text).map(|value| {
            self.value.send_replace(Arc::new(value));
        });
        Some(taken.map_err(|error| chain(&error)))
    }
}

impl Settings {
    /// With what files and flags say, until there is an answer.
    pub fn new(pool: Arc<Option<Pool>>, namespaces: Arc<Namespaces>, witnesses: Vec<Witness>) -> (Self, View) {
        let settings =
            Self { pool: Key::new(pool), namespaces: Key::new(namespaces), witnesses: Key::new(Arc::new(witnesses)) };
        let view = View {
            pool: settings.pool.value.subscribe(),
            namespaces: settings.namespaces.value.subscribe(),
            witnesses: settings.witnesses.value.subscribe(),
        };
        (settings, view)
    }

    /// A key of the ConfigMap has this text.
    pub fn set(&mut self, of: &ObjectName, key: &str, text: &str, metrics: &Metrics) {
        let taken = match key {
            "pool.json" => self.pool.take(text, |text| Pool::parse(text.as_bytes().to_vec()).map(Some)),
            "namespaces.json" => {
                self.namespaces.take(text, |text| NamespaceList::parse(text.as_bytes()).map(Namespaces::Listed))
            }
            "witnesses" => self.witnesses.take(text, witnesses),
            _ => None,
        };
        match taken {
            None => {}
            Some(Ok(())) => {
                metrics.reloaded(ReloadOutcome::Used);
                tracing::info!(configmap = %of, key, "a key has changed and is in use");
            }
            Some(Err(error)) => {
                metrics.reloaded(ReloadOutcome::Refused);
                tracing::error!(configmap = %of, key, error, "a key cannot be used; what it said before stays in force");
            }
        }
    }
}

/// Why a text names no witnesses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessesError {
    /// Too long.
    #[error("{0} bytes of witnesses are over the limit of {MAX_WITNESS_LINES_BYTES}")]
    TooLong(usize),
    /// Too many.
    #[error("more witnesses than the limit of {MAX_WITNESSES}")]
    TooMany,
    /// A line that names none.
    #[error("line {0}: {1}")]
    Line(usize, String),
}

/// The witnesses of a text of lines `VKEY=URL`; empty lines and those that begin with `#` are passed over.
fn witnesses(text: &str) -> Result<Vec<Witness>, WitnessesError> {
    if text.len() > MAX_WITNESS_LINES_BYTES {
        return Err(WitnessesError::TooLong(text.len()));
    }
    let mut witnesses = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if witnesses.len() == MAX_WITNESSES {
            return Err(WitnessesError::TooMany);
        }
        witnesses.push(line.parse().map_err(|text: String| WitnessesError::Line(number, text))?);
    }
    Ok(witnesses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> (Settings, View) {
        Settings::new(Arc::new(None), Arc::new(Namespaces::Unheard), Vec::new())
    }

    fn name() -> ObjectName {
        "audit/payments-pool".parse().unwrap()
    }

    #[test]
    fn a_key_takes_the_place_of_what_was_known_and_a_wrong_one_changes_nothing() {
        let (mut settings, view) = settings();
        let metrics = Metrics::new();
        let pool = r#"{"epoch":7,"server_name":"c","collectors":["https://127.0.0.1:1"],"ca_pem":"x"}"#;
        let mut set = |key: &str, text: &str| settings.set(&name(), key, text, &metrics);
        set("pool.json", pool);
        set("namespaces.json", r#"[{"name":"shop","uid":"1","created":"2026-11-20T10:00:00Z"}]"#);
        for (key, text) in [("pool.json", "{}"), ("namespaces.json", "{"), ("witnesses", "w"), ("other", "x")] {
            set(key, text);
            // Told once, not with each event of the watch.
            set(key, text);
        }
        assert_eq!(view.pool.borrow().as_ref().as_ref().unwrap().epoch(), 7);
        assert!(matches!(&**view.namespaces.borrow(), Namespaces::Listed(list) if list.created("shop").is_some()));
        let page = metrics.encode();
        assert!(page.contains(r#"reloads_total{outcome="used"} 2"#), "{page}");
        assert!(page.contains(r#"reloads_total{outcome="refused"} 3"#), "{page}");
    }

    #[test]
    fn a_text_that_did_not_change_wakes_nobody() {
        let (mut settings, view) = settings();
        let (metrics, mut namespaces) = (Metrics::new(), view.namespaces.clone());
        settings.set(&name(), "namespaces.json", "[]", &metrics);
        assert!(namespaces.has_changed().unwrap());
        namespaces.mark_unchanged();
        settings.set(&name(), "namespaces.json", "[]", &metrics);
        assert!(!namespaces.has_changed().unwrap());
    }

    #[test]
    fn witnesses_are_lines_of_a_key_and_a_url() {
        assert_eq!(witnesses("\n# none yet\n"), Ok(vec![]));
        assert!(matches!(witnesses("\nw=ftp://w"), Err(WitnessesError::Line(2, _))));
        let long = "#".repeat(MAX_WITNESS_LINES_BYTES + 1);
        assert_eq!(witnesses(&long), Err(WitnessesError::TooLong(long.len())));
    }
}
