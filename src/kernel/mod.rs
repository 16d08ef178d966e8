//! Real kernels: what ext4, xfs and btrfs leave on a recorded disk, whenever the power goes. The models are held to that
//! ([`soundness`]), and registries are judged by it ([`registry`]).
//!
//! Linux and root only, behind the cargo feature `kernel`. Several processes, so that nothing that hangs can hold the
//! rest:
//!
//! | process | what it does | what it never does |
//! | --- | --- | --- |
//! | supervisor ([`supervise`]) | starts the others, watches their progress, ends them, sees that nothing is left | touch the disk or any mount |
//! | server ([`server`]) | serves the disk: one file over FUSE, whose writes and flushes are logged with their bytes | touch a file system on the disk |
//! | worker ([`worker`]) | loop device, mkfs, mount; makes the calls; mounts what power cuts leave ([`image`]) | |
//! | program ([`registry::program`]) | the registry that is judged, and whatever it starts; goes with the worker | |
//!
//! Mounts are in mount namespaces of the server and the worker, and go with these; the loop device goes with its last
//! user. When no image comes to its end for a while the supervisor aborts the FUSE connection, which ends all that
//! waits for the disk, and then kills.
//!
//! What [`soundness`] compares: random calls ([`calls`]) are made on the real file system and on
//! [`SimFs`](crate::disk::SimFs). Every image of the recorded disk at which a power cut may stop it is mounted (the
//! kernel replays its log) and read; the tree must be a crash state that the model allows at a cut which fits
//! ([`Space::admits`](crate::disk::space::Space::admits)). Of an image is known how many entries of the disk's log it is
//! made of; of each call, how long the log was when it started and when it had returned. So an image of `n` entries was
//! on the disk after all calls that had returned by then, and at most inside the next one.

pub mod calls;
pub mod control;
pub mod host;
pub mod image;
pub mod machine;
pub mod registry;
pub mod server;
pub mod soundness;
pub mod store;
pub mod supervise;
pub mod worker;

use crate::disk::model::{self, PersistenceModel};

/// A file system that can be held to its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Its name on the command line.
    pub name: &'static str,
    /// The kernel's name of it.
    pub kind: &'static str,
    /// The program that makes one.
    pub mkfs: &'static str,
    /// The arguments of that program, before the device.
    mkfs_args: &'static [&'static str],
    /// The options with which it is mounted.
    options: &'static str,
    /// The size of the disk.
    pub size_bytes: u64,
    /// Where its superblock is, from and to: one checksum over more than a sector. The file system takes for granted
    /// that a disk writes it whole; where it is torn nothing can be mounted, and only a repair by hand helps.
    superblock: (u64, u64),
    /// Which calls are not drawn, since its model does not know what they leave.
    pub not_compared: &'static [&'static str],
    /// The models that must allow all that it leaves: its own, then weaker ones.
    models: &'static [&'static str],
}

/// All of them.
pub const FILE_SYSTEMS: [FileSystem; 4] = [
    FileSystem {
        name: "ext4-ordered",
        options: "data=ordered",
        models: &["ext4-ordered", "ext4-ordered-weak", "posix", "posix-split-rename"],
        ..EXT4
    },
    FileSystem {
        name: "ext4-writeback",
        options: "data=writeback",
        models: &["ext4-writeback", "posix", "posix-split-rename"],
        // Freed blocks are used again at once: bytes may be in a block that an old length still shows.
        not_compared: &["truncations (what is written afterwards may be there before them)"],
        ..EXT4
    },
    FileSystem {
        name: "xfs",
        kind: "xfs",
        mkfs: "mkfs.xfs",
        // A small log, which is read whole by every mount; what is this small is called unsupported.
        mkfs_args: &["-q", "-f", "-K", "--unsupported", "-d", "agcount=1", "-l", "size=8m"],
        options: "",
        size_bytes: 64 << 20,
        superblock: (0, 512),
        not_compared: &[],
        models: &["xfs", "posix", "posix-split-rename"],
    },
    FileSystem {
        name: "btrfs",
        kind: "btrfs",
        mkfs: "mkfs.btrfs",
        mkfs_args: &["-q", "-f", "-K", "-m", "single", "-d", "single"],
        options: "nodiscard",
        size_bytes: 128 << 20,
        superblock: (64 << 10, 68 << 10),
        not_compared: &[
            // `create c; fsync c; create x; rename x c; append b 1 B; fsync b`: afterwards there is no `c`. What is
            // renamed was not logged, what it replaces was: the log loses the one name, and does not get the other.
            "renames over a file that came there since the last commit (without an fsync of the new one, both may be gone)",
            // Its entries may have been logged with the directory above, one by one.
            "renames out of a directory that was made since the last commit",
            // Of its names the first and the last may be there.
            "renames of a file that was renamed since the last commit",
            // All names of an inode come along, whichever is logged.
            "hard links that were made since the last commit",
            // It does nothing, and should the name come back, so do the old bytes.
            "an fsync of a file that has no name any more",
        ],
        models: &["btrfs", "posix-split-rename"],
    },
];

const EXT4: FileSystem = FileSystem {
    name: "ext4",
    kind: "ext4",
    mkfs: "mkfs.ext4",
    mkfs_args: &["-q", "-F", "-b", "4096", "-J", "size=4", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
    options: "",
    size_bytes: 32 << 20,
    superblock: (1024, 2048),
    not_compared: &[],
    models: &[],
};

impl FileSystem {
    /// The one called `name`.
    pub fn named(name: &str) -> Option<Self> {
        FILE_SYSTEMS.into_iter().find(|fs| fs.name == name)
    }

    /// The models that must allow all that it leaves.
    pub fn models(&self) -> impl Iterator<Item = &'static dyn PersistenceModel> {
        self.models.iter().filter_map(|name| model::named(name))
    }
}
