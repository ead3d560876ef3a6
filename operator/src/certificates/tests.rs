//! The keyring over years, and what TLS clients say of it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::super::issue;
use super::super::keyring::{self, Leaf};
use super::*;

fn start() -> Timestamp {
    "2026-11-27T12:00:00Z".parse().unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn names(file: &str) -> LeafNames {
    LeafNames {
        file: file.to_owned(),
        dns: vec!["payments.audit.svc".to_owned(), format!("{file}.payments-pods.audit.svc")],
        uris: vec![format!("indelible:vkey:{file}")],
    }
}

fn wanted(files: &[&str]) -> Wanted {
    Wanted {
        authority: "indelible audit/payments".to_owned(),
        leaves: files.iter().map(|file| names(file)).collect(),
        rotate: None,
    }
}

/// Does what is due until nothing is; gives what was done to the CA.
fn settle(keyring: &mut Keyring, wanted: &Wanted, confirmed: &Confirmed, now: Timestamp) -> Vec<CaStep> {
    let mut steps = Vec::new();
    loop {
        let plan = plan(now, keyring, wanted, confirmed).unwrap();
        if plan.is_empty() {
            return steps;
        }
        assert!(steps.len() < 4, "never settles");
        steps.push(plan.ca);
        *keyring = keyring.clone().carry_out(&plan, wanted, now).unwrap();
    }
}

fn settled(files: &[&str]) -> Keyring {
    let mut keyring = Keyring::default();
    settle(&mut keyring, &wanted(files), &Confirmed::All, start());
    keyring
}

/// What a TLS client that trusts `bundle` says of a leaf: rustls' own verifier, which is no code of ours.
fn trusts(bundle: &str, leaf: &Leaf, name: &str, now: Timestamp) -> Result<(), rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    rustls::sign::CertifiedKey::from_der(vec![certificate.clone()], key, &provider).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second().cast_unsigned()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&certificate, &[], &name, &[], now).map(drop)
}

#[test]
fn a_new_keyring_serves_every_name_to_whoever_trusts_its_bundle() {
    let keyring = settled(&["payments-0", "payments-1"]);
    let leaf = &keyring.leaves["payments-1"];
    for name in ["payments.audit.svc", "payments-1.payments-pods.audit.svc"] {
        trusts(&keyring.bundle(), leaf, name, start()).unwrap();
    }
    assert!(trusts(&keyring.bundle(), leaf, "payments-0.payments-pods.audit.svc", start()).is_err());
    assert!(trusts(&settled(&[]).bundle(), leaf, "payments.audit.svc", start()).is_err());
    // A clock that is behind by less than an hour does not matter.
    trusts(&keyring.bundle(), leaf, "payments.audit.svc", start() - SignedDuration::from_mins(59)).unwrap();
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_of_its_life_and_not_before() {
    let (mut keyring, wanted) = (settled(&["payments-0"]), wanted(&["payments-0"]));
    let first = keyring.leaves["payments-0"].clone();
    let early = start() + days(59);
    assert!(plan(early, &keyring, &wanted, &Confirmed::All).unwrap().is_empty());
    let late = start() + days(61);
    settle(&mut keyring, &wanted, &Confirmed::All, late);
    let second = &keyring.leaves["payments-0"];
    assert!(*second != first && second.key != first.key);
    trusts(&keyring.bundle(), second, "payments.audit.svc", start() + days(120)).unwrap();
}

#[test]
fn a_leaf_for_another_log_is_issued_again_and_one_that_nobody_asks_for_now_stays() {
    let keyring = settled(&["payments-0", "payments-1"]);
    let mut other = wanted(&["payments-0"]);
    other.leaves[0].uris = vec!["indelible:vkey:another".to_owned()];
    let plan = plan(start(), &keyring, &other, &Confirmed::All).unwrap();
    assert_eq!((plan.ca, plan.issue.as_slice()), (CaStep::Keep, &other.leaves[..]));
    // A new leader knows no keys at first: the collectors keep the certificates that they have.
    let after = keyring.clone().carry_out(&plan, &other, start()).unwrap();
    assert!(after.leaves["payments-1"] == keyring.leaves["payments-1"]);
}

#[test]
fn a_leaf_whose_key_was_swapped_is_issued_again() {
    let mut keyring = settled(&["payments-0", "payments-1"]);
    let key = keyring.leaves["payments-1"].key.clone();
    keyring.leaves.get_mut("payments-0").unwrap().key = key;
    let plan = plan(start(), &keyring, &wanted(&["payments-0", "payments-1"]), &Confirmed::All).unwrap();
    assert_eq!(plan.issue, [names("payments-0")]);
}

#[test]
fn another_ca_takes_over_only_when_everyone_has_the_bundle_and_nobody_is_cut_off_on_the_way() {
    let mut keyring = settled(&["payments-0"]);
    let before = keyring.clone();
    let mut wanted = wanted(&["payments-0"]);
    wanted.rotate = Some("please".to_owned());
    let waiting = Confirmed::Not(vec!["shop/cart-0".to_owned()]);

    assert_eq!(settle(&mut keyring, &wanted, &waiting, start()), [CaStep::Introduce]);
    let introduced = keyring.clone();
    assert!(introduced.leaves == before.leaves, "leaves stay with the CA that everyone trusts");
    assert_eq!(outlook(start(), &keyring).unwrap().waiting_since, Some(start()));
    assert!(settle(&mut keyring, &wanted, &waiting, start() + days(1) - SignedDuration::from_secs(1)).is_empty());

    assert!(settle(&mut keyring, &wanted, &Confirmed::All, start() + SETTLE - SignedDuration::from_secs(1)).is_empty());
    let confirmed = start() + SETTLE;
    assert_eq!(settle(&mut keyring, &wanted, &Confirmed::All, confirmed), [CaStep::Switch]);
    let leaf = &keyring.leaves["payments-0"];
    assert!(*leaf != before.leaves["payments-0"]);
    trusts(&introduced.bundle(), leaf, "payments.audit.svc", confirmed).unwrap();
    trusts(&keyring.bundle(), &before.leaves["payments-0"], "payments.audit.svc", confirmed).unwrap();
    assert!(trusts(&before.bundle(), leaf, "payments.audit.svc", confirmed).is_err());

    assert!(
        settle(&mut keyring, &wanted, &Confirmed::All, confirmed + OVERLAP - SignedDuration::from_secs(1)).is_empty()
    );
    assert_eq!(settle(&mut keyring, &wanted, &Confirmed::All, confirmed + OVERLAP), [CaStep::Retire]);
    let leaf = &keyring.leaves["payments-0"];
    trusts(&keyring.bundle(), leaf, "payments.audit.svc", confirmed).unwrap();
    assert!(trusts(&keyring.bundle(), &before.leaves["payments-0"], "payments.audit.svc", confirmed).is_err());
    // The wish was served: it is not served again.
    assert!(settle(&mut keyring, &wanted, &Confirmed::All, confirmed + days(2)).is_empty());
}

#[test]
fn a_sidecar_that_never_answers_delays_another_ca_by_a_day_at_most() {
    let (mut keyring, mut wanted) = (settled(&["payments-0"]), wanted(&["payments-0"]));
    wanted.rotate = Some("1".to_owned());
    let waiting = Confirmed::Not(vec!["shop/cart-0".to_owned()]);
    settle(&mut keyring, &wanted, &waiting, start());
    assert_eq!(outlook(start(), &keyring).unwrap().next, start() + SETTLE);
    assert_eq!(outlook(start() + SETTLE, &keyring).unwrap().next, start() + MAX_WAIT);
    assert_eq!(settle(&mut keyring, &wanted, &waiting, start() + MAX_WAIT), [CaStep::Switch]);
}

#[test]
fn a_ca_is_replaced_by_itself_at_two_thirds_of_its_life_and_its_end_is_told_ahead() {
    let (mut keyring, wanted) = (settled(&["payments-0"]), wanted(&["payments-0"]));
    let late = start() + days(3650 / 3 * 2 + 2);
    let waiting = Confirmed::Not(vec!["shop/cart-0".to_owned()]);
    assert_eq!(settle(&mut keyring, &wanted, &waiting, late)[0], CaStep::Introduce);
    let told = |now| outlook(now, &keyring).unwrap().expires_soon.is_some();
    // The leaf that was renewed just now is the first to end.
    assert!(!told(late + days(59)) && told(late + days(61)));
}

#[test]
fn no_leaf_outlives_its_ca() {
    let keyring = settled(&["payments-0"]);
    let ca = keyring.ca.as_ref().unwrap();
    let leaf = issue::leaf(ca, &names("payments-0"), start() + days(3600)).unwrap();
    assert_eq!(leaf.life().unwrap().not_after, ca.life().unwrap().not_after);
}

#[test]
fn what_is_stored_is_read_again_at_every_state_of_a_rotation() {
    let (mut keyring, mut wanted) = (settled(&["payments-0"]), wanted(&["payments-0"]));
    wanted.rotate = Some("1".to_owned());
    let waiting = Confirmed::Not(Vec::new());
    let later = start() + SignedDuration::from_hours(1);
    for (confirmed, now) in [(&waiting, start()), (&Confirmed::All, start() + SETTLE), (&Confirmed::All, later)] {
        settle(&mut keyring, &wanted, confirmed, now);
        let mut read = Keyring::read_ca(&keyring.ca_data()).unwrap();
        read.read_leaves(&keyring.leaf_data());
        assert!(read == keyring);
        assert_eq!(read.bundle(), keyring.bundle());
        // The webhook keeps both in one Secret.
        let both: keyring::Data = keyring.ca_data().into_iter().chain(keyring.leaf_data()).collect();
        let mut read = Keyring::read_ca(&both).unwrap();
        read.read_leaves(&both);
        assert!(read == keyring);
    }
}

#[test]
fn a_ca_that_cannot_be_read_is_an_error_and_never_replaced() {
    let (keyring, other) = (settled(&["payments-0"]), settled(&[]));
    let data = keyring.ca_data();
    let read = |data: &keyring::Data| Keyring::read_ca(data).map(drop).unwrap_err().to_string();
    let without = |name: &str| {
        let mut data = data.clone();
        data.remove(name);
        data
    };
    assert!(read(&without("ca.key")).contains("ca.key is missing"));
    assert!(read(&without("ca.crt")).contains("ca.crt is missing"));
    let mut damaged = data.clone();
    damaged.get_mut("ca.crt").unwrap().truncate(100);
    assert!(read(&damaged).contains("no PEM certificate"));
    *damaged.get_mut("ca.crt").unwrap() = vec![0xff; 100];
    assert!(read(&damaged).contains("UTF-8"));
    *damaged.get_mut("ca.crt").unwrap() = vec![b'x'; crate::limits::MAX_PEM_BYTES + 1];
    assert!(read(&damaged).contains("limit"));
    let mut swapped = data.clone();
    swapped.insert("ca.key".to_owned(), other.ca_data()["ca.key"].clone());
    assert!(read(&swapped).contains("not the key"));
    assert!(Keyring::read_ca(&keyring::Data::new()).unwrap() == Keyring::default());
    // A bundle that was lost follows from the CA.
    assert_eq!(Keyring::read_ca(&without("bundle.crt")).unwrap().bundle(), keyring.bundle());
}

proptest! {
    #[test]
    fn reading_any_secret_never_panics(files in prop::collection::btree_map("(ca|next|bundle|a).(crt|key)", "\\PC{0,40}|-----BEGIN CERTIFICATE-----\\PC{0,9}", 0..6)) {
        let data: keyring::Data = files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
        if let Ok(mut keyring) = Keyring::read_ca(&data) {
            keyring.read_leaves(&data);
        }
    }
}
