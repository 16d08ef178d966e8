//! The keys that tokens may be signed with: from a JWKS file, from a bundle of certificates, and by a chain of
//! certificates that the token brings along and that leads to the bundle.
//!
//! Only public-key signatures exist here: a token signed with a shared secret, or with none, cannot be meant.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, Header};
use ring::signature::{self as sig, RsaPublicKeyComponents, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::env::clock::UnixSeconds;

/// Most certificates of a token's chain.
const MAX_CHAIN: usize = 8;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// RSA: modulus and exponent, big-endian, without leading zeros.
    Rsa(Vec<u8>, Vec<u8>),
    /// P-256: the uncompressed point.
    P256(Vec<u8>),
    /// P-384: the uncompressed point.
    P384(Vec<u8>),
    /// Ed25519.
    Ed25519(Vec<u8>),
}

impl Key {
    fn from_jwk(jwk: &Jwk) -> Result<Self, String> {
        let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|e| e.to_string());
        match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => Ok(Self::rsa(&bytes(&rsa.n)?, &bytes(&rsa.e)?)),
            AlgorithmParameters::EllipticCurve(ec) => {
                let point = [vec![4], bytes(&ec.x)?, bytes(&ec.y)?].concat();
                match ec.curve {
                    EllipticCurve::P256 => Ok(Self::P256(point)),
                    EllipticCurve::P384 => Ok(Self::P384(point)),
                    _ => Err("its curve is not P-256 or P-384".to_owned()),
                }
            }
            AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
                Ok(Self::Ed25519(bytes(&okp.x)?))
            }
            _ => Err("it is not an RSA, P-256, P-384 or Ed25519 key".to_owned()),
        }
    }

    fn from_certificate(certificate: &X509Certificate<'_>) -> Result<Self, String> {
        let info = certificate.public_key();
        match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => Ok(Self::rsa(rsa.modulus, rsa.exponent)),
            Ok(PublicKey::EC(point)) if point.key_size() == 256 => Ok(Self::P256(point.data().to_vec())),
            Ok(PublicKey::EC(point)) if point.key_size() == 384 => Ok(Self::P384(point.data().to_vec())),
            _ if info.algorithm.algorithm.to_id_string() == "1.3.101.112" => {
                Ok(Self::Ed25519(info.subject_public_key.data.to_vec()))
            }
            _ => Err("its key is not an RSA, P-256, P-384 or Ed25519 key".to_owned()),
        }
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        let trim = |n: &[u8]| n.iter().copied().skip_while(|b| *b == 0).collect();
        Self::Rsa(trim(modulus), trim(exponent))
    }

    /// Whether `signature` is this key's over `message`, by `algorithm`, which must be one of the key's kind.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa(n, e) => {
                let parameters = match algorithm {
                    Algorithm::RS256 => &sig::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &sig::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &sig::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &sig::RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &sig::RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &sig::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            Self::P256(point) if algorithm == Algorithm::ES256 => {
                UnparsedPublicKey::new(&sig::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::P384(point) if algorithm == Algorithm::ES384 => {
                UnparsedPublicKey::new(&sig::ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(key) if algorithm == Algorithm::EdDSA => {
                UnparsedPublicKey::new(&sig::ED25519, key).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }

    /// The key's RFC 7638 thumbprint.
    pub fn thumbprint(&self) -> String {
        let b64 = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let ec = |curve: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, b64(x), b64(y))
        };
        let members = match self {
            Self::Rsa(n, e) => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b64(e), b64(n)),
            Self::P256(point) => ec("P-256", point),
            Self::P384(point) => ec("P-384", point),
            Self::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64(x)),
        };
        b64(&Sha256::digest(members))
    }
}

/// Everything that may have signed a token.
#[derive(Debug, Default)]
pub struct KeyRing {
    /// Keys, and the one algorithm that each is for if it says so, by identifier.
    by_id: BTreeMap<String, (Key, Option<String>)>,
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl KeyRing {
    /// Whether nothing can be verified.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.roots.is_empty()
    }

    /// Whether a key goes by this identifier.
    pub fn knows(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Adds the keys of a JWKS, by `kid` and by thumbprint. Keys for encryption are passed over.
    pub fn add_jwks(&mut self, json: &[u8]) -> Result<(), String> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|e| format!("it is no JWKS: {e}"))?;
        for (i, jwk) in set.keys.iter().enumerate() {
            if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
                continue;
            }
            let key = Key::from_jwk(jwk).map_err(|e| format!("key {i}: {e}"))?;
            let algorithm = jwk.common.key_algorithm.as_ref().map(|a| format!("{a:?}"));
            self.by_id.insert(key.thumbprint(), (key.clone(), algorithm.clone()));
            if let Some(id) = &jwk.common.key_id {
                self.by_id.insert(id.clone(), (key, algorithm));
            }
        }
        Ok(())
    }

    /// Adds the certificates of a PEM bundle: as roots of chains (authorities alone), and their keys by both names in use for them, the
    /// thumbprint (distribution 3) and the libtrust fingerprint (before).
    pub fn add_bundle(&mut self, pem: &[u8]) -> Result<(), String> {
        for (i, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let bad = |e: String| format!("certificate {i}: {e}");
            let der = der.map_err(|e| bad(e.to_string()))?;
            let (_, certificate) = X509Certificate::from_der(&der).map_err(|e| bad(e.to_string()))?;
            let key = Key::from_certificate(&certificate).map_err(bad)?;
            self.by_id.insert(key.thumbprint(), (key.clone(), None));
            self.by_id.insert(libtrust_id(certificate.public_key().raw), (key, None));
            if certificate.is_ca() {
                let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|e| bad(e.to_string()))?;
                self.anchors.push(anchor.to_owned());
            }
            self.roots.push(der);
        }
        Ok(())
    }

    /// The key that a token with this header must have been signed with, if it is trusted. What the header brings
    /// itself (`x5c`, `jwk`) counts only when it leads to a trusted certificate or is a trusted key.
    pub fn find(&self, header: &Header, now: UnixSeconds) -> Option<Key> {
        if let Some(chain) = header.x5c.as_ref().filter(|chain| !chain.is_empty()) {
            return self.verify_chain(chain, now);
        }
        if let Some(jwk) = &header.jwk {
            let key = Key::from_jwk(jwk).ok()?;
            let trusted = match &jwk.common.x509_chain {
                Some(chain) if !chain.is_empty() => self.verify_chain(chain, now).as_ref() == Some(&key),
                _ => self.by_id.values().any(|(known, algorithm)| *known == key && fits(algorithm, header.alg)),
            };
            return trusted.then_some(key);
        }
        let (key, algorithm) = self.by_id.get(header.kid.as_ref()?)?;
        fits(algorithm, header.alg).then(|| key.clone())
    }

    /// The key of the first certificate of a chain (base64 DER) that leads to one of the roots, or is one.
    fn verify_chain(&self, chain: &[String], now: UnixSeconds) -> Option<Key> {
        if chain.len() > MAX_CHAIN {
            return None;
        }
        let chain: Result<Vec<_>, _> = chain.iter().map(|text| BASE64.decode(text.as_bytes())).collect();
        let chain: Vec<_> = chain.ok()?.into_iter().map(CertificateDer::from).collect();
        let (leaf, between) = chain.split_first()?;
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let time = x509_parser::time::ASN1Time::from_timestamp(i64::try_from(now.0).ok()?).ok()?;
        if !parsed.validity().is_valid_at(time) {
            return None;
        }
        if !self.roots.contains(leaf) {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(now.0));
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            let leaf = EndEntityCert::try_from(leaf).ok()?;
            leaf.verify_for_usage(algorithms, &self.anchors, between, time, AnyUsage, None, None).ok()?;
        }
        Key::from_certificate(&parsed).ok()
    }
}

/// Whether a key that says what it is for may be used with `algorithm`.
fn fits(only: &Option<String>, algorithm: Algorithm) -> bool {
    only.as_ref().is_none_or(|only| *only == format!("{algorithm:?}"))
}

/// The fingerprint by which libtrust calls a key: 240 bits of a hash over its SubjectPublicKeyInfo, in twelve groups.
fn libtrust_id(spki: &[u8]) -> String {
    let text = BASE32_NOPAD.encode(&Sha256::digest(spki)[..30]);
    let groups: Vec<_> = (0..text.len()).step_by(4).map(|i| &text[i..i + 4]).collect();
    groups.join(":")
}

/// A certificate that signs tokens may be meant for anything.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}
