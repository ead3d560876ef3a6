//! A pool's certificates: what the Secrets `A-ca` (never deleted) and `A-tls` shall hold.
//!
//! Pure but for new keys: Secrets, pinned keys and what sidecars confirmed in; the Secrets' new content and when to plan
//! again out. The reconciler reads and writes the Secrets, `A-ca` with resourceVersion, so that no CA is lost to a race.

use indelible_chain::digest::Digest;
use indelible_chain::note::VerifierKey;
use jiff::Timestamp;

use super::issue::CertificateError;
use super::keyring::{Data, Keyring};
use super::rotation::{self, CaStep, LeafNames, Wanted};
use crate::limits::NAMED_PODS;
use crate::observed::Confirmed;

/// The data of the two Secrets, as they are in the cluster.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// `A-ca`; none when there is no such Secret.
    pub ca: Option<Data>,
    /// `A-tls`: `A-<ordinal>.crt`, `.key`.
    pub tls: Option<Data>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// The names that every certificate of a pool has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The AuditLog, as the CA's common name has it: `N/A`.
    pub pool: String,
    /// `A.N.svc`.
    pub service: String,
    /// `A-pods.N.svc`: a collector's own name stands before it.
    pub pods: String,
}

/// A collector that shall have a certificate: its key is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorKey {
    /// `A-<ordinal>`.
    pub pod: String,
    /// Its log's verifier key.
    pub vkey: VerifierKey,
}

/// What the Secrets shall hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    /// The whole data of `A-ca`.
    pub ca: Data,
    /// The whole data of `A-tls`.
    pub tls: Data,
    /// The bundle, PEM, as collectors hand it out.
    pub bundle: String,
    /// When to plan again although nothing has changed.
    pub due: Option<Timestamp>,
    /// A rotation that waits for sidecars: its sentence names how many and some of them.
    pub waiting: Option<String>,
    /// A certificate that ends within 30 days although it was due to be renewed: its sentence.
    pub expiring: Option<String>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("due", &self.due).field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// What the Secrets shall hold now. `rotate` is the AuditLog's annotation `indelible.dev/rotate-ca`: a value that was not
/// served yet asks for another CA.
pub fn plan(
    now: Timestamp,
    secrets: &Secrets,
    names: &Names,
    keys: &[CollectorKey],
    confirmed: &Confirmed,
    rotate: Option<&str>,
) -> Result<Plan, CertificateError> {
    let mut keyring = Keyring::read_ca(secrets.ca.as_ref().unwrap_or(&Data::new()))?;
    keyring.read_leaves(secrets.tls.as_ref().unwrap_or(&Data::new()));
    let wanted = wanted(names, keys, rotate);
    let everyone = everyone(&keyring, confirmed);
    let plan = rotation::plan(now, &keyring, &wanted, &everyone)?;
    let switched = plan.ca == CaStep::Switch;
    let keyring = keyring.carry_out(&plan, &wanted, now)?;
    let outlook = rotation::outlook(now, &keyring)?;
    let waiting = match (&everyone, outlook.waiting_since) {
        (rotation::Confirmed::Not(pods), Some(_)) if plan.ca == CaStep::Keep => Some(waiting(pods, confirmed.complete)),
        (rotation::Confirmed::Not(pods), None) if switched => Some(cut_off(pods)),
        _ => None,
    };
    let expiring = outlook.expires_soon.map(|end| {
        format!(
            "a certificate of the pool ends at {end} and was not renewed; see in the operator's log why the pool's Secrets \
             could not be written"
        )
    });
    let (ca, tls, bundle) = (keyring.ca_data(), keyring.leaf_data(), outlook.bundle);
    Ok(Plan { ca, tls, bundle, due: Some(outlook.next), waiting, expiring })
}

fn wanted(names: &Names, keys: &[CollectorKey], rotate: Option<&str>) -> Wanted {
    let leaf = |CollectorKey { pod, vkey }: &CollectorKey| LeafNames {
        file: pod.clone(),
        dns: vec![names.service.clone(), format!("{pod}.{}", names.pods)],
        uris: vec![format!("indelible:vkey:{}", vkey.text_digest())],
    };
    Wanted {
        authority: format!("indelible {}", names.pool),
        leaves: keys.iter().map(leaf).collect(),
        rotate: rotate.map(str::to_owned),
    }
}

/// Whether all have the bundle that the keyring stands for.
fn everyone(keyring: &Keyring, confirmed: &Confirmed) -> rotation::Confirmed {
    let digest = Digest::sha256(keyring.bundle().as_bytes()).to_string();
    let not: Vec<String> =
        confirmed.bundles.iter().filter(|(_, has)| **has != digest).map(|(pod, _)| pod.clone()).collect();
    let is_all = not.is_empty() && confirmed.complete;
    if is_all { rotation::Confirmed::All } else { rotation::Confirmed::Not(not) }
}

fn waiting(pods: &[String], complete: bool) -> String {
    if !complete {
        return "another CA waits to take over until every collector has told which bundles its sidecars have"
            .to_owned();
    }
    format!("another CA waits to take over until {} have its bundle: {}", count(pods), named(pods))
}

fn cut_off(pods: &[String]) -> String {
    format!(
        "another CA has taken over after the longest wait although {} had not told that they have its bundle: {}; restart \
         them if their coverage stays away",
        count(pods),
        named(pods)
    )
}

fn count(pods: &[String]) -> String {
    if pods.len() == 1 { "one pod".to_owned() } else { format!("{} pods", pods.len()) }
}

fn named(pods: &[String]) -> String {
    let mut text = pods.iter().take(NAMED_PODS).map(String::as_str).collect::<Vec<_>>().join(", ");
    if pods.len() > NAMED_PODS {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use indelible_chain::key::PrivateKey;
    use indelible_chain::note::Algorithm;

    use super::*;
    use crate::certificates::rotation::{MAX_WAIT, SETTLE};

    fn names() -> Names {
        Names {
            pool: "audit/payments".to_owned(),
            service: "payments.audit.svc".to_owned(),
            pods: "payments-pods.audit.svc".to_owned(),
        }
    }

    fn key(seed: u8) -> CollectorKey {
        let public = PrivateKey::from_seed(&[seed; 32]).public();
        let vkey = VerifierKey::new(format!("uid/audit/payments/{seed}").parse().unwrap(), Algorithm::Ed25519, public);
        CollectorKey { pod: format!("payments-{seed}"), vkey }
    }

    fn start() -> Timestamp {
        "2026-11-27T12:00:00Z".parse().unwrap()
    }

    fn bundles(by_pod: &[(&str, &str)]) -> Confirmed {
        let bundles = by_pod.iter().map(|(pod, bundle)| ((*pod).to_owned(), (*bundle).to_owned())).collect();
        Confirmed { complete: true, bundles }
    }

    fn stored(plan: &Plan) -> Secrets {
        Secrets { ca: Some(plan.ca.clone()), tls: Some(plan.tls.clone()) }
    }

    #[test]
    fn a_pool_gets_a_ca_at_once_and_a_certificate_for_each_key_that_is_pinned() {
        let nothing = Secrets::default();
        let first = plan(start(), &nothing, &names(), &[], &Confirmed::default(), None).unwrap();
        assert!(first.tls.is_empty() && first.bundle.starts_with("-----BEGIN CERTIFICATE-----"));
        assert_eq!(first.ca["bundle.crt"], first.bundle.as_bytes());
        let second = plan(start(), &stored(&first), &names(), &[key(0), key(1)], &Confirmed::default(), None).unwrap();
        assert_eq!(second.ca, first.ca);
        assert_eq!(
            second.tls.keys().collect::<Vec<_>>(),
            ["payments-0.crt", "payments-0.key", "payments-1.crt", "payments-1.key"]
        );
        let facts = std::str::from_utf8(&second.tls["payments-1.crt"]).unwrap();
        let facts = crate::certificates::issue::Facts::read(facts).unwrap();
        assert_eq!(facts.dns, ["payments.audit.svc", "payments-1.payments-pods.audit.svc"]);
        let digest = Digest::sha256(key(1).vkey.to_string().as_bytes());
        assert_eq!(facts.uris, [format!("indelible:vkey:{digest}")]);
        let third =
            plan(second.due.unwrap(), &stored(&second), &names(), &[key(0), key(1)], &bundles(&[]), None).unwrap();
        assert_eq!((third.ca, third.tls), (second.ca, second.tls), "nothing is written again");
    }

    #[test]
    fn a_rotation_waits_for_the_sidecars_and_names_them() {
        let keys = [key(0)];
        let first = plan(start(), &Secrets::default(), &names(), &keys, &bundles(&[]), None).unwrap();
        let old = Digest::sha256(first.bundle.as_bytes()).to_string();
        let has_old = bundles(&[("shop/cart-0", &old), ("shop/cart-1", "")]);
        let asked = plan(start(), &stored(&first), &names(), &keys, &has_old, Some("now")).unwrap();
        assert_ne!(asked.bundle, first.bundle);
        let later = start() + SETTLE;
        let waits = plan(later, &stored(&asked), &names(), &keys, &has_old, Some("now")).unwrap();
        assert_eq!(waits.tls, first.tls);
        assert!(waits.waiting.unwrap().ends_with("2 pods have its bundle: shop/cart-0, shop/cart-1"));
        let unknown = plan(later, &stored(&asked), &names(), &keys, &Confirmed::default(), Some("now")).unwrap();
        assert_eq!(unknown.tls, first.tls, "what nobody told is no consent");

        let new = Digest::sha256(asked.bundle.as_bytes()).to_string();
        let has_new = bundles(&[("shop/cart-0", &new), ("shop/cart-1", &new)]);
        let switched = plan(later, &stored(&asked), &names(), &keys, &has_new, Some("now")).unwrap();
        assert!(switched.tls != first.tls && switched.waiting.is_none());
        let forced = plan(start() + MAX_WAIT, &stored(&asked), &names(), &keys, &has_old, Some("now")).unwrap();
        assert!(forced.tls != first.tls && forced.waiting.unwrap().contains("shop/cart-1; restart them"));
    }
}
