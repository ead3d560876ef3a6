//! From a host to addresses.
//!
//! Addresses are used as they are. Names go through a resolver of our own, because a static binary has no
//! `getaddrinfo`: `/etc/hosts`, then the servers of `/etc/resolv.conf`. Read at the first name, so that a sidecar that is given
//! addresses needs neither.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use tokio::sync::OnceCell;

use super::endpoint::{Endpoint, Host};
use crate::limits::MAX_ADDRESSES;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The system's settings cannot be used.
    #[error("the name {name} cannot be looked up, /etc/resolv.conf is not usable: {text}")]
    Settings {
        /// The name.
        name: String,
        /// What is wrong.
        text: String,
    },
    /// No answer, or none with an address.
    #[error("the name {name} has no address: {text}")]
    Lookup {
        /// The name.
        name: String,
        /// What the resolver says.
        text: String,
    },
}

/// Looks names up.
#[derive(Clone, Default)]
pub struct Resolver(Arc<OnceCell<TokioResolver>>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// The addresses of an endpoint, a few at most, in the order to try them.
    pub async fn addresses(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, ResolveError> {
        let ips: Vec<IpAddr> = match endpoint.host() {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => self.lookup(name).await?,
        };
        Ok(ips.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, endpoint.port())).collect())
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let settings =
            |error: &dyn std::fmt::Display| ResolveError::Settings { name: name.to_owned(), text: error.to_string() };
        let build = || async {
            let mut builder = TokioResolver::builder_tokio().map_err(|error| settings(&error))?;
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build().map_err(|error| settings(&error))
        };
        let resolver = self.0.get_or_try_init(build).await?;
        let lookup = |text: String| ResolveError::Lookup { name: name.to_owned(), text };
        let found = resolver.lookup_ip(name).await.map_err(|error| lookup(error.to_string()))?;
        let ips: Vec<IpAddr> = found.iter().collect();
        if ips.is_empty() { Err(lookup("the answer is empty".to_owned())) } else { Ok(ips) }
    }
}
