//! A reader token, minted by the API server for a ServiceAccount that may read the evidence.
//!
//! Edge: it lives in this process only, is for one audience, and is asked for again when four fifths of its life are
//! over, so that `logs --follow` outlives it. Nobody's own credentials for the API server reach a collector.

use std::time::{Duration, Instant};

use indelible_chain::id::Time;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use tokio::sync::Mutex;

use super::access::Cluster;
use super::audit_log::PoolName;
use super::right::{AskError, Right};
use crate::clock;
use crate::limits::READER_TOKEN_LIFE;

/// Who reads, and the token that says so.
pub struct Reader {
    cluster: Cluster,
    pool: PoolName,
    account: PoolName,
    token: Mutex<Option<(String, Instant)>>,
}

impl Reader {
    /// For reading that pool as that ServiceAccount; nothing is asked yet.
    pub fn new(cluster: &Cluster, pool: PoolName, account: PoolName) -> Self {
        Self { cluster: cluster.clone(), pool, account, token: Mutex::new(None) }
    }

    /// The token; another one when it has grown old.
    pub async fn token(&self) -> Result<String, String> {
        let mut token = self.token.lock().await;
        if let Some((token, due)) = &*token
            && Instant::now() < *due
        {
            return Ok(token.clone());
        }
        match self.mint().await {
            Ok(fresh) => Ok(token.insert(fresh).0.clone()),
            // It is good for a fifth of its life yet: an API server that is away does not end what goes on.
            Err(e) => token.as_ref().map(|(token, _)| token.clone()).ok_or_else(|| e.to_string()),
        }
    }

    /// Asks for a token.
    async fn mint(&self) -> Result<(String, Instant), AskError> {
        let PoolName { namespace, name } = &self.account;
        let spec = TokenRequestSpec {
            audiences: vec![self.pool.reader_audience()],
            expiration_seconds: i64::try_from(READER_TOKEN_LIFE.as_secs()).ok(),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let right = Right::to(&["create"], "serviceaccounts/token").called(name).within(namespace);
        let accounts = self.cluster.within::<ServiceAccount>(namespace);
        let asked = Instant::now();
        let params = PostParams::default();
        let minted = self.cluster.ask(&right, accounts.create_token_request(name, &params, &request)).await?;
        let status = minted.status.ok_or_else(|| AskError::nothing(&right, self.cluster.server()))?;
        // The API server may give less than was asked for.
        let left = status.expiration_timestamp.0.as_second() - clock::now().nanos().div_euclid(Time::SECOND);
        let life = Duration::from_secs(u64::try_from(left).unwrap_or_default()).min(READER_TOKEN_LIFE);
        Ok((status.token, asked + life * 4 / 5))
    }

    /// What to do where a collector does not let it read.
    pub fn remedy(&self) -> String {
        let Self { pool, account, .. } = self;
        format!(
            "; the token is that of ServiceAccount {account}, which must be allowed to get auditlogs/records in namespace \
             {}: see the roles that are bound to it, or name another account with --as-reader",
            pool.namespace
        )
    }
}
