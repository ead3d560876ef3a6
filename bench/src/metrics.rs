//! A number from a process' metrics endpoint.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};

use crate::limits::{MAX_METRICS_BYTES, READY};

/// The text of a scrape.
pub fn scrape(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, READY)?;
    stream.set_read_timeout(Some(READY))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(MAX_METRICS_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The number behind `name`, the sum of all that differ in labels only.
pub fn value(text: &str, name: &str) -> Result<f64> {
    let of_name = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.split_once("} ")?.1,
            None => rest.strip_prefix(' ')?,
        };
        rest.trim().parse::<f64>().ok()
    };
    let mut found = text.lines().filter_map(of_name).peekable();
    found.peek().with_context(|| format!("there is no {name}"))?;
    Ok(found.sum())
}

/// A counter as a whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole and positive")]
pub fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_name_and_summed_over_labels() {
        let text = "# HELP a b\na_total 3\na_total_more 9\nb{x=\"1\"} 2\nb{x=\"2\"} 5\n";
        assert_eq!(whole(value(text, "a_total").unwrap()), 3);
        assert_eq!(whole(value(text, "b").unwrap()), 7);
        assert!(value(text, "c").is_err());
    }
}
