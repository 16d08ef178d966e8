//! The configuration: distribution's files and variables, and what is said of those that do not fit.

use std::time::Duration;

use pullplug::config::{BlobDescriptorCache, Config, Formatter, GoDuration, Level, Loaded, Net, load};

/// As Debian's package docker-registry 2.8.2 installs it.
const DEBIAN: &str = "\
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/docker-registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
auth:
  htpasswd:
    realm: basic-realm
    path: /etc/docker/registry
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

/// As short as it gets.
const SHORT: &str = "version: 0.1\nstorage: filesystem\n";

fn loaded(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, String> {
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(text, &environment).map_err(|e| match &e.help {
        Some(help) => format!("{e}\nhelp: {help}"),
        None => e.to_string(),
    })
}

fn config(text: &str, environment: &[(&str, &str)]) -> Config {
    let loaded = loaded(text, environment).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    loaded.config
}

#[test]
fn debians_file_is_read() {
    let config = config(DEBIAN, &[]);
    assert_eq!(config.storage.root().to_str(), Some("/var/lib/docker-registry"));
    assert!(config.storage.delete.enabled);
    assert_eq!(config.storage.cache.blobdescriptor, Some(BlobDescriptorCache::InMemory));
    assert_eq!(config.http.addr, ":5000");
    assert_eq!(config.http.headers["X-Content-Type-Options"], ["nosniff"]);
    assert_eq!(config.auth.htpasswd.unwrap().realm, "basic-realm");
    let check = config.health.storagedriver;
    assert_eq!((check.enabled, check.interval, check.threshold), (true, GoDuration::seconds(10), 3));
    assert_eq!(config.log.fields["service"], "registry");
}

#[test]
fn defaults_are_distributions() {
    let config = config(SHORT, &[]);
    assert_eq!(config.storage.root().to_str(), Some("/var/lib/registry"));
    let purging = &config.storage.maintenance.uploadpurging;
    assert!(purging.enabled && !purging.dryrun);
    assert_eq!((purging.age, purging.interval), (GoDuration::seconds(168 * 3600), GoDuration::seconds(24 * 3600)));
    assert!(!config.storage.delete.enabled && !config.storage.maintenance.readonly.enabled);
    assert_eq!((config.catalog.maxentries, config.http.net, config.log.level), (1000, Net::Tcp, None));
}

#[test]
fn every_section_is_understood() {
    let text = "\
version: '0.1'
log: {level: DEBUG, formatter: logstash, fields: {n: 0123, yes: yes}, accesslog: {disabled: on}}
storage:
  filesystem: &fs {rootdirectory: /srv, maxthreads: 30}
  maintenance: {uploadpurging: {enabled: true, age: 1h30m, interval: 5m, dryrun: yes}, readonly: {enabled: false}}
  redirect: {disable: true}
http:
  addr: /run/registry.sock
  net: unix
  host: https://registry.example
  relativeurls: true
  secret: 007
  draintimeout: 60s
  tls: {certificate: /c, key: /k, clientcas: [/ca], clientauth: verify-client-cert-if-given, minimumtls: tls1.3}
  debug: {addr: 'localhost:5001', prometheus: {enabled: true, path: /m}}
  http2: {disabled: true}
auth: {token: {realm: https://auth, service: s, issuer: i, rootcertbundle: /b}}
health:
  file: [{file: /tmp/down, interval: 5s}]
  http: [{uri: 'http://x/', headers: {Authorization: [Basic s3cret]}, statuscode: 204, timeout: 3s, threshold: 2}]
  tcp: [{addr: 'redis:6379'}]
notifications:
  events: {includereferences: true}
  endpoints: [{name: one, url: 'http://x/', headers: {Authorization: [s3cret]}, backoff: 1s, ignore: {actions: [pull]}}]
proxy: {remoteurl: https://hub, username: me, password: s3cret, ttl: 0}
catalog: {maxentries: -1}
validation: {manifests: {urls: {allow: ['^https://']}}}
pullplug:
  strategy: distribution-3.1
  garbagecollect: {enabled: true, interval: 6h, deleteuntagged: true}
  limits: {connections: 10, headertimeout: 1s}
";
    let config = config(text, &[]);
    assert_eq!(config.log.level, Some(Level::Debug));
    assert_eq!((&*config.log.fields["n"], &*config.log.fields["yes"]), ("0123", "yes"), "text stays as it is");
    assert_eq!((config.log.formatter, config.log.accesslog.disabled), (Formatter::Logstash, true));
    assert_eq!(config.storage.maintenance.uploadpurging.age.0, Duration::from_secs(5400));
    assert_eq!((config.http.net, config.http.secret.reveal()), (Net::Unix, "007"));
    assert_eq!(config.health.http[0].headers["Authorization"][0].reveal(), "Basic s3cret");
    assert_eq!(config.notifications.endpoints[0].ignore.actions, ["pull"]);
    assert_eq!(config.proxy.as_ref().unwrap().ttl, Some(GoDuration::seconds(0)));
    assert_eq!(config.catalog.maxentries, 1000);
    assert_eq!(config.pullplug.limits.connections, Some(10));
    let printed = format!("{config:?}");
    assert!(!printed.contains("s3cret") && !printed.contains("007"), "{printed}");
}

#[test]
fn yaml_is_read_as_go_reads_it() {
    let merged = "version: 0.1\nx: &x {maxthreads: 7}\nstorage: {filesystem: {<<: *x, rootdirectory: /a}}";
    assert!(loaded(merged, &[]).unwrap_err().starts_with("x: there is no such key"));
    let merged =
        "version: 0.1\nstorage:\n  filesystem: &x {rootdirectory: /a}\nhealth: {file: [{<<: {threshold: 3}, file: f}]}";
    assert_eq!(config(merged, &[]).health.file[0].threshold, 3);
    assert_eq!(config("version: 0.1\nloglevel: warn\nstorage: filesystem", &[]).log.level, Some(Level::Warn));
    // What is empty is as if it were not there.
    assert!(config("version: 0.1\nhttp:\nauth:\nstorage: {filesystem: {}, cache: }", &[]).auth.token.is_none());
}

#[test]
fn variables_override_and_add() {
    let config = config(
        DEBIAN,
        &[
            ("REGISTRY_HTTP_ADDR", "127.0.0.1:5001"),
            ("REGISTRY_HTTP_SECRET", "123"),
            ("REGISTRY_HTTP_HEADERS_X-OTHER", "[a, b]"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/srv"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
            ("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "12h"),
            ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"),
            ("REGISTRY_HEALTH_FILECHECKERS_0_FILE", "/tmp/down"),
            ("REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES", "true"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME", "one"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "http://x/"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_1", "{name: two, url: 'http://y/'}"),
            ("REGISTRY_LOG_FIELDS_ENVIRONMENT", "test"),
            ("REGISTRY_PULLPLUG_STRATEGY", "hashstate"),
            ("REGISTRY_CONFIGURATION_PATH", "/nowhere"),
            ("PATH", "/bin"),
        ],
    );
    assert_eq!((&*config.http.addr, config.http.secret.reveal()), ("127.0.0.1:5001", "123"));
    assert_eq!(config.http.headers["x-other"], ["a", "b"]);
    assert_eq!(config.http.headers["X-Content-Type-Options"], ["nosniff"], "what is not named stays");
    assert_eq!(config.storage.root().to_str(), Some("/srv"));
    assert!(!config.storage.delete.enabled && config.storage.maintenance.readonly.enabled);
    assert_eq!(config.storage.maintenance.uploadpurging.age, GoDuration::seconds(12 * 3600));
    assert_eq!(config.health.file[0].file.to_str(), Some("/tmp/down"));
    assert!(config.notifications.events.includereferences);
    let names: Vec<&str> = config.notifications.endpoints.iter().map(|e| &*e.name).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!((&*config.log.fields["environment"], &*config.log.fields["service"]), ("test", "registry"));
    assert_eq!(config.pullplug.strategy.as_deref(), Some("hashstate"));
}

#[test]
fn a_whole_section_is_replaced_before_its_keys() {
    let silly = [
        ("REGISTRY_AUTH_SILLY_SERVICE", "s"),
        ("REGISTRY_AUTH", "{silly: {realm: r, service: old}}"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/b"),
        ("REGISTRY_STORAGE", "filesystem: {rootdirectory: /a}"),
    ];
    let config = config(DEBIAN, &silly);
    assert!(config.auth.htpasswd.is_none());
    assert_eq!(config.auth.silly.unwrap().service, "s");
    assert_eq!(config.storage.root().to_str(), Some("/b"));
    assert!(!config.storage.delete.enabled, "the section was replaced");
    assert!(self::config(SHORT, &[("REGISTRY_AUTH", "none")]).auth.none.is_some());
}

#[test]
fn variables_that_are_no_keys_are_ignored_aloud() {
    // Kubernetes makes such for services called `registry` and `registry-http`.
    let environment = [
        ("REGISTRY_PORT", "tcp://10.0.0.1:5000"),
        ("REGISTRY_PORT_5000_TCP_PROTO", "tcp"),
        ("REGISTRY_SERVICE_HOST", "10.0.0.1"),
        ("REGISTRY_HTTP_SERVICE_HOST", "10.0.0.1"),
        ("REGISTRY_HTTP_ADDR_X", "1"),
        ("REGISTRY_HTP_ADDR", ":1"),
        ("REGISTRY_http_addr", ":1"),
        ("REGISTRY_VERSION", "9"),
    ];
    let loaded = loaded(DEBIAN, &environment).unwrap();
    assert_eq!(loaded.config.http.addr, ":5000");
    insta::with_settings!({snapshot_path => "../../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("config-warnings", loaded.warnings.join("\n"));
    });
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let in_storage = |line: &str| format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: /a}}, {line}}}\n");
    let beside = |line: &str| format!("{SHORT}{line}\n");
    let texts = [
        String::new(),
        "version: 0.2".to_owned(),
        "storage: filesystem".to_owned(),
        "version: 0.1".to_owned(),
        "version: 0.1\nstorage: {delete: {enabled: true}}".to_owned(),
        "version: 0.1\nstorage: {s3: {bucket: b}}".to_owned(),
        "version: 0.1\nstorage: [filesystem".to_owned(),
        "version: 0.1\nstorage: filesystem\nstorage: filesystem".to_owned(),
        "version: 0.1\nstorage: filesystem\n---\nversion: 0.1".to_owned(),
        "version: 0.1\nstorage: {filesystem: {rootdirectory: ''}}".to_owned(),
        in_storage("s3: {}"),
        in_storage("cache: {blobdescriptor: redis}"),
        in_storage("delete: {enable: true}"),
        in_storage("delete: {enabled: maybe}"),
        in_storage("delete: true"),
        in_storage("maintenance: {uploadpurging: {age: 1 week}}"),
        in_storage("maintenance: {uploadpurging: {interval: 0}}"),
        in_storage("middleware: []"),
        beside("redis: {addr: 'localhost:6379', password: s3cret}"),
        beside("middleware: {registry: []}"),
        beside("htttp: {addr: ':1'}"),
        beside("zzz: 1"),
        beside("log: {hooks: []}"),
        beside("log: {level: loud}"),
        beside("http: {adress: ':1'}"),
        beside("http: {net: udp}"),
        beside("http: {host: registry}"),
        beside("http: {prefix: /x/}"),
        beside("http: {headers: {X: nosniff}}"),
        beside("http: {headers: {'a b': [c]}}"),
        beside("http: {secret: [s3cret]}"),
        beside("http: {tls: {letsencrypt: {email: a@b}}}"),
        beside("http: {tls: {certificate: /c}}"),
        beside("http: {tls: {certificate: /c, key: /k, clientauth: request-client-cert}}"),
        beside("auth: {htpasswd: {realm: r, path: p}, silly: {realm: r, service: s}}"),
        beside("auth: {htpasswd: {path: p}}"),
        beside("auth: {token: {realm: r, service: s, issuer: i}}"),
        beside("auth: {ldap: {}}"),
        beside("notifications: {endpoints: [{name: x}]}"),
        beside("notifications: {endpoints: [{name: x, url: u, treshold: 5}]}"),
        beside("health: {storagedriver: {threshold: -1}}"),
        beside("proxy: {remoteurl: u, exec: {command: c}}"),
        beside("pullplug: {limits: {connections: 0}}"),
    ];
    let mut said = String::new();
    for text in texts {
        let error = loaded(&text, &[]).expect_err(&text);
        let text = text.replace('\n', " | ");
        said += &format!("{}\n  {}\n", text.trim_end_matches([' ', '|']), error.replace('\n', "\n  "));
        assert!(!error.contains("s3cret"), "{error}");
    }
    for (name, value) in [
        ("REGISTRY_STORAGE_S3_BUCKET", "b"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIR", "/b"),
        ("REGISTRY_REDIS_PASSWORD", "s3cret"),
        ("REGISTRY_HTTP_DRAINTIMEOUT", "soon"),
        ("REGISTRY_HTTP_SECRET", "[s3cret"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_1_NAME", "x"),
        ("REGISTRY_NOTIFICATIONS_ENDPOINTS_FIRST_NAME", "x"),
    ] {
        let error = loaded(&beside("notifications: {endpoints: []}"), &[(name, value)]).expect_err(name);
        assert!(!error.contains("s3cret"), "{error}");
        said += &format!("{name}={}\n  {}\n", value.replace("s3cret", "..."), error.replace('\n', "\n  "));
    }
    insta::with_settings!({snapshot_path => "../../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("config-refused", said);
    });
}

#[test]
fn a_bomb_does_not_go_off() {
    let mut text = "version: 0.1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let below = format!("*a{}", i - 1);
        text += &format!("a{i}: &a{i} [{}]\n", [below.as_str(); 10].join(", "));
    }
    assert!(loaded(&text, &[]).unwrap_err().contains("more than 100000 values"));
    let deep = format!("version: 0.1\nx: {}{}", "[".repeat(1000), "]".repeat(1000));
    assert!(loaded(&deep, &[]).unwrap_err().contains("line 2"));
    assert!(loaded(&" ".repeat(2 << 20), &[]).unwrap_err().contains("1048576"));
}

proptest::proptest! {
    #[test]
    fn no_text_is_a_panic(text in "(version: 0.1\n)?[a-z:{}\\[\\]&*<>!'\"|\n -]{0,200}", variable in "REGISTRY_[A-Z0-9_]{0,20}") {
        let _ = loaded(&text, &[(&variable, &text)]);
        let _ = loaded(SHORT, &[(&variable, &text)]);
    }
}
