//! The `oci-client` crate, over TCP, against the server in this process on a real directory.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::OciImageManifest;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use pullplug::env::World;
use pullplug::fs::real::RealFs;
use pullplug::http::server::{Address, Server, Site};
use pullplug::http::{Options, router};
use pullplug::registry::Registry;
use pullplug::strategy;
use tokio::sync::oneshot;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Serves `strategy` on `root` until the sender is dropped.
async fn serve(strategy: &str, root: &RealFs) -> (SocketAddr, oneshot::Sender<()>) {
    let world = World::real().unwrap();
    let registry = Registry::new(strategy::build(strategy, root.clone(), world.clone()).unwrap(), world);
    registry.recover().await.unwrap();
    let server = Server::bind(&Address::Tcp("127.0.0.1:0".to_owned()), None).await.unwrap();
    let Address::Tcp(address) = server.address() else { panic!("{} is no port", server.address()) };
    let address = address.parse().unwrap();
    let (stop, stopped) = oneshot::channel();
    let site = Site::new(router(registry, Options::default()));
    tokio::spawn(server.run(site, async { drop(stopped.await) }));
    (address, stop)
}

fn client(use_monolithic_push: bool) -> Client {
    // It wants one even where it speaks no TLS; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(ClientConfig { protocol: ClientProtocol::Http, use_monolithic_push, ..ClientConfig::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oci_client_pushes_and_pulls() {
    for strategy in super::STRATEGIES {
        let dir = tempfile::tempdir().unwrap();
        let root = RealFs::open_root(dir.path()).unwrap();
        let (address, stop) = serve(strategy, &root).await;
        for (tag, whole) in [("chunked", false), ("whole", true)] {
            let client = client(whole);
            let image: Reference = format!("{address}/lib/app:{tag}").parse().unwrap();
            // More than one chunk, and less than a piece.
            let layers =
                [5 << 20, 1000].map(|len| ImageLayer::new(vec![len as u8 ^ 0x5a; len], LAYER.to_owned(), None));
            let config = Config::new(br#"{"architecture":"amd64","os":"linux"}"#.to_vec(), CONFIG.to_owned(), None);
            let manifest = OciImageManifest::build(&layers, &config, None);
            let pushed = client.push(&image, &layers, config.clone(), &RegistryAuth::Anonymous, Some(manifest)).await;
            assert!(pushed.unwrap().manifest_url.contains("/v2/lib/app/manifests/"));

            let pulled = client.pull(&image, &RegistryAuth::Anonymous, vec![LAYER]).await.unwrap();
            assert_eq!(pulled.config.data, config.data);
            // The client hands them over as they arrive.
            let sorted = |layers: Vec<ImageLayer>| layers.into_iter().map(|layer| layer.data).collect::<BTreeSet<_>>();
            assert_eq!(sorted(pulled.layers), sorted(layers.into()));
            let digest = pulled.digest.unwrap();
            assert_eq!(client.fetch_manifest_digest(&image, &RegistryAuth::Anonymous).await.unwrap(), digest);
            let by_digest = image.clone_with_digest(digest.clone());
            let again = client.pull(&by_digest, &RegistryAuth::Anonymous, vec![LAYER]).await.unwrap();
            assert_eq!(again.digest, Some(digest));
        }
        let image: Reference = format!("{address}/lib/app:whole").parse().unwrap();
        let tags = client(true).list_tags(&image, &RegistryAuth::Anonymous, None, None).await.unwrap();
        assert_eq!(tags.tags, ["chunked", "whole"]);
        drop(stop);
    }
}
