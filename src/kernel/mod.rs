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
//! | worker ([`worker`]) | loop devices, mkfs, mount; makes the calls; mounts what power cuts leave ([`image`]) | |
//! | program ([`registry::program`]) | the registry that is judged, and whatever it starts; goes with the worker | |
//!
//! Mounts are in mount namespaces of the server and the worker, and go with these; the loop devices go with their last
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
pub mod noise;
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
    /// Whether its images are mounted from what the kernel remembers of the disk. That spares the way to the disk's
    /// server for each of the single blocks that ext4 reads, but cuts what xfs writes at once into pages.
    is_cached: bool,
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
        // No other: in `posix` a file that is not removed yet does not show what was written elsewhere.
        models: &["ext4-writeback"],
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
        is_cached: false,
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
        is_cached: false,
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
    is_cached: true,
    models: &[],
};

impl FileSystem {
    /// The one called `name`.
    pub fn named(name: &str) -> Option<Self> {
        FILE_SYSTEMS.into_iter().find(|fs| fs.name == name)
    }

    /// Mounted so that it commits every second, if it can be.
    pub fn committing_often(mut self) -> Self {
        if self.kind == "btrfs" {
            self.options = "nodiscard,commit=1";
        }
        self
    }

    /// The models that must allow all that it leaves.
    pub fn models(&self) -> impl Iterator<Item = &'static dyn PersistenceModel> {
        self.models.iter().filter_map(|name| model::named(name))
    }
}
