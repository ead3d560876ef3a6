//! What a server logs: a module of each of them, as no crate is theirs alone that could hold it.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// What `INDELIBLE_LOG` says: a level, or levels by module, as in `info,indelible_sidecar=debug`. Else `info`, and of these
/// modules only from these levels on.
pub fn filter(quiet: &[(&str, LevelFilter)]) -> Targets {
    parse(&std::env::var("INDELIBLE_LOG").unwrap_or_default(), quiet)
}

fn parse(asked: &str, quiet: &[(&str, LevelFilter)]) -> Targets {
    // An empty part would mean something else.
    let parts: Vec<_> = asked.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let usual = Targets::new().with_default(LevelFilter::INFO).with_targets(quiet.iter().copied());
    if parts.is_empty() { usual } else { parts.join(",").parse().unwrap_or(usual) }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    #[test]
    fn empty_parts_and_spaces_change_nothing_and_what_is_no_filter_is_not_taken() {
        let quiet = [("kube_client", LevelFilter::WARN)];
        let usual = super::parse("", &quiet);
        for asked in [",", " , ", "info=debug=warn"] {
            assert_eq!(super::parse(asked, &quiet), usual, "{asked}");
        }
        let asked = super::parse("info,indelible_sidecar=debug", &quiet);
        assert_eq!(super::parse(" info,, indelible_sidecar=debug,", &quiet), asked);
        assert_ne!(asked, usual);
    }
}
