//! TLS with certificates made on the spot: who gets in, with which versions and suites, and what is refused by name.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use pullplug::http::server::tls::{TlsError, TlsOptions, load};
use pullplug::http::server::{Address, Site, Versions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, version};

use super::{LAST_GET, Running, SHORT, echo, talk, wide};

/// An authority, a server certificate in files, and what clients need.
struct Pki {
    dir: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { dir: tempfile::tempdir().unwrap(), authority };
        let (certificate, key) = pki.issue();
        pki.write("server.crt", &certificate.pem());
        pki.write("server.key", &key.serialize_pem());
        pki.write("ca.crt", &pki.authority.pem());
        pki
    }

    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.authority).unwrap(), key)
    }

    #[expect(clippy::disallowed_methods, reason = "certificates for the server to read")]
    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path(name), pem).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn options(&self) -> TlsOptions {
        TlsOptions { certificate: self.path("server.crt"), key: self.path("server.key"), ..TlsOptions::default() }
    }

    fn start(&self, options: &TlsOptions) -> Running {
        let site = Site { limits: wide(), ..Site::new(echo()) };
        Running::start_at(&Address::Tcp("localhost:0".to_owned()), Some(load(options).unwrap()), site)
    }

    /// A client that trusts the authority, with a certificate of `identity`'s or none.
    fn client(&self, identity: Option<&Pki>, only: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(only).unwrap();
        let builder = builder.with_root_certificates(roots);
        match identity {
            None => builder.with_no_client_auth(),
            Some(pki) => {
                let (certificate, key) = pki.issue();
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        }
    }
}

const ANY: &[&rustls::SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// One request; an error where no connection comes about.
fn ask(server: &Running, config: ClientConfig) -> Result<(String, ClientConnection), String> {
    let name = "localhost".try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    let mut socket: TcpStream = server.connect();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|e| e.to_string())?;
    }
    let mut stream = StreamOwned::new(connection, socket);
    let said = talk(&mut stream, LAST_GET);
    if said.is_empty() { Err("hung up".to_owned()) } else { Ok((said, stream.conn)) }
}

#[test]
fn requests_are_answered_over_either_version() {
    let pki = Pki::new();
    let server = pki.start(&pki.options());
    for (only, expected) in
        [(&[&version::TLS12][..], ProtocolVersion::TLSv1_2), (&[&version::TLS13], ProtocolVersion::TLSv1_3)]
    {
        let (said, connection) = ask(&server, pki.client(None, only)).unwrap();
        assert!(said.ends_with("GET tcp x 0"), "{said}");
        assert_eq!(connection.protocol_version(), Some(expected));
    }
    assert!(!talk(&mut server.connect(), LAST_GET).contains("200 OK"), "nothing is served in the clear");
    assert!(ask(&server, Pki::new().client(None, ANY)).is_err(), "the certificate is the configured one");
}

#[test]
fn alpn_offers_what_is_spoken() {
    let pki = Pki::new();
    for (versions, expected) in [(Versions::Both, "h2"), (Versions::Http1, "http/1.1")] {
        let server = pki.start(&TlsOptions { versions, ..pki.options() });
        let mut config = pki.client(None, ANY);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut socket = server.connect();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        assert_eq!(connection.alpn_protocol(), Some(expected.as_bytes()));
    }
}

#[test]
fn clients_must_come_from_the_authority() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let strict = TlsOptions { client_authorities: vec![pki.path("ca.crt")], ..pki.options() };
    let lenient = TlsOptions { client_optional: true, ..strict.clone() };
    for (options, without_works) in [(strict, false), (lenient, true)] {
        let server = pki.start(&options);
        assert!(ask(&server, pki.client(Some(&pki), ANY)).is_ok());
        assert!(ask(&server, pki.client(Some(&stranger), ANY)).is_err(), "another authority's");
        assert_eq!(ask(&server, pki.client(None, ANY)).is_ok(), without_works);
    }
}

#[test]
fn versions_and_suites_can_be_cut_down() {
    let pki = Pki::new();
    let server = pki.start(&TlsOptions { minimum: Some("tls1.3".to_owned()), ..pki.options() });
    assert!(ask(&server, pki.client(None, &[&version::TLS12])).is_err());
    assert!(ask(&server, pki.client(None, &[&version::TLS13])).is_ok());

    let suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    let server = pki.start(&TlsOptions { cipher_suites: vec![suite.to_owned()], ..pki.options() });
    let (_, connection) = ask(&server, pki.client(None, &[&version::TLS12])).unwrap();
    assert_eq!(format!("{:?}", connection.negotiated_cipher_suite().unwrap().suite()), suite);
}

#[test]
fn what_cannot_be_used_is_named() {
    let pki = Pki::new();
    pki.write("empty.pem", "");
    let refused = |options: TlsOptions| load(&options).unwrap_err();
    let named = |error: &TlsError, word: &str| assert!(error.to_string().contains(word), "{error}");
    named(&refused(TlsOptions { certificate: pki.path("no.crt"), ..pki.options() }), "no.crt");
    named(&refused(TlsOptions { certificate: pki.path("empty.pem"), ..pki.options() }), "holds no certificate");
    named(&refused(TlsOptions { key: pki.path("ca.crt"), ..pki.options() }), "ca.crt");
    named(&refused(TlsOptions { client_authorities: vec![pki.path("no.pem")], ..pki.options() }), "no.pem");
    named(&refused(TlsOptions { minimum: Some("tls1.0".to_owned()), ..pki.options() }), "tls1.2, tls1.3");
    let weak = TlsOptions { cipher_suites: vec!["TLS_RSA_WITH_AES_128_CBC_SHA".to_owned()], ..pki.options() };
    named(&refused(weak), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    let stranger = Pki::new();
    named(&refused(TlsOptions { key: stranger.path("server.key"), ..pki.options() }), "do not work together");
}

#[test]
fn a_handshake_that_stalls_is_cut() {
    let pki = Pki::new();
    let mut site = Site { limits: wide(), ..Site::new(echo()) };
    site.limits.header_timeout = SHORT;
    let tls = load(&pki.options()).unwrap();
    let server = Running::start_at(&Address::Tcp("127.0.0.1:0".to_owned()), Some(tls), site);
    assert_eq!(super::rest(&mut server.connect()), "");
}
