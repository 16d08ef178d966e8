//! The contract of the port: one case a behaviour, each run on every implementation.
//!
//! Where the words of [`Fs`] leave something open, Linux decides, and the others follow. These are the rules of
//! precedence, for calls in which several errors apply:
//!
//! 1. Every path that a call is given is judged by `check_path` before anything is looked up: `InvalidInput`.
//! 2. A path is walked from the root; the first component that is missing gives `NotFound`, the first that is no
//!    directory `NotADirectory`, whatever the rest of the path is.
//! 3. The root (the empty path) exists and is a directory, so: `open` is `IsADirectory`, with `CreateNew`
//!    `AlreadyExists`; `mkdir` is `AlreadyExists`; `unlink` is `IsADirectory`; `rmdir` is `InvalidInput`, empty or
//!    not; a link to it is `Denied`, a link of that name `AlreadyExists`.
//! 4. `open`: with `CreateNew` whatever has the name gives `AlreadyExists`, a directory too.
//! 5. `rename`, in this order: the way to `from`; the way to `to`; the root as either of them (`InvalidInput`); `from`
//!    missing (`NotFound`); `from` lies above `to` (`InvalidInput`); `to` lies above `from` (`NotEmpty`, even if `from`
//!    is a file); both are one inode (nothing happens, both names stay); a directory over a file (`NotADirectory`);
//!    a file over a directory (`IsADirectory`, empty or not); a directory over one with entries (`NotEmpty`).
//! 6. `hard_link`, in this order: `existing`, to its end; the way to `new`; `new` taken (`AlreadyExists`); `existing` is
//!    a directory (`Denied`).
//! 7. A handle that was opened for reading refuses `write_at` (of no bytes, too) and `set_len` with `InvalidInput`.
//! 8. A length or an end of a write past `i64::MAX` is `InvalidInput`; a read past it finds nothing, as past any end.
//!    (Below that a real file system may have a limit of its own, the same error.)

mod bytes;
mod handles;
mod names;
mod rename;

use ::bytes::Bytes;
use pullplug::disk::SimFs;
use pullplug::env::run_now;
use pullplug::fs::hooked::HookedFs;
use pullplug::fs::real::{RealFs, Resolve};
use pullplug::fs::{ErrorKind, FileExt, Fs, FsError, FsExt, OpenMode, Result};

/// A fresh directory as a file system; it is removed with the guard.
pub fn real(resolve: Resolve) -> (RealFs, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (RealFs::open_root_with(dir.path(), resolve).unwrap(), dir)
}

/// Makes one test of each case for each implementation.
macro_rules! suites {
    ($cases:tt $($name:ident => $fs:expr;)*) => { $(mod $name { use super::*; suite! { $fs, $cases } })* };
}
macro_rules! suite {
    ($fs:expr, { $($module:ident: $($case:ident)*;)* }) => {
        $($(#[test] fn $case() {
            let (fs, _guard) = $fs;
            run_now($module::$case(&fs));
        })*)*
    };
}

suites! {
    {
        bytes: reads_end_with_the_file gaps_are_zeros truncation_down_and_up regrown_bytes_are_zeros
            writes_replace_in_place writes_of_nothing_change_nothing large_files offsets_have_a_limit
            lengths_have_a_limit digests_are_of_all_bytes;
        handles: open_modes open_of_directories create_new_takes_no_taken_name a_handle_follows_its_file
            an_unlinked_file_lives_in_its_handle a_replaced_file_lives_in_its_handle
            a_handle_outlives_its_directory handles_share_their_file readers_cannot_write syncs
            a_freed_name_is_a_new_file;
        names: links_share_an_inode link_errors mkdir_errors rmdir_errors unlink_errors listings_are_sorted
            listing_errors metadata_tells_files_and_directories the_way_to_a_name the_root bad_paths odd_names
            long_names;
        rename: replaces_a_file replaces_an_empty_directory moves_a_tree two_names_of_one_inode_stay
            onto_itself_does_nothing kinds_do_not_mix never_over_entries never_into_itself never_over_its_own_parent
            missing_names errors_in_order;
    }
    on_real => real(Resolve::Openat2);
    on_real_walking => real(Resolve::Walk);
    on_sim => (SimFs::new(), ());
    hooked => (HookedFs::new(SimFs::new()), ());
}

/// The kind of the error that `result` must be.
fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(FsError { kind, .. }) => kind,
    }
}

/// Writes a new file or over an old one.
async fn put(fs: &impl Fs, path: &str, data: &'static [u8]) {
    fs.open(path, OpenMode::Create).await.unwrap().write_full(0, Bytes::from_static(data)).await.unwrap();
}

/// The bytes of a file.
async fn get(fs: &impl Fs, path: &str) -> Bytes {
    fs.read(path, u64::MAX).await.unwrap()
}

/// The names in a directory, as they are listed.
async fn list(fs: &impl Fs, path: &str) -> Vec<String> {
    fs.read_dir(path).await.unwrap().into_iter().map(|e| e.name).collect()
}

/// The number of names and the inode number of a file.
async fn inode(fs: &impl Fs, path: &str) -> u64 {
    let m = fs.metadata(path).await.unwrap();
    m.ino
}
