//! TLS: from names of files to what rustls needs. Nothing weaker than TLS 1.2 exists here.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use super::connection::Versions;

/// What the operator asks for.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// PEM file of the certificate and what leads to its root.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// PEM files of authorities of clients; without any, clients are not asked for certificates.
    pub client_authorities: Vec<PathBuf>,
    /// Whether clients may come without a certificate.
    pub client_optional: bool,
    /// `tls1.2` or `tls1.3`; the former if not set.
    pub minimum: Option<String>,
    /// Suites of TLS 1.2 by their IANA names; all that are safe if empty.
    pub cipher_suites: Vec<String>,
    /// Offered by ALPN.
    pub versions: Versions,
}

/// Why TLS cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be used.
    #[error("cannot use {}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A name that is not known.
    #[error("{what} {name:?} is not supported; supported are {known}")]
    Name {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that are.
        known: String,
    },
    /// The parts do not fit together.
    #[error("{0}")]
    Setup(String),
}

/// Reads the files, and puts all of it together.
pub fn load(options: &TlsOptions) -> Result<Arc<ServerConfig>, TlsError> {
    let setup = |e: rustls::Error| TlsError::Setup(e.to_string());
    let provider = Arc::new(provider(&options.cipher_suites)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(protocols(options.minimum.as_deref())?)
        .map_err(setup)?;
    let builder = if options.client_authorities.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(options)?), provider);
        let verifier = if options.client_optional { verifier.allow_unauthenticated() } else { verifier };
        builder.with_client_cert_verifier(verifier.build().map_err(|e| TlsError::Setup(e.to_string()))?)
    };
    let chain = certificates(&options.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&options.key).map_err(|e| unusable(&options.key, &e))?;
    let mut config = builder.with_single_cert(chain, key).map_err(|e| {
        let (certificate, key) = (options.certificate.display(), options.key.display());
        TlsError::Setup(format!("the certificate {certificate} and the key {key} do not work together: {e}"))
    })?;
    config.alpn_protocols = match options.versions {
        Versions::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Versions::Http1 => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

fn protocols(minimum: Option<&str>) -> Result<&'static [&'static SupportedProtocolVersion], TlsError> {
    static ALL: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match minimum.unwrap_or("tls1.2") {
        "tls1.2" | "" => Ok(&ALL),
        "tls1.3" => Ok(&ALL[..1]),
        other => Err(TlsError::Name {
            what: "the minimum version",
            name: other.to_owned(),
            known: "tls1.2, tls1.3".to_owned(),
        }),
    }
}

/// The cryptography, with the suites of TLS 1.2 cut down to those named. Those of 1.3 stay: none is weak.
fn provider(names: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = default_provider();
    if names.is_empty() {
        return Ok(provider);
    }
    let is_old = |suite: &rustls::SupportedCipherSuite| suite.version().version == ProtocolVersion::TLSv1_2;
    // rustls calls TLS_AES_128_GCM_SHA256 TLS13_AES_128_GCM_SHA256.
    let name_of = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    let known: Vec<String> = provider.cipher_suites.iter().map(name_of).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(TlsError::Name { what: "the cipher suite", name: name.clone(), known: known.join(", ") });
    }
    provider.cipher_suites.retain(|suite| !is_old(suite) || names.contains(&name_of(suite)));
    Ok(provider)
}

fn authorities(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for path in &options.client_authorities {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|e| unusable(path, &e))?;
        }
    }
    Ok(store)
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).map_err(|e| unusable(path, &e))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|e| unusable(path, &e))?;
    if found.is_empty() { Err(unusable(path, &"it holds no certificate")) } else { Ok(found) }
}

fn unusable(path: &std::path::Path, what: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), what: what.to_string() }
}
