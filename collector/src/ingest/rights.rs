//! What a pod may not write: its token must be of the pod, the cluster and the chain that it writes for. All the 403 of
//! the write interface are decided here, but for the namespace that is not opted in ([`super::OptIn`]).
//!
//! The store's writer asks [`owned`]'s question once more, by the same [`Session::owns`], as the last to see an item
//! before it is in the log (`store/index/decide`, `AppendError::Foreign`); what was judged here never fails there.

use indelible_chain::genesis::Genesis;
use indelible_chain::id::ChainId;
use indelible_chain::session::Session;

use super::Refusal;
use crate::token::PodToken;

/// The token's pod is the session's, in everything that the token says of it.
pub(super) fn of_pod(session: &Session, pod: &PodToken) -> Result<(), Refusal> {
    for (field, attested, claimed) in [
        ("namespace", &pod.namespace, &session.namespace),
        ("pod name", &pod.pod_name, &session.pod_name),
        ("pod UID", &pod.pod_uid, &session.pod_uid),
        ("node", &pod.node_name, &session.node_name),
        ("service account", &pod.service_account, &session.service_account),
    ] {
        if attested != claimed {
            return Err(Refusal::OtherPod { field, token: attested.clone(), session: claimed.clone() });
        }
    }
    Ok(())
}

/// The session is of the cluster that this collector serves.
pub(super) fn of_cluster(session: &Session, cluster_uid: &str) -> Result<(), Refusal> {
    if session.cluster_uid == cluster_uid {
        return Ok(());
    }
    Err(Refusal::OtherCluster { session: session.cluster_uid.clone(), served: cluster_uid.to_owned() })
}

/// The chain is of the session's pod.
pub(super) fn owned(session: &Session, chain: ChainId, genesis: &Genesis) -> Result<(), Refusal> {
    if session.owns(genesis) { Ok(()) } else { Err(Refusal::OtherChain(chain)) }
}
