//! One test a kind, one a reason to refuse, and damaged bytes of all sorts.

use super::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn desc(media_type: &str, size: &str, more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{D}","size":{size}{more}}}"#)
}

fn image(media_type: Option<&str>, layers: &str, more: &str) -> String {
    let field = media_type.map(|t| format!(r#""mediaType":"{t}","#)).unwrap_or_default();
    let config = desc("application/vnd.oci.image.config.v1+json", "2", "");
    format!(r#"{{"schemaVersion":2,{field}"config":{config},"layers":[{layers}]{more}}}"#)
}

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(text.as_bytes(), None)
}

#[test]
fn the_four_kinds_are_read_and_told_apart() {
    let layer = desc("application/vnd.oci.image.layer.v1.tar+gzip", "7", "");
    let child = desc(OCI_MANIFEST, "9", r#","platform":{"architecture":"arm64","os":"linux"}"#);
    for media_type in MEDIA_TYPES {
        let text = if shape(media_type) == Shape::Image {
            image(Some(media_type), &layer, "")
        } else {
            format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{child}]}}"#)
        };
        for given in [None, Some(media_type.to_owned()), Some(format!("{media_type}; charset=utf-8"))] {
            let manifest = Manifest::parse(text.as_bytes(), given.as_deref()).unwrap();
            assert_eq!(manifest.media_type(), media_type);
            let found: Vec<_> = manifest.references().iter().map(|r| (r.size, r.is_manifest)).collect();
            let index = manifest.is_index();
            assert_eq!(found, if index { vec![(9, true)] } else { vec![(2, false), (7, false)] });
        }
    }
    // Without the field, the structure decides, and a Content-Type may name it.
    assert_eq!(parse(&image(None, "", "")).unwrap().media_type(), OCI_MANIFEST);
    assert_eq!(parse(r#"{"schemaVersion":2,"manifests":[]}"#).unwrap().media_type(), OCI_INDEX);
    assert!(Manifest::parse(image(None, "", "").as_bytes(), Some(OCI_MANIFEST)).is_ok());
    let docker = Manifest::parse(image(None, "", "").as_bytes(), Some(DOCKER_MANIFEST));
    assert!(matches!(docker, Err(ManifestError::Ambiguous(_))), "{docker:?}");
}

#[test]
fn what_referrers_need() {
    let subject = desc(OCI_MANIFEST, "5", "");
    let more = format!(r#","subject":{subject},"annotations":{{"b":"2","a":"1"}}"#);
    let plain = parse(&image(None, "", &more)).unwrap();
    assert_eq!(plain.subject().unwrap().to_string(), D);
    assert_eq!(plain.annotations().iter().map(|(k, v)| format!("{k}{v}")).collect::<String>(), "a1b2");
    assert_eq!(plain.artifact_type(), Some("application/vnd.oci.image.config.v1+json"));
    assert!(plain.references().iter().all(|r| !r.is_manifest), "the subject is not required");
    let typed = parse(&image(None, "", r#","artifactType":"text/sbom""#)).unwrap();
    assert_eq!(typed.artifact_type(), Some("text/sbom"));
    assert_eq!(parse(r#"{"schemaVersion":2,"manifests":[]}"#).unwrap().artifact_type(), None);
}

#[test]
fn layers_from_elsewhere_are_optional_only_with_urls() {
    let urls = r#","urls":["https://example.com/layer"]"#;
    for kind in [DOCKER_FOREIGN_LAYER, "application/vnd.oci.image.layer.nondistributable.v1.tar"] {
        let with = parse(&image(None, &desc(kind, "1", urls), "")).unwrap();
        assert_eq!((with.references().len(), with.optional_references().len()), (1, 1));
        let without = parse(&image(None, &desc(kind, "1", ""), "")).unwrap();
        assert_eq!((without.references().len(), without.optional_references().len()), (2, 0));
    }
    let plain = parse(&image(None, &desc("application/vnd.oci.image.layer.v1.tar", "1", urls), "")).unwrap();
    assert_eq!((plain.references().len(), plain.optional_references().len()), (2, 0));
    // The layers of a build cache stand in an index, as blobs.
    let layer = desc("application/vnd.oci.image.layer.v1.tar", "1", "");
    let cache = parse(&format!(r#"{{"schemaVersion":2,"manifests":[{layer}]}}"#)).unwrap();
    assert!(!cache.references()[0].is_manifest);
}

#[test]
fn other_documents_are_refused_each_with_its_reason() {
    let err = |text: &str, given: Option<&str>| Manifest::parse(text.as_bytes(), given).unwrap_err();
    let schema_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    assert_eq!(err(r#"{"schemaVersion":1,"fsLayers":[]}"#, None), ManifestError::Schema1);
    assert_eq!(err(r#"{"schemaVersion":1}"#, Some(schema_1)), ManifestError::Schema1);
    let unknown = err(r#"{"schemaVersion":2,"mediaType":"application/x"}"#, None);
    assert_eq!(unknown, ManifestError::UnknownMediaType("application/x".into()));
    assert!(matches!(err(&image(None, "", ""), Some("application/json")), ManifestError::UnknownMediaType(_)));
    let contradiction = err(&image(Some(OCI_MANIFEST), "", ""), Some(DOCKER_MANIFEST));
    assert!(matches!(contradiction, ManifestError::Contradiction { .. }));
    for both in [
        image(None, "", r#","manifests":[]"#),
        image(Some(OCI_MANIFEST), "", r#","manifests":[]"#),
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"layers":[]}"#
            .into(),
    ] {
        assert!(matches!(err(&both, None), ManifestError::Ambiguous(_)), "{both}");
    }
    assert!(matches!(err(&image(None, "", "").replace(":2,", ":3,"), None), ManifestError::SchemaVersion(3)));
    assert!(matches!(err("{}", None), ManifestError::Ambiguous(_)));
    let twice = image(None, "", r#","layers":[]"#);
    assert!(err(&twice, None).to_string().contains("duplicate field"));
}

#[test]
fn damaged_bytes_are_errors_and_never_panics() {
    let whole = image(Some(OCI_MANIFEST), &desc("application/x", "7", ""), "");
    let mut cases = vec![Vec::new(), vec![0; 512], b"null".to_vec(), b"[]".to_vec(), b"\xff\xfe".to_vec()];
    cases.push([&whole.as_bytes()[..100], &[0; 60][..]].concat());
    cases.push(b"[".repeat(100_000));
    cases.extend((1..whole.len()).map(|n| whole.as_bytes()[..n].to_vec()));
    for bytes in cases {
        assert!(Manifest::parse(&bytes, None).is_err(), "{}", String::from_utf8_lossy(&bytes));
        assert!(Manifest::parse(&bytes, Some(OCI_MANIFEST)).is_err());
    }
    for size in ["1e400", "-1", "1.5", "18446744073709551616", "18446744073709551615", "\"7\"", "null"] {
        assert!(parse(&image(None, &desc("application/x", size, ""), "")).is_err(), "{size}");
    }
    assert!(parse(&image(None, &desc("application/x", "9223372036854775807", ""), "")).is_ok());
    for digest in ["", "sha256", "sha256:", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e", "../../x:y"] {
        let e = parse(&whole.replace(D, digest)).unwrap_err();
        assert!(matches!(e, ManifestError::Unparsable(_) | ManifestError::BadDigest { .. }), "{digest}: {e}");
    }
}

#[test]
fn depth_counts_brackets_outside_of_strings() {
    for (text, levels) in
        [("", 0), ("1", 0), ("[]", 1), (r#"{"a":[{}]}"#, 3), (r#""[[\"[""#, 0), (r#"{"\\":[]}"#, 2), ("]][", 1)]
    {
        assert_eq!(depth(text.as_bytes()), levels, "{text}");
    }
    let nested = |n: usize| format!(r#"{{"schemaVersion":2,"manifests":[],"x":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert!(Manifest::parse(nested(MAX_DEPTH - 1).as_bytes(), None).is_ok());
    assert_eq!(Manifest::parse(nested(MAX_DEPTH).as_bytes(), None), Err(ManifestError::TooDeep));
}
