//! A pool in a cluster: found by its AuditLog's name, read through the API server.
//!
//! Core beside edges: `access`, `tunnel`, `reader` and `pool` ask the API server with the user's own rights; what its
//! answers mean is decided in the others, which ask nobody. Nothing that an API server says is evidence: it tells where
//! collectors are and whom the operator believes, and the user is told whose word that is.

pub mod access;
pub mod audit_log;
pub mod audited;
pub mod members;
pub mod pins;
pub mod pool;
pub mod reader;
pub mod right;
pub mod tunnel;

use std::path::Path;

use anyhow::anyhow;
use tokio::runtime::Handle;

use crate::args::ClusterArgs;
use crate::exit::CommandError;
use crate::text::one_line;
use access::Cluster;
use audit_log::PoolName;
use pool::Pool;

/// The source of a command line that names an AuditLog, if one does.
///
/// A URL has a scheme and a path has a slash, or is there; with `-n` whatever else is a name is an AuditLog's.
pub fn audit_log_of(
    sources: &[String],
    namespace_given: bool,
    is_there: impl Fn(&str) -> bool,
) -> Result<Option<&str>, CommandError> {
    let is_word = |name: &&String| {
        !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let mut names = sources.iter().filter(is_word).filter(|name| namespace_given || !is_there(name));
    match (names.next(), names.next()) {
        (None, _) if namespace_given && !sources.is_empty() => Err(CommandError::Usage(
            "--audit-log-namespace: no SOURCE is an AuditLog's name; name one, such as -n audit payments".to_owned(),
        )),
        // Without -n two that are not there are directories that are missing, as ever.
        (Some(_), Some(_)) if namespace_given => Err(CommandError::Usage(
            "SOURCE: more than one AuditLog is named; a pool is verified by itself, directories may be added to it"
                .to_owned(),
        )),
        (Some(_), Some(_)) => Ok(None),
        (name, _) => Ok(name.map(String::as_str)),
    }
}

/// The pool that a source names, if one does.
#[derive(Default)]
pub struct Found {
    /// The source.
    pub name: Option<String>,
    /// Its pool; without one the source is what is missing.
    pub pool: Option<Pool>,
    /// Why there is none.
    pub why_not: Option<String>,
}

/// Looks up the pool that a source names. A name that is neither a directory nor an AuditLog is a source that is missing
/// where the others can do without (`optional`), and an error elsewhere.
pub fn find(sources: &[String], args: &ClusterArgs, optional: bool, runtime: &Handle) -> Result<Found, CommandError> {
    let given = args.audit_log_namespace.is_some();
    let Some(name) = audit_log_of(sources, given, |name| Path::new(name).exists())? else {
        return Ok(Found::default());
    };
    let no_directory = |why: String| format!("{}: there is no directory of that name, and {why}", one_line(name));
    let found = runtime.block_on(async {
        let cluster = Cluster::connect(args).await?;
        let pool = PoolName { namespace: cluster.namespace().to_owned(), name: name.to_owned() };
        Pool::find(cluster, pool).await.map_err(|why| CommandError::Failed(anyhow!(why)))
    });
    let name = Some(name.to_owned());
    match found {
        Ok(pool) => Ok(Found { name, pool: Some(pool), why_not: None }),
        Err(CommandError::Failed(e)) if !given => {
            let why = no_directory(e.to_string());
            if optional { Ok(Found { name, pool: None, why_not: Some(why) }) } else { Err(anyhow!(why).into()) }
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_name_if_it_is_neither_a_url_nor_a_path_nor_there() {
        let none = |_: &str| false;
        let named = |sources: &[&str], given, is_there: fn(&str) -> bool| {
            let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
            audit_log_of(&sources, given, is_there).map(|name| name.map(str::to_owned)).map_err(|_| ())
        };
        let payments = || Ok(Some("payments".to_owned()));
        assert_eq!(named(&["payments"], false, none), payments());
        assert_eq!(named(&["payments", "/copies/c0", "https://c:1"], true, none), payments());
        for path in ["https://c0:7443", "s3://bucket", "./payments", "/data/c0", "data/c0", "c0.test:7443", "Data", ""]
        {
            assert_eq!(named(&[path], false, none), Ok(None), "{path}");
        }
        assert_eq!(named(&["payments"], false, |_| true), Ok(None), "a directory of that name comes first");
        assert_eq!(named(&["payments"], true, |_| true), payments(), "but not after -n");
        assert_eq!(named(&["a", "b"], false, none), Ok(None), "two that are missing are missing directories");
        assert_eq!(named(&["a", "b"], true, none), Err(()));
        assert_eq!(named(&["./a"], true, none), Err(()), "-n without a name");
    }
}
