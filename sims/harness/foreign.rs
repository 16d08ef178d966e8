//! A commit protocol that pullplug does not know: it wraps `durable`, and may leave something out.

use async_trait::async_trait;
use bytes::Bytes;
use pullplug::Explorer;
use pullplug::env::World;
use pullplug::env::clock::UnixSeconds;
use pullplug::fs::hooked::{Action, HookedFs};
use pullplug::fs::trace::Call;
use pullplug::fs::{Fs, FsExt, OpenMode};
use pullplug::oci::{Digest, Name, Tag, UploadId};
use pullplug::strategy::durable::Durable;
use pullplug::strategy::{Blob, Body, CollectOptions, Collected, Link, LitterSteps, Protocol, Result, Strategy};
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
    /// How its litter collection goes wrong, if it goes by places.
    pub misstep: Option<Misstep>,
}

/// What one step of litter collection does beside what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misstep {
    /// Nothing.
    None,
    /// It removes a link of another place.
    Outside,
    /// It removes what a client was promised in its own.
    Inside,
}

impl Hasty {
    /// `durable`, with nothing left out.
    pub const WHOLE: Self = Self { recovers: true, spares: true, forgets: |_| false, misstep: None };
}

impl Protocol for Hasty {
    fn name(&self) -> &str {
        "hasty"
    }

    fn build<F: Fs>(&self, fs: F, world: World) -> Option<Box<dyn Strategy<F>>> {
        let Self { recovers, spares, forgets, misstep } = *self;
        let hook = move |call: &Call| if call.is_sync() && forgets(call) { Action::Drop } else { Action::Run };
        let inner = Durable::new(HookedFs::with_hook(fs.clone(), hook), world);
        Some(Box::new(Wrapped { fs, inner, recovers, spares, misstep }))
    }
}

struct Wrapped<F: Fs> {
    fs: F,
    inner: Durable<HookedFs<F>>,
    misstep: Option<Misstep>,
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

            fn litter_steps(&self) -> Option<&dyn LitterSteps> {
                self.misstep.map(|_| self as &dyn LitterSteps)
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

#[async_trait]
impl<F: Fs> LitterSteps for Wrapped<F> {
    fn is_place(&self, dir: &str) -> bool {
        self.inner.is_place(dir)
    }

    async fn collect_litter_in(&self, place: &str) -> Result<u64> {
        let removed = self.inner.collect_litter_in(place).await?;
        let wrong = match self.misstep {
            Some(Misstep::Outside) if place.contains("/blobs/") => {
                Some("docker/registry/v2/repositories/lib/app/_manifests/tags/v1/current/link".to_owned())
            }
            Some(Misstep::Inside) if place.contains("/blobs/") => Some(format!("{place}/data")),
            _ => None,
        };
        match wrong {
            Some(path) if self.fs.exists(&path).await? => self.fs.unlink(&path).await?,
            _ => {}
        }
        Ok(removed)
    }
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
