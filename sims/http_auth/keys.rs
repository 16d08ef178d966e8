//! Signers for tests: keys of every kind, and the tokens that they sign.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use serde_json::{Value, json};

/// RFC 7515, appendix A.2: n, d, p, q, dp, dq, qi of a key that is secret to nobody.
const RSA: [&str; 7] = [
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
];

/// A private key.
pub enum Signer {
    Rsa,
    Other(Box<KeyPair>),
}

pub fn b64(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

impl Signer {
    pub fn p256() -> Self {
        Self::Other(Box::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()))
    }

    pub fn p384() -> Self {
        Self::Other(Box::new(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap()))
    }

    pub fn ed25519() -> Self {
        Self::Other(Box::new(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()))
    }

    pub fn pair(&self) -> &KeyPair {
        match self {
            Self::Rsa => panic!("it signs no certificates"),
            Self::Other(pair) => pair,
        }
    }

    /// The public key as a JWK, without a `kid`.
    pub fn jwk(&self) -> Value {
        let Self::Other(pair) = self else { return json!({ "kty": "RSA", "n": RSA[0], "e": "AQAB" }) };
        let raw = pair.public_key_raw();
        match raw.len() {
            32 => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(raw) }),
            65 => json!({ "kty": "EC", "crv": "P-256", "x": b64(&raw[1..33]), "y": b64(&raw[33..]) }),
            97 => json!({ "kty": "EC", "crv": "P-384", "x": b64(&raw[1..49]), "y": b64(&raw[49..]) }),
            n => panic!("a key of {n} bytes"),
        }
    }

    /// The signature by the algorithm called `alg`.
    pub fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm, der: &[u8]| {
            let key = EcdsaKeyPair::from_pkcs8(algorithm, der, &random).unwrap();
            key.sign(&random, message).unwrap().as_ref().to_vec()
        };
        match (self, alg) {
            (Self::Other(pair), "ES256") => ecdsa(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der()),
            (Self::Other(pair), "ES384") => ecdsa(&sig::ECDSA_P384_SHA384_FIXED_SIGNING, pair.serialized_der()),
            (Self::Other(pair), "EdDSA") => {
                let key = Ed25519KeyPair::from_pkcs8(pair.serialized_der()).unwrap();
                key.sign(message).as_ref().to_vec()
            }
            (Self::Rsa, _) => {
                let [n, d, p, q, dp, dq, qi] = RSA.map(|text| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap());
                let public_key = PublicKeyComponents { n, e: vec![1, 0, 1] };
                let key = KeyPairComponents { public_key, d, p, q, dP: dp, dQ: dq, qInv: qi };
                let padding: &dyn sig::RsaEncoding = match alg {
                    "RS256" => &sig::RSA_PKCS1_SHA256,
                    "RS384" => &sig::RSA_PKCS1_SHA384,
                    "RS512" => &sig::RSA_PKCS1_SHA512,
                    "PS256" => &sig::RSA_PSS_SHA256,
                    "PS384" => &sig::RSA_PSS_SHA384,
                    "PS512" => &sig::RSA_PSS_SHA512,
                    other => panic!("{other}"),
                };
                let mut signature = vec![0; 256];
                RsaKeyPair::from_components(&key).unwrap().sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            (_, other) => panic!("{other}"),
        }
    }

    /// A token with this header and these claims.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
        let signature = self.sign(header["alg"].as_str().unwrap(), signed.as_bytes());
        format!("{signed}.{}", b64(&signature))
    }
}

/// A certificate for `signer`'s key, valid from 2019 until the given year's end; signed by its own key or `by`.
pub fn certificate(
    name: &str,
    signer: &Signer,
    is_ca: bool,
    last_year: i32,
    by: Option<&Issuer<'_, &KeyPair>>,
) -> Certificate {
    let mut params = params(name, is_ca);
    params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
    match by {
        None => params.self_signed(signer.pair()).unwrap(),
        Some(issuer) => params.signed_by(signer.pair(), issuer).unwrap(),
    }
}

/// Who issues certificates as the authority called `name`.
pub fn issuer<'a>(name: &str, signer: &'a Signer) -> Issuer<'a, &'a KeyPair> {
    Issuer::new(params(name, true), signer.pair())
}

fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

/// A certificate as it stands in an `x5c`.
pub fn x5c(certificate: &Certificate) -> String {
    BASE64.encode(certificate.der())
}
