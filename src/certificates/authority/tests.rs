use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
const YEAR: Duration = Duration::from_hours(365 * 24);
const MONTH: Duration = Duration::from_hours(30 * 24);

fn make() -> Authority {
    Authority::make(NOW, YEAR).unwrap()
}

fn read(authority: &Authority) -> Authority {
    let pem = authority.certificate().pem();
    Authority::read(pem.as_bytes(), authority.key_pem().as_bytes()).unwrap()
}

/// What a client that trusts this CA says of a server of this name at this time.
fn verify(ca: &Certificate, leaf: &Leaf, name: &str, now: i64) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.cast_unsigned()));
    let name = ServerName::try_from(name).unwrap();
    let certificate = leaf.pair.certificate();
    let verifier = verifier.build().unwrap();
    verifier
        .verify_server_cert(&certificate, &[], &name, &[], now)
        .map(drop)
}

#[test]
fn what_is_minted_is_trusted_by_whoever_trusts_the_ca() {
    let (made, other) = (make(), make());
    // Another replica reads what one has written.
    let stored = read(&made);
    assert_eq!(stored.certificate(), made.certificate());
    let names = ["surepull.ns.svc", "127.0.0.1"].map(String::from);
    let leaf = stored.mint(&names, NOW, MONTH).unwrap();
    assert_eq!(leaf.not_after, NOW + 30 * DAY);
    for (name, now) in [
        ("surepull.ns.svc", NOW),
        ("127.0.0.1", NOW),
        ("surepull.ns.svc", NOW - 3599),
        ("surepull.ns.svc", NOW + 30 * DAY - 1),
    ] {
        assert_eq!(
            verify(made.certificate(), &leaf, name, now),
            Ok(()),
            "{name} {now}"
        );
    }
    for (ca, name, now) in [
        (&made, "surepull.other.svc", NOW),
        (&made, "surepull.ns.svc", NOW - 3601),
        (&made, "surepull.ns.svc", NOW + 30 * DAY + 1),
        (&other, "surepull.ns.svc", NOW),
    ] {
        verify(ca.certificate(), &leaf, name, now).unwrap_err();
    }
}

#[test]
fn no_certificate_outlives_its_ca() {
    let made = make();
    let late = NOW + 360 * DAY;
    let leaf = made.mint(&["a".to_owned()], late, MONTH).unwrap();
    assert_eq!(leaf.not_after, NOW + 365 * DAY);
    let error = verify(made.certificate(), &leaf, "a", NOW + 366 * DAY).unwrap_err();
    assert!(
        matches!(
            error,
            rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
        ),
        "{error}"
    );
}

#[test]
fn years_beyond_all_calendars_are_cut() {
    let made = Authority::make(NOW, Duration::from_secs(u64::MAX)).unwrap();
    assert_eq!(made.certificate().not_after(), 253_402_300_799);
    assert_eq!(read(&made).certificate(), made.certificate());
}

#[test]
fn what_is_no_ca_is_told_by_its_defect() {
    let (one, other) = (make(), make());
    let pem = one.certificate().pem();
    let key = one.key_pem();
    let leaf = {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["a".to_owned()]).unwrap();
        let leaf = params.self_signed(&key).unwrap();
        (leaf.pem(), key.serialize_pem())
    };
    let twice = format!("{pem}{pem}");
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let half = &key[..key.len() / 2];
    for (certificate, key, defect) in [
        ("", &**key, Defect::Certificate),
        ("hunter2", &key, Defect::Certificate),
        (junk, &key, Defect::Certificate),
        (&twice, &key, Defect::Certificate),
        (&key, &key, Defect::Certificate),
        (&pem, "", Defect::Key),
        (&pem, "hunter2", Defect::Key),
        (&pem, half, Defect::Key),
        (&pem, &pem, Defect::Key),
        (&pem, &other.key_pem(), Defect::Mismatch),
        (&leaf.0, &leaf.1, Defect::NotAnAuthority),
    ] {
        let read = Authority::read(certificate.as_bytes(), key.as_bytes());
        assert_eq!(read.unwrap_err(), defect, "{certificate}");
    }
    assert_eq!(
        Authority::read(pem.as_bytes(), b"\xff").unwrap_err(),
        Defect::Key
    );
}

#[test]
fn cas_of_a_bundle_are_found_among_other_things() {
    let (one, other) = (make(), make());
    let key = one.key_pem();
    let bundle = [
        &one.certificate().pem(),
        "# a remark\n",
        &key,
        &other.certificate().pem(),
    ];
    let read = Certificate::read_all(bundle.concat().as_bytes());
    assert_eq!(
        read,
        [one.certificate().clone(), other.certificate().clone()]
    );
    assert_eq!(Certificate::read_all(b"-----BEGIN CERTIFICATE-----\n"), []);
}

#[test]
fn the_key_is_not_shown() {
    let made = make();
    let key = made.key_pem();
    let line = key.lines().nth(1).unwrap();
    let leaf = made.mint(&["a".to_owned()], NOW, MONTH).unwrap();
    let shown = format!("{made:?} {leaf:?}");
    assert!(!shown.contains(line), "{shown}");
    // Where PKCS#8 has the number that is secret.
    let secret = &made.key.serialized_der()[40..60];
    let secret: Vec<_> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = secret.concat();
    assert!(!shown.contains(&secret), "{shown}");
}
