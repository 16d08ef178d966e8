//! Certificates: chains that lead to a trusted one, chains that do not, and the names of the keys in them.

use pullplug::http::auth::TokenOptions;
use serde_json::{Value, json};

use super::keys::{Signer, b64, certificate, issuer, x5c};
use super::token::{World, access, claims, good, invalid, options, pull};

#[test]
fn certificates_vouch_for_keys() {
    let world = World::new();
    let [root, between, leaf, evil] = [(); 4].map(|()| Signer::p256());
    let root_cert = certificate("root", &root, true, 2030, None);
    let root_issuer = issuer("root", &root);
    let between_cert = certificate("between", &between, true, 2030, Some(&root_issuer));
    let leaf_cert = |last_year| certificate("leaf", &leaf, false, last_year, Some(&issuer("between", &between)));
    let direct = certificate("direct", &leaf, false, 2030, Some(&root_issuer));
    // Calls itself root, and is not.
    let forged = certificate("leaf", &evil, false, 2030, Some(&issuer("root", &evil)));
    let lone = Signer::ed25519();
    let lone_cert = certificate("lone", &lone, false, 2030, None);
    let bundle = world.file("bundle.pem", &format!("{}{}", root_cert.pem(), lone_cert.pem()));
    let router = world.open(TokenOptions { root_cert_bundle: bundle, ..options() }).unwrap();
    let granted = claims(json!([access("a/b", &["pull"])]));
    let with = |signer: &Signer, chain: &[&rcgen::Certificate]| {
        let alg = if std::ptr::eq(signer, &lone) { "EdDSA" } else { "ES256" };
        let chain: Vec<_> = chain.iter().map(|c| x5c(c)).collect();
        pull(&router, &signer.token(&json!({ "alg": alg, "x5c": chain }), &granted))
    };
    assert_eq!(with(&leaf, &[&leaf_cert(2030), &between_cert]), good());
    assert_eq!(with(&leaf, &[&direct]), good());
    assert_eq!(with(&root, &[&root_cert]), good(), "a root itself");
    assert_eq!(with(&lone, &[&lone_cert]), good(), "one that is no authority");
    for (what, signer, chain) in [
        ("a gap", &leaf, vec![&leaf_cert(2030)]),
        ("expired", &leaf, vec![&leaf_cert(2019), &between_cert]),
        ("another's", &evil, vec![&direct]),
        ("forged", &evil, vec![&forged, &root_cert]),
        ("no authority", &evil, vec![&certificate("e", &evil, false, 2030, Some(&issuer("lone", &lone))), &lone_cert]),
        ("endless", &leaf, vec![&direct, &direct, &direct, &direct, &direct, &direct, &direct, &direct, &direct]),
    ] {
        assert_eq!(with(signer, &chain), invalid(), "{what}");
    }
    // The chain may stand in a key, and the key must be the chain's.
    let in_jwk = |signer: &Signer, chain: &rcgen::Certificate| {
        let mut jwk = signer.jwk();
        jwk["x5c"] = json!([x5c(chain)]);
        pull(&router, &signer.token(&json!({ "alg": "ES256", "jwk": jwk }), &granted))
    };
    assert_eq!(in_jwk(&leaf, &direct), good());
    assert_eq!(in_jwk(&evil, &direct), invalid());
    // Certificates of the bundle are known by the names of their keys.
    let spki = rcgen::PublicKeyData::subject_public_key_info(root.pair());
    for kid in [thumbprint(&root.jwk()), libtrust(&spki)] {
        assert_eq!(pull(&router, &root.token(&json!({ "alg": "ES256", "kid": kid }), &granted)), good(), "{kid}");
    }
}

/// RFC 7638, for an EC key.
pub fn thumbprint(jwk: &Value) -> String {
    let members = format!(r#"{{"crv":{},"kty":"EC","x":{},"y":{}}}"#, jwk["crv"], jwk["x"], jwk["y"]);
    b64(pullplug::oci::Digest::sha256(members.as_bytes()).as_bytes())
}

/// As docker's authorization servers name keys.
fn libtrust(spki: &[u8]) -> String {
    let digest = pullplug::oci::Digest::sha256(spki);
    let text = data_encoding::BASE32.encode(&digest.as_bytes()[..30]);
    text.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap()).collect::<Vec<_>>().join(":")
}

#[test]
fn a_thumbprint_is_the_rfcs() {
    // RFC 7638, section 3.1.
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let mut ring = pullplug::http::auth::keys::KeyRing::default();
    ring.add_jwks(json!({ "keys": [{ "kty": "RSA", "n": n, "e": "AQAB" }] }).to_string().as_bytes()).unwrap();
    assert!(ring.knows("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
}
