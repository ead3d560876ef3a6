//! Where a request goes: `http://` or `https://`, a host, a port, a path.

use std::fmt;
use std::net::IpAddr;

use crate::limits::MAX_URL_BYTES;

/// A URL without user, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

/// Why a text is no URL that is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write https://host[:port]/path (or http://), at most {MAX_URL_BYTES} bytes, without user, query and fragment")]
pub struct UrlError;

impl Url {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES || text.contains(['#', '?', '@']) {
            return Err(UrlError);
        }
        let uri: http::Uri = text.parse().map_err(|_| UrlError)?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(UrlError),
        };
        let authority = uri.authority().ok_or(UrlError)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| UrlError)?,
            // A port that is none is no default one.
            None if authority.as_str() != authority.host() => return Err(UrlError),
            None => {
                if secure {
                    443
                } else {
                    80
                }
            }
        };
        let is_name = || host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if host.is_empty() || host.parse::<IpAddr>().is_err() && !is_name() {
            return Err(UrlError);
        }
        Ok(Self { secure, host, port, path: uri.path().to_owned() })
    }

    /// `https` at a host, which may be an address, and a port.
    pub fn secure(host: &str, port: u16) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { secure: true, host, port, path: "/".to_owned() }
    }

    /// Whether it is asked over TLS.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path; at least `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port, as in the header `Host`.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let path = if self.path == "/" { "" } else { &self.path };
        write!(f, "{scheme}://{}{path}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_says_how_whom_and_for_what_to_ask() {
        for (text, secure, host, port, path) in [
            ("https://issuer.example/keys", true, "issuer.example", 443, "/keys"),
            ("http://witness.r.svc:7444", false, "witness.r.svc", 7444, "/"),
            ("https://[fd00::1]:6443/openid/v1/jwks", true, "fd00::1", 6443, "/openid/v1/jwks"),
            ("https://10.0.0.1/", true, "10.0.0.1", 443, "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.is_secure(), url.host(), url.port(), url.path()), (secure, host, port, path), "{text}");
            assert_eq!(Url::parse(&url.to_string()), Ok(url));
        }
        assert_eq!(Url::secure("[fd00::1]", 6443), Url::secure("fd00::1", 6443));
        assert_eq!(Url::secure("fd00::1", 6443).authority(), "[fd00::1]:6443");
    }

    #[test]
    fn what_is_no_url_or_says_more_is_refused() {
        let long = format!("https://a/{}", "x".repeat(MAX_URL_BYTES));
        for text in [
            "",
            "a",
            "/a",
            "a:443",
            "ftp://a",
            "https://",
            "https://u:p@a",
            "https://a?q",
            "https://a#f",
            "https://a:",
            "https://a:0x1",
            "http://-[]",
            &long,
        ] {
            assert_eq!(Url::parse(text), Err(UrlError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_url_that_was_read_is_read_again_as_the_same(text in "https?://[a-z0-9.:\\[\\]-]{0,12}(:[0-9]{0,6})?[/a-z?#%]{0,6}") {
            if let Ok(url) = Url::parse(&text) {
                prop_assert_eq!(Url::parse(&url.to_string()), Ok(url));
            }
        }

        #[test]
        fn reading_any_text_never_panics(text in "\\PC{0,40}") {
            let _ = Url::parse(&text);
        }
    }
}
