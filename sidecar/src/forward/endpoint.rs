//! Where a collector is: `https://host[:port]`, and nothing else.
//!
//! Two URLs that mean the same place are one endpoint, so that a pool's list and the bootstrap list can be compared.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A collector's address. Host names are lower case; a missing port is 443.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

/// A name, or an address that needs no resolver.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Host {
    /// To be resolved.
    Name(String),
    /// Used directly.
    Ip(IpAddr),
}

/// Why a text is no collector's URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no collector's URL: {why}; expected https://host[:port]")]
pub struct EndpointError {
    url: String,
    why: &'static str,
}

impl Endpoint {
    /// The host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host[:port]` for the request's `:authority`.
    pub fn authority(&self) -> String {
        match self.port {
            443 => self.host.to_string(),
            port => format!("{}:{port}", self.host),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        // A URL is shown in errors: only as much of it as a URL can have.
        let fail = |why| EndpointError { url: url.chars().take(300).collect(), why };
        let uri: http::Uri = url.parse().map_err(|_| fail("it is not a URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(fail("the scheme is not https"));
        }
        if uri.path_and_query().is_some_and(|rest| rest != "/") {
            return Err(fail("it has a path or query"));
        }
        let authority = uri.authority().ok_or_else(|| fail("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(fail("it has a user"));
        }
        let name = authority.host();
        let port = match authority.as_str().strip_prefix(name) {
            Some("") => 443,
            // The library overlooks a port that is none.
            Some(port) => match port.strip_prefix(':').and_then(|port| port.parse().ok()) {
                Some(0) | None => return Err(fail("the port is not 1 to 65535")),
                Some(port) => port,
            },
            None => return Err(fail("its host and port cannot be told apart")),
        };
        let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let host = match bracketed.unwrap_or(name).parse() {
            Ok(ip) => Host::Ip(ip),
            Err(_) if bracketed.is_some() => return Err(fail("the address in brackets is none")),
            Err(_) if name.is_empty() || name.len() > 253 => return Err(fail("the host is empty or too long")),
            Err(_) => Host::Name(name.to_ascii_lowercase()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_collectors_are_read_and_shown_in_one_form() {
        for (url, shown) in [
            ("https://c0.pool.svc:7443", "https://c0.pool.svc:7443"),
            ("https://C0.Pool.SVC:7443/", "https://c0.pool.svc:7443"),
            ("https://127.0.0.1:41234", "https://127.0.0.1:41234"),
            ("https://[::1]:7443", "https://[::1]:7443"),
            ("https://[0:0::1]:443/", "https://[::1]"),
            ("https://collectors", "https://collectors"),
        ] {
            assert_eq!(url.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        assert!(matches!("https://127.0.0.1:1".parse::<Endpoint>().unwrap().host(), Host::Ip(_)));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_taken_as_an_endpoint_is_the_same_when_read_again(url in "https://[!-~]{1,24}") {
            if let Ok(endpoint) = url.parse::<Endpoint>() {
                proptest::prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }

    #[test]
    fn anything_else_than_scheme_host_and_port_is_refused() {
        for url in [
            "",
            "c0:7443",
            "http://c0:7443",
            "https://",
            "https://c0:0",
            "https://c0:",
            "https://c0:99999",
            "https://c0/v1",
            "https://c0?x",
            "https://user@c0",
            "https://[c0]:1",
            "https://c 0",
        ] {
            let error = url.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.ends_with("expected https://host[:port]"), "{url}: {error}");
        }
    }
}
