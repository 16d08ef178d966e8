//! A commit protocol that pullplug does not know: it wraps `durable`, and may leave something out.

use async_trait::async_trait;
use bytes::Bytes;
use pullplug::Explorer;
use pullplug::env::World;
use pullplug::env::clock::UnixSeconds;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::trace::Call;
use pullplug::fs::{Fs, OpenMode};
use pullplug::oci::{Digest, Name, Tag, UploadId};
use pullplug::strategy::durable::Durable;
use pullplug::strategy::{Blob, Body, CollectOptions, Collected, Link, Protocol, Result, Strategy};
use pullplug::workload::{Workload, image::Image, subject::RegistrySubject};

use super::message;
use crate::script::assert_snapshot;

/// `durable`, or what is left of it.
pub struct Hasty {
    /// Whether what a start finds is made durable.
    pub recovers: bool,
    /// Whether a collection spares what a push relies on.
    pub spares: bool,
    /// The syncs that are left out.
    pub forgets: fn(&Call) -> bool,
}

impl Hasty {
    /// Nothing is left out.
    pub const WHOLE: Self = Self { recovers: true, spares: true, forgets: |_| false };
}

impl Protocol for Hasty {
    fn name(&self) -> &str {
        "hasty"
    }

    fn build<F: Fs>(&self, fs: F, world: World) -> Option<Box<dyn Strategy<F>>> {
        let forgets = self.forgets;
        let hook = move |call: &Call| if call.is_sync() && forgets(call) { Action::Drop } else { Action::Run };
        let inner = Durable::new(HookedFs::with_hook(fs.clone(), hook), world);
        Some(Box::new(Wrapped { fs, inner, recovers: self.recovers, spares: self.spares }))
    }
}

struct Wrapped<F: Fs> {
    fs: F,
    inner: Durable<HookedFs<F>>,
    recovers: bool,
    spares: bool,
}

/// Passes calls on.
macro_rules! passed_on {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        #[async_trait]
        impl<F: Fs> Strategy<F> for Wrapped<F> {
            fn name(&self) -> &'static str {
                "hasty"
            }

            fn claims(&self, model: &str, invariant: &str) -> bool {
                self.inner.claims(model, invariant)
            }

            async fn recover(&self) -> Result<()> {
                if self.recovers { self.inner.recover().await } else { Ok(()) }
            }

            async fn collect(&self, options: CollectOptions) -> Result<Collected> {
                self.inner.collect(CollectOptions { exclusive: !self.spares, ..options }).await
            }

            async fn open_blob(&self, repo: &Name, digest: &Digest) -> Result<Blob<F::File>> {
                let Blob { len, path, .. } = self.inner.open_blob(repo, digest).await?;
                Ok(Blob { file: self.fs.open(&path, OpenMode::Read).await?, len, path })
            }

            fn content_path(&self, digest: &Digest) -> String {
                self.inner.content_path(digest)
            }

            $(async fn $name(&self, $($arg: $ty),*) -> Result<$out> {
                self.inner.$name($($arg),*).await
            })*
        }
    };
}

passed_on! {
    collect_litter() -> u64;
    start_upload(repo: &Name) -> UploadId;
    upload_offset(repo: &Name, id: &UploadId) -> u64;
    append(repo: &Name, id: &UploadId, at: Option<u64>, body: &mut dyn Body) -> u64;
    cancel_upload(repo: &Name, id: &UploadId) -> ();
    commit(repo: &Name, id: &UploadId, digest: &Digest, at: Option<u64>, last: &mut dyn Body) -> u64;
    mount(repo: &Name, from: &Name, digest: &Digest) -> u64;
    has_content(digest: &Digest) -> bool;
    delete_blob(repo: &Name, digest: &Digest) -> ();
    put_manifest(repo: &Name, digest: &Digest, bytes: &Bytes, needs: &[Digest], tag: Option<&Tag>) -> ();
    get_manifest(repo: &Name, digest: &Digest) -> Bytes;
    delete_manifest(repo: &Name, digest: &Digest) -> ();
    resolve_tag(repo: &Name, tag: &Tag) -> Digest;
    delete_tag(repo: &Name, tag: &Tag) -> ();
    tags(repo: &Name) -> Vec<Tag>;
    revisions(repo: &Name) -> Vec<Digest>;
    repositories() -> Vec<Name>;
    purge_uploads(before: UnixSeconds, dry_run: bool) -> u64;
    links_at(path: &str) -> Vec<Link>;
}

fn explorer(recovers: bool) -> Explorer<RegistrySubject<Hasty>> {
    let [first, second] = [1, 2].map(|seed| Image::generated(seed, "v1".parse().unwrap(), &[600]));
    let push = Workload::named("push", &first, &second).unwrap();
    Explorer::new(RegistrySubject::of(Hasty { recovers, ..Hasty::WHOLE }, push).unwrap()).model("posix").budget(16_000)
}

#[test]
fn a_strategy_from_another_crate_is_judged_as_ours_are() {
    explorer(true).budget(4000).assert_safe();
    assert_snapshot("harness-foreign", &message(&explorer(false)));
}
