//! Uploads over a restart: whatever became of the unsynced bytes, the offset is true.

use bytes::Bytes;
use pullplug::fs::{FileExt, Fs, FsExt, OpenMode};
use pullplug::oci::{Algorithm, Digest, UploadId};
use pullplug::registry::Error;
use pullplug::strategy::layout::{blob_data, hash_state, upload_data};

use super::{on_both, plant, restarted};
use crate::registry::{Stage, body, noise, nothing, repo};

/// A session that got 3000 bytes of `content` in three chunks.
async fn begun<F: Fs>(s: &Stage<F>, content: &[u8]) -> UploadId {
    let name = repo("lib/app");
    let id = s.registry.start_upload(&name).await.unwrap();
    for chunk in content[..3000].chunks(1000) {
        s.registry.append(&name, &id, None, &mut body(chunk)).await.unwrap();
    }
    id
}

#[test]
fn torn_data_makes_the_offset_smaller_and_never_wrong() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let content = noise("layer", 5000);
        let zeroed = |from: usize, to: usize| {
            let mut data = content[..3000].to_vec();
            data[from..to].fill(0);
            data
        };
        let longer = [&content[..3000], &[0; 700][..]].concat();
        let cases = [
            (content[..3000].to_vec(), 3000),
            (content[..2999].to_vec(), 2000),
            (content[..1000].to_vec(), 1000),
            (content[..500].to_vec(), 0),
            (Vec::new(), 0),
            (zeroed(2560, 3000), 2000),
            (zeroed(1024, 1536), 1000),
            (zeroed(0, 512), 0),
            (longer, 3000),
            (noise("garbage", 3000), 0),
        ];
        for (found, offset) in cases {
            let id = begun(s, &content).await;
            plant(&s.fs, &upload_data(&name, &id), &found).await;
            let s = restarted(s).await;
            assert_eq!(s.registry.upload_offset(&name, &id).await, Ok(offset), "{} bytes", found.len());
            if offset > 0 {
                let again = s.registry.append(&name, &id, Some(0), &mut body(&content[..10])).await;
                assert_eq!(again, Err(Error::RangeInvalid { at_bytes: offset, given_bytes: 0 }));
            }
            let rest = &content[offset as usize..];
            let (chunk, last) = rest.split_at(rest.len() / 2);
            s.registry.append(&name, &id, Some(offset), &mut body(chunk)).await.unwrap();
            // Other bytes than the first time would be as welcome: stale hash states vouch for nothing.
            let s = restarted(&s).await;
            let digest = Digest::sha256(&content);
            let at = offset + chunk.len() as u64;
            s.registry.commit(&name, &id, &digest, Some(at), &mut body(last)).await.unwrap();
            assert_eq!(s.read(&name, &digest).await.unwrap(), content);
            s.registry.delete_blob(&name, &digest).await.unwrap();
            s.fs.unlink(&blob_data(&digest)).await.unwrap();
        }
    }
    on_both!(scenario);
}

#[test]
fn hash_states_that_are_lost_or_torn_only_cost_bytes() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let content = noise("layer", 3000);
        for (planted, offset) in
            [(None, 2000), (Some(vec![]), 2000), (Some(vec![0; 108]), 2000), (Some(vec![7; 500]), 2000)]
        {
            let id = begun(s, &content).await;
            let state = hash_state(&name, &id, Algorithm::Sha256, 3000);
            match planted {
                Some(content) => plant(&s.fs, &state, &content).await,
                None => s.fs.unlink(&state).await.unwrap(),
            }
            assert_eq!(restarted(s).await.registry.upload_offset(&name, &id).await, Ok(offset));
        }
        // A state of other bytes, in the right form, at the right place.
        let id = begun(s, &content).await;
        let other = begun(s, &noise("other", 3000)).await;
        let state = s.fs.read(&hash_state(&name, &other, Algorithm::Sha256, 3000), 108).await.unwrap();
        plant(&s.fs, &hash_state(&name, &id, Algorithm::Sha256, 3000), &state).await;
        assert_eq!(restarted(s).await.registry.upload_offset(&name, &id).await, Ok(2000));
    }
    on_both!(scenario);
}

#[test]
fn stale_states_beyond_the_offset_go_before_other_bytes_come() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let (content, other) = (noise("layer", 5000), noise("other", 5000));
        let id = begun(s, &content).await;
        plant(&s.fs, &upload_data(&name, &id), &content[..1500]).await;
        let s = restarted(s).await;
        let mixed = [&content[..1000], &other[1000..2500]].concat();
        s.registry.append(&name, &id, Some(1000), &mut body(&mixed[1000..])).await.unwrap();
        let states =
            s.fs.list(&format!("docker/registry/v2/repositories/{name}/_uploads/{id}/hashstates/sha256")).await;
        let states: Vec<_> = states.unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(states, ["1000", "2500"], "distribution would believe the one at 2000 or 3000");
        // The older registry goes on with it.
        let s = restarted(&Stage { strategy: "distribution-2.8", ..s }).await;
        s.registry.commit(&name, &id, &Digest::sha256(&mixed), Some(2500), &mut nothing()).await.unwrap();
        assert_eq!(s.read(&name, &Digest::sha256(&mixed)).await.unwrap(), mixed);
    }
    on_both!(scenario);
}

#[test]
fn uploads_go_on_from_one_registry_to_the_other() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let of = |strategy| Stage { strategy, registry: s.registry.clone(), fs: s.fs.clone(), clock: s.clock.clone() };
        for (seed, (from, to)) in
            [("distribution-2.8", "durable"), ("distribution-3.1", "durable"), ("durable", "distribution-3.1")]
                .into_iter()
                .enumerate()
        {
            let content = noise(&format!("layer {seed}"), 5000);
            let first = restarted(&of(from)).await;
            let id = begun(&first, &content).await;
            let second = restarted(&of(to)).await;
            assert_eq!(second.registry.upload_offset(&name, &id).await, Ok(3000), "{from} to {to}");
            let digest = Digest::sha256(&content);
            second.registry.commit(&name, &id, &digest, Some(3000), &mut body(&content[3000..])).await.unwrap();
            assert_eq!(second.read(&name, &digest).await.unwrap(), content);
        }
    }
    on_both!(scenario);
}

/// After a torn rename a blob and an upload's data may be one file.
#[test]
fn a_blob_that_is_also_an_uploads_data_stays_what_it_is() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let content = noise("layer", 3000);
        let digest = s.push_blob(&name, &content).await;
        for appended in [true, false] {
            let id = begun(s, &content).await;
            s.fs.unlink(&upload_data(&name, &id)).await.unwrap();
            s.fs.hard_link(&blob_data(&digest), &upload_data(&name, &id)).await.unwrap();
            let s = restarted(s).await;
            assert_eq!(s.registry.upload_offset(&name, &id).await, Ok(3000));
            if appended {
                s.registry.append(&name, &id, Some(3000), &mut body(b"more")).await.unwrap();
                let longer = [&content[..], b"more"].concat();
                s.registry.commit(&name, &id, &Digest::sha256(&longer), None, &mut nothing()).await.unwrap();
                assert_eq!(s.read(&name, &Digest::sha256(&longer)).await.unwrap(), longer);
            } else {
                s.registry.commit(&name, &id, &digest, None, &mut nothing()).await.unwrap();
            }
            assert_eq!(s.read(&name, &digest).await.unwrap(), content);
        }
    }
    on_both!(scenario);
}

#[test]
fn what_a_failed_write_left_is_cut_off() {
    async fn scenario<F: Fs>(s: &Stage<F>) {
        let name = repo("lib/app");
        let content = noise("layer", 3000);
        let id = begun(s, &content).await;
        let file = s.fs.open(&upload_data(&name, &id), OpenMode::Write).await.unwrap();
        file.write_full(3000, Bytes::from_static(b"half of a piece")).await.unwrap();
        let digest = Digest::sha256(&content);
        s.registry.commit(&name, &id, &digest, Some(3000), &mut nothing()).await.unwrap();
        assert_eq!(s.read(&name, &digest).await.unwrap(), content);
    }
    on_both!(scenario);
}
