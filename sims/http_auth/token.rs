//! Bearer tokens: those that count, every way in which one does not, and what the challenge says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use pullplug::env::clock::{SIM_EPOCH, SimClock};
use pullplug::http::auth::{Auth, Silly, Token, TokenError, TokenOptions};
use serde_json::{Value, json};

use super::chains::thumbprint;
use super::keys::{Signer, b64, certificate};
use super::{ask, block_on, guarded, text};
use crate::script::assert_snapshot;

/// The year of the simulated clock.
const NOW: u64 = SIM_EPOCH.0;

/// An authorization server's keys, and the registry that trusts them.
pub struct World {
    dir: tempfile::TempDir,
    clock: SimClock,
}

impl World {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: SimClock::default() }
    }

    #[expect(clippy::disallowed_methods, reason = "the file is the operator's, not the registry's")]
    pub fn file(&self, name: &str, content: &str) -> Option<PathBuf> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        Some(path)
    }

    fn jwks(&self, keys: &[Value]) -> Option<PathBuf> {
        self.file("jwks.json", &json!({ "keys": keys }).to_string())
    }

    pub fn open(&self, options: TokenOptions) -> Result<axum::Router, TokenError> {
        Token::new(options, Arc::new(self.clock.clone())).map(|token| guarded(Auth::Token(token)))
    }
}

pub fn options() -> TokenOptions {
    TokenOptions {
        realm: "https://auth.example/token".into(),
        service: "registry.example".into(),
        issuer: "auth.example".into(),
        root_cert_bundle: None,
        jwks: None,
        signing_algorithms: vec![],
        leeway_seconds: 60,
        auto_redirect_path: None,
    }
}

pub fn claims(access: Value) -> Value {
    json!({
        "iss": "auth.example", "sub": "me", "aud": "registry.example",
        "exp": NOW + 300, "nbf": NOW, "iat": NOW, "jti": "1", "access": access,
    })
}

pub fn access(name: &str, actions: &[&str]) -> Value {
    json!({ "type": "repository", "name": name, "actions": actions })
}

/// The status for a token, and the `error` in its challenge.
pub fn pull(router: &axum::Router, token: &str) -> (u16, String) {
    let response = block_on(ask(router, "GET", "/v2/a/b/tags/list", &format!("Bearer {token}")));
    let challenge = response.headers().get("www-authenticate").map(|c| c.to_str().unwrap()).unwrap_or_default();
    let error = challenge.split_once(",error=\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
    (response.status().as_u16(), error.unwrap_or_default())
}

pub fn good() -> (u16, String) {
    (200, String::new())
}

pub fn invalid() -> (u16, String) {
    (401, "invalid_token".into())
}

/// The JWK of `signer` under the identifier `kid`.
fn named(signer: &Signer, kid: &str) -> Value {
    let mut jwk = signer.jwk();
    jwk["kid"] = kid.into();
    jwk
}

#[test]
fn keys_of_every_kind_sign() {
    let world = World::new();
    let signers = [Signer::Rsa, Signer::p256(), Signer::p384(), Signer::ed25519()];
    let kinds: [&[&str]; 4] =
        [&["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], &["ES256"], &["ES384"], &["EdDSA"]];
    let keys: Vec<_> = signers.iter().enumerate().map(|(i, signer)| named(signer, &i.to_string())).collect();
    let router = world.open(TokenOptions { jwks: world.jwks(&keys), ..options() }).unwrap();
    let granted = claims(json!([access("a/b", &["pull"])]));
    for (i, (signer, algorithms)) in signers.iter().zip(kinds).enumerate() {
        for alg in algorithms {
            let token = |kid: usize| signer.token(&json!({ "alg": alg, "kid": kid.to_string() }), &granted);
            assert_eq!(pull(&router, &token(i)), good(), "{alg}");
            assert_eq!(pull(&router, &token((i + 1) % 4)), invalid(), "{alg} by another key");
        }
    }
    // One algorithm is allowed: the others are not.
    let only = TokenOptions { signing_algorithms: vec!["ES256".into()], ..options() };
    let router = world.open(TokenOptions { jwks: world.jwks(&keys), ..only }).unwrap();
    assert_eq!(pull(&router, &signers[1].token(&json!({ "alg": "ES256", "kid": "1" }), &granted)), good());
    assert_eq!(pull(&router, &signers[0].token(&json!({ "alg": "RS256", "kid": "0" }), &granted)), invalid());
    // A key that says what it is for is for nothing else.
    let mut keys = keys;
    keys[0]["alg"] = "PS256".into();
    keys[1]["use"] = "enc".into();
    let router = world.open(TokenOptions { jwks: world.jwks(&keys), ..options() }).unwrap();
    for (alg, kid, signer, expected) in [
        ("PS256", "0", 0, good()),
        ("RS256", "0", 0, invalid()),
        ("ES256", "1", 1, invalid()),
        ("EdDSA", "3", 3, good()),
    ] {
        assert_eq!(
            pull(&router, &signers[signer].token(&json!({ "alg": alg, "kid": kid }), &granted)),
            expected,
            "{alg}"
        );
    }
}

#[test]
fn claims_that_do_not_count() {
    let world = World::new();
    let signer = Signer::p256();
    let router = world.open(TokenOptions { jwks: world.jwks(&[named(&signer, "k")]), ..options() }).unwrap();
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "k" });
    let granted = claims(json!([access("a/b", &["pull"])]));
    let token = signer.token(&header, &granted);
    assert_eq!(pull(&router, &token), good());

    let with = |key: &str, value: Value| {
        let mut claims = granted.clone();
        claims[key] = value;
        pull(&router, &signer.token(&header, &claims))
    };
    for (key, value) in [
        ("iss", json!("auth.example.evil")),
        ("iss", json!(null)),
        ("aud", json!("registry")),
        ("aud", json!([])),
        ("aud", json!(["a", "b"])),
        ("aud", json!(null)),
        ("exp", json!(NOW - 61)),
        ("exp", json!(0)),
        ("exp", json!("never")),
        ("exp", json!(null)),
        ("nbf", json!(NOW + 61)),
        ("nbf", json!(1e300)),
        ("access", json!({})),
    ] {
        assert_eq!(with(key, value.clone()), invalid(), "{key} = {value}");
    }
    for (key, value) in [
        ("aud", json!(["x", "registry.example"])),
        ("exp", json!(NOW - 60)),
        ("exp", json!(1e300)),
        ("nbf", json!(NOW + 60)),
        ("nbf", json!(0.5)),
        ("sub", json!("")),
    ] {
        assert_eq!(with(key, value.clone()), good(), "{key} = {value}");
    }
    assert_eq!(with("access", json!(null)), (401, "insufficient_scope".into()));
    world.clock.advance(361);
    assert_eq!(pull(&router, &token), invalid(), "its time is over");
}

#[test]
fn no_header_and_no_form_makes_a_token() {
    let world = World::new();
    let (signer, stranger) = (Signer::p256(), Signer::p256());
    let router = world.open(TokenOptions { jwks: world.jwks(&[named(&signer, "k")]), ..options() }).unwrap();
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "k" });
    let granted = claims(json!([access("a/b", &["pull"])]));
    let token = signer.token(&header, &granted);
    let headers = [
        json!({ "alg": "ES256" }),
        json!({ "alg": "ES256", "kid": "other" }),
        json!({ "alg": "ES256", "kid": "k", "crit": ["exp"] }),
        json!({ "alg": "ES256", "jwk": stranger.jwk() }),
        json!({ "alg": "ES256", "x5c": [] }),
        json!({ "alg": "ES256", "x5c": ["AAAA"] }),
    ];
    for header in headers {
        let signer = if header.get("jwk").is_some() { &stranger } else { &signer };
        assert_eq!(pull(&router, &signer.token(&header, &granted)), invalid(), "{header}");
    }
    assert_eq!(pull(&router, &signer.token(&json!({ "alg": "ES256", "jwk": signer.jwk() }), &granted)), good());
    assert_eq!(pull(&router, &stranger.token(&header, &granted)), invalid());

    let [head, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let none = b64(br#"{"alg":"none","kid":"k"}"#);
    let shared = b64(br#"{"alg":"HS256","kid":"k"}"#);
    for bad in [
        format!("{head}.{body}"),
        format!("{head}.{body}."),
        format!("{head}.{body}.{signature}.{signature}"),
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
        format!("{shared}.{body}.{signature}"),
        format!("..{signature}"),
        "x".into(),
    ] {
        assert_eq!(pull(&router, &bad), invalid(), "{bad}");
    }
}

#[test]
fn what_the_challenge_says() {
    let world = World::new();
    let signer = Signer::p256();
    let trusted = TokenOptions { jwks: world.jwks(&[named(&signer, "k")]), ..options() };
    let router = world.open(trusted.clone()).unwrap();
    let header = json!({ "alg": "ES256", "kid": "k" });
    let pull_only = format!("Bearer {}", signer.token(&header, &claims(json!([access("a/b", &["pull"])]))));
    let mount = "/v2/a/b/blobs/uploads/?mount=sha256:00&from=c";
    block_on(async {
        let mut told = String::new();
        for (what, method, uri, authorization) in [
            ("no token, no scope", "GET", "/v2/", ""),
            ("no token", "GET", "/v2/a/b/tags/list", ""),
            ("mount", "POST", mount, ""),
            ("catalog", "GET", "/v2/_catalog", pull_only.as_str()),
            ("not enough", "PUT", "/v2/a/b/manifests/v1", &pull_only),
            ("no token at all", "GET", "/v2/a/b/tags/list", "Bearer x"),
            ("other credentials", "GET", "/v2/a/b/tags/list", "Basic bWU6eA=="),
        ] {
            told += &format!(
                "--- {what}: {method} {uri}\n{}\n",
                text(ask(&router, method, uri, authorization).await).await
            );
        }
        let redirect = TokenOptions { auto_redirect_path: Some("/auth/token".into()), ..trusted };
        let router = world.open(redirect).unwrap();
        let request = http::Request::get("/v2/").header("Host", "r.example:5000").header("X-Forwarded-Proto", "http");
        let response =
            tower::ServiceExt::oneshot(router, request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        told += &format!("--- redirect\n{}\n", text(response).await);
        let silly = guarded(Auth::Silly(Silly { realm: "silly".into(), service: "test".into() }));
        told += &format!("--- silly\n{}\n", text(ask(&silly, "POST", mount, "").await).await);
        assert_snapshot("token_challenges", &told);
        let told = text(ask(&silly, "POST", mount, "anything").await).await;
        assert!(told.ends_with(&format!("\nsilly POST {mount}")), "{told}");
    });
}

#[test]
fn what_a_token_grants_is_what_it_is_good_for() {
    let world = World::new();
    let signer = Signer::p256();
    let router = world.open(TokenOptions { jwks: world.jwks(&[signer.jwk()]), ..options() }).unwrap();
    let status = |method: &str, uri: &str, granted: Value| {
        let header = json!({ "alg": "ES256", "kid": thumbprint(&signer.jwk()) });
        let token = signer.token(&header, &claims(granted));
        let response = block_on(ask(&router, method, uri, &format!("Bearer {token}")));
        let ok = response.status() == 200;
        (ok, block_on(text(response)))
    };
    let (both, push, pull) = (access("a", &["pull", "push"]), access("a", &["push"]), access("a", &["pull"]));
    let mount = "/v2/a/blobs/uploads/?mount=sha256:00&from=b";
    let catalog = json!({ "type": "registry", "name": "catalog", "actions": ["*"] });
    for (method, uri, granted, allowed) in [
        ("GET", "/v2/", json!([]), true),
        ("GET", "/v2/_catalog", json!([both]), false),
        ("GET", "/v2/_catalog", json!([catalog]), true),
        ("HEAD", "/v2/a/manifests/x", json!([push]), false),
        ("PUT", "/v2/a/manifests/x", json!([push]), false),
        ("PUT", "/v2/a/manifests/x", json!([pull]), false),
        ("PUT", "/v2/a/manifests/x", json!([push, pull]), true),
        ("PUT", "/v2/a/a/manifests/x", json!([both]), false),
        ("DELETE", "/v2/a/manifests/x", json!([both]), false),
        ("DELETE", "/v2/a/manifests/x", json!([access("a", &["*"])]), true),
        ("POST", mount, json!([both]), false),
        ("POST", mount, json!([both, access("b", &["push"])]), false),
        ("POST", mount, json!([both, access("b", &["pull"])]), true),
        ("POST", "/v2/a/blobs/uploads/?mount=x&from=b&from=c", json!([both, access("b", &["pull"])]), false),
    ] {
        assert_eq!(status(method, uri, granted.clone()).0, allowed, "{method} {uri} with {granted}");
    }
    // A mount from anywhere must not read what the token does not grant.
    let (_, told) = status("POST", "/v2/a/blobs/uploads/?mount=x", json!([both, access("c", &["pull"])]));
    assert!(told.ends_with("; may pull from a c"), "{told}");
}

#[test]
fn options_that_are_of_no_use_are_refused() {
    let world = World::new();
    let open = |options| world.open(options).map(|_| ()).unwrap_err().to_string();
    let bare = |error: String| error.replace(&world.dir.path().display().to_string(), "DIR");
    let root = certificate("root", &Signer::p256(), true, 2030, None).pem();
    let told = [
        open(options()),
        open(TokenOptions { jwks: world.file("none.json", r#"{"keys":[]}"#), ..options() }),
        open(TokenOptions { jwks: world.file("bad.json", "[]"), ..options() }),
        open(TokenOptions { jwks: world.jwks(&[json!({ "kty": "oct", "k": "AAAA" })]), ..options() }),
        open(TokenOptions { jwks: Some(Path::new("/none/such").to_owned()), ..options() }),
        open(TokenOptions { root_cert_bundle: world.file("bad.pem", &root.replace("MII", "AAA")), ..options() }),
        open(TokenOptions {
            jwks: world.jwks(&[Signer::p256().jwk()]),
            signing_algorithms: vec!["HS256".into()],
            ..options()
        }),
    ];
    assert_snapshot("token_options", &bare(told.join("\n")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_damaged_token_is_no_token(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.-]", cut in any::<bool>()) {
        let world = World::new();
        let signer = Signer::ed25519();
        let router = world.open(TokenOptions { jwks: world.jwks(&[named(&signer, "k")]), ..options() }).unwrap();
        let token = signer.token(&json!({ "alg": "EdDSA", "kid": "k" }), &claims(json!([access("a/b", &["*"])])));
        prop_assert_eq!(pull(&router, &token), good());
        let at = at.index(token.len());
        let damaged = if cut { token[..at].to_owned() } else { format!("{}{with}{}", &token[..at], &token[at + 1..]) };
        let status = pull(&router, &damaged).0;
        prop_assert_eq!(status == 200, damaged == token, "{}", damaged);
    }

    #[test]
    fn any_text_is_no_token(text in "[ -~]{0,60}|[A-Za-z0-9_-]{1,20}\\.[A-Za-z0-9_-]{1,20}\\.[A-Za-z0-9_-]{1,20}") {
        let world = World::new();
        let router = world.open(TokenOptions { jwks: world.jwks(&[named(&Signer::ed25519(), "k")]), ..options() }).unwrap();
        prop_assert_eq!(pull(&router, &text).0, 401);
    }
}
