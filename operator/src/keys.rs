//! The operator's own keys: the witness' and the authority's, in one Secret of its namespace.
//!
//! Whoever leads makes them once; they are never replaced, since verifiers have their public halves. A Secret that cannot
//! be read is an error for people: with other keys every policy would have to be written anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use indelible_chain::cosignature::Cosigner;
use indelible_chain::key::PrivateKey;
use indelible_chain::note::{Algorithm, KeyNameError, VerifierKey};
use indelible_chain::statement::{SignedStatement, Statement};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::names::{FIELD_MANAGER, KEYS_SECRET};
use crate::observed::PublicKeys;

const WITNESS: &str = "witness";
const AUTHORITY: &str = "authority";

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The API server.
    #[error("Secret {KEYS_SECRET}: {0}")]
    Api(#[from] kube::Error),
    /// The Secret does not hold what it should.
    #[error("Secret {KEYS_SECRET}: {0} is not 32 bytes; restore the Secret from a backup: verifiers know its keys")]
    Seed(&'static str),
    /// The cluster's uid is no name for a key.
    #[error("the uid of namespace kube-system cannot be part of a key's name: {0}")]
    Name(#[from] KeyNameError),
    /// No randomness.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The keys.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Cosigns checkpoints.
    pub cosigner: Arc<Cosigner>,
    /// Signs statements.
    pub authority: Arc<Authority>,
}

/// The key that statements are signed with.
#[derive(Debug)]
pub struct Authority {
    key: PrivateKey,
    verifier_key: VerifierKey,
}

impl Authority {
    /// What its statements are verified with.
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    /// A statement for the log with this origin, as it is sent.
    pub fn sign(&self, origin: &str, statement: Statement) -> Vec<u8> {
        let mut bytes = Vec::new();
        let id = *self.verifier_key.id().as_bytes();
        SignedStatement::sign(&self.key, id, origin, statement).encode_into(&mut bytes);
        bytes
    }
}

impl Keys {
    /// From seeds. A name says whose a key is and in which cluster.
    pub fn new(cluster_uid: &str, witness: &[u8; 32], authority: &[u8; 32]) -> Result<Self, KeysError> {
        let name = |what: &str| format!("indelible/{cluster_uid}/{what}").parse();
        let cosigner = Arc::new(Cosigner::new(name(WITNESS)?, witness));
        let key = PrivateKey::from_seed(authority);
        let verifier_key = VerifierKey::new(name(AUTHORITY)?, Algorithm::Ed25519, key.public());
        Ok(Self { cosigner, authority: Arc::new(Authority { key, verifier_key }) })
    }

    /// The public halves.
    pub fn public(&self) -> PublicKeys {
        PublicKeys { witness: self.cosigner.verifier_key().clone(), authority: self.authority.verifier_key().clone() }
    }

    /// Reads the Secret, and makes it if there is none. Two that make it at once end with the same keys.
    pub async fn open(client: Client, namespace: &str, cluster_uid: &str) -> Result<Self, KeysError> {
        let api: Api<Secret> = Api::namespaced(client, namespace);
        let secret = match api.get_opt(KEYS_SECRET).await? {
            Some(secret) => secret,
            None => match api.create(&PostParams::default(), &new_secret()?).await {
                Ok(secret) => secret,
                Err(kube::Error::Api(status)) if status.code == 409 => api.get(KEYS_SECRET).await?,
                Err(error) => return Err(error.into()),
            },
        };
        let data = secret.data.unwrap_or_default();
        let seed = |name: &'static str| {
            let bytes = data.get(name).map(|ByteString(bytes)| bytes.as_slice());
            bytes.and_then(|bytes| <&[u8; 32]>::try_from(bytes).ok()).ok_or(KeysError::Seed(name))
        };
        Self::new(cluster_uid, seed(WITNESS)?, seed(AUTHORITY)?)
    }
}

fn new_secret() -> Result<Secret, KeysError> {
    let seed = || {
        let mut seed = vec![0; 32];
        getrandom::fill(&mut seed).map_err(KeysError::Random)?;
        Ok::<_, KeysError>(ByteString(seed))
    };
    let data = BTreeMap::from([(WITNESS.to_owned(), seed()?), (AUTHORITY.to_owned(), seed()?)]);
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(KEYS_SECRET.to_owned()),
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        immutable: Some(true),
        ..Secret::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_after_the_cluster_and_of_their_kind() {
        let keys = Keys::new("0d1f5b1e", &[1; 32], &[2; 32]).unwrap();
        let PublicKeys { witness, authority } = keys.public();
        assert_eq!(
            (witness.name().as_str(), witness.algorithm()),
            ("indelible/0d1f5b1e/witness", Algorithm::CosignatureV1)
        );
        assert_eq!(
            (authority.name().as_str(), authority.algorithm()),
            ("indelible/0d1f5b1e/authority", Algorithm::Ed25519)
        );
        assert!(Keys::new("a b", &[1; 32], &[2; 32]).is_err());
    }

    #[test]
    fn a_statement_is_for_one_log_and_by_the_authority() {
        let keys = Keys::new("uid", &[1; 32], &[2; 32]).unwrap();
        let statement = Statement::Accepted { finding: "0123".into(), by: "ann".into(), reason: "outage".into() };
        let signed = SignedStatement::decode(&keys.authority.sign("log", statement.clone())).unwrap();
        assert_eq!(signed.statement, statement);
        let key = keys.authority.verifier_key().public_key();
        assert!(signed.is_signed_by(key, "log") && !signed.is_signed_by(key, "other"));
    }
}
