//! What `/v1/pool` answers: the list of collectors that sidecars send to, and its epoch.
//!
//! `{"epoch":u64,"server_name","collectors":[url],"ca_pem"}`. The epoch stands in a header of every answer, so that
//! sidecars ask for the list only when it has changed.

use bytes::Bytes;
use serde::Deserialize;

use crate::limits::MAX_POOL_COLLECTORS;

/// A pool, and the bytes that say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    epoch: u64,
    bytes: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    epoch: u64,
    server_name: String,
    collectors: Vec<String>,
    ca_pem: String,
}

/// Why bytes are no pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// Not the JSON that was expected.
    #[error("not a pool, expected {{\"epoch\",\"server_name\",\"collectors\",\"ca_pem\"}}")]
    Json(#[source] serde_json::Error),
    /// Too many collectors.
    #[error("a pool of {0} collectors is over the limit of {MAX_POOL_COLLECTORS}")]
    TooMany(usize),
    /// A collector that cannot be reached.
    #[error("collector {0:?} is no https URL")]
    Url(String),
    /// Neither name nor certificates.
    #[error("server_name and ca_pem must not be empty")]
    Empty,
}

impl Pool {
    /// Reads a pool.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, PoolError> {
        let raw: Raw = serde_json::from_slice(&bytes).map_err(PoolError::Json)?;
        if raw.collectors.len() > MAX_POOL_COLLECTORS {
            return Err(PoolError::TooMany(raw.collectors.len()));
        }
        if let Some(url) = raw.collectors.into_iter().find(|url| !url.starts_with("https://")) {
            return Err(PoolError::Url(url));
        }
        if raw.server_name.is_empty() || raw.ca_pem.is_empty() {
            return Err(PoolError::Empty);
        }
        Ok(Self { epoch: raw.epoch, bytes: bytes.into() })
    }

    /// Only a greater one counts.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The JSON as it was written.
    pub fn json(&self) -> Bytes {
        self.bytes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_answered_as_it_was_written() {
        let json = r#"{"epoch":7,"server_name":"c","collectors":["https://127.0.0.1:1"],"ca_pem":"x"}"#;
        let pool = Pool::parse(json.into()).unwrap();
        assert_eq!((pool.epoch(), pool.json()), (7, Bytes::from(json)));
    }

    #[test]
    fn what_is_no_pool_is_refused() {
        for json in [
            "",
            "[]",
            r#"{"epoch":-1,"server_name":"c","collectors":[],"ca_pem":"x"}"#,
            r#"{"epoch":1,"server_name":"","collectors":[],"ca_pem":"x"}"#,
            r#"{"epoch":1,"server_name":"c","collectors":["http://c"],"ca_pem":"x"}"#,
            r#"{"epoch":1,"server_name":"c","collectors":[],"ca_pem":"x","more":1}"#,
        ] {
            assert!(Pool::parse(json.into()).is_err(), "{json}");
        }
    }
}
