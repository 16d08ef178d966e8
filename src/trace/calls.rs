//! What each call does to the directory.
//!
//! A call that is not known here and names something in the directory is a gap, whatever it does.

use super::TraceError;
use super::descriptors::Machine;
use super::line::Call;
use super::value::{self, Descriptor};
use crate::env::run_now;
use crate::fs::{FileKind, Fs, FsError};

/// Why a call could not be replayed.
#[derive(Debug)]
pub enum Failure {
    /// The trace cannot be understood.
    Trace(TraceError),
    /// The simulated disk refuses what the real one did.
    Refused(FsError),
}

impl From<TraceError> for Failure {
    fn from(e: TraceError) -> Self {
        Self::Trace(e)
    }
}

impl From<FsError> for Failure {
    fn from(e: FsError) -> Self {
        Self::Refused(e)
    }
}

/// A call and its arguments.
pub struct Words<'c> {
    /// The call.
    pub call: &'c Call<'c>,
    /// What it returned.
    pub returned: i64,
    words: Vec<&'c str>,
}

impl<'c> Words<'c> {
    pub fn of(call: &'c Call<'c>) -> Option<Self> {
        Some(Self { call, returned: call.returned?, words: value::arguments(&call.arguments) })
    }

    /// An argument; empty where there is none.
    pub fn word(&self, at: usize) -> &'c str {
        self.words.get(at).copied().unwrap_or_default()
    }

    /// A string.
    pub fn string(&self, at: usize) -> Result<Vec<u8>, TraceError> {
        value::string(self.call.ended, self.word(at))
    }

    /// A descriptor.
    pub fn descriptor(&self, at: usize) -> Result<Descriptor, TraceError> {
        Descriptor::parse(self.word(at)).ok_or_else(|| self.odd(at))
    }

    /// A number, not negative.
    pub fn number(&self, at: usize) -> Result<u64, TraceError> {
        self.word(at).parse().map_err(|_| self.odd(at))
    }

    /// Whether an argument has a flag.
    pub fn has(&self, at: usize, flag: &str) -> bool {
        self.word(at).split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == flag)
    }

    /// Why an argument makes no sense.
    pub fn odd(&self, at: usize) -> TraceError {
        let what = format!("{} has {:?} for argument {}", self.call.name, self.word(at), at + 1);
        TraceError::new(self.call.ended, what)
    }
}

/// Calls that only look, or change nothing that is modelled.
const HARMLESS: [&str; 61] = [
    "access",
    "arch_prctl",
    "bind",
    "brk",
    "connect",
    "epoll_create1",
    "epoll_ctl",
    "execve",
    "execveat",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents",
    "getdents64",
    "getsockname",
    "getxattr",
    "inotify_add_watch",
    "inotify_rm_watch",
    "lgetxattr",
    "listxattr",
    "llistxattr",
    "lstat",
    "mincore",
    "mprotect",
    "munmap",
    "name_to_handle_at",
    "newfstatat",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "pselect6",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recvfrom",
    "recvmsg",
    "select",
    "sendfile",
    "sendmsg",
    "sendto",
    "socket",
    "splice",
    "stat",
    "statfs",
    "statx",
    "vmsplice",
    "wait4",
    "write",
    "writev",
];

/// Calls that change what is not modelled.
const UNMODELLED: [&str; 21] = [
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "fchownat",
    "lchown",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "msync",
    "mlock",
    "quotactl",
];

impl Machine<'_> {
    /// Makes a call that came back.
    pub fn call(&mut self, call: &Call<'_>) -> Result<(), Failure> {
        self.processes.born(call.process);
        let Some(words) = Words::of(call) else {
            if matches!(call.name, "fsync" | "fdatasync" | "syncfs") && self.mentions(&call.arguments) {
                self.notes.gap(call.name, "it failed, and what that leaves is not known", call.begun);
            }
            return Ok(());
        };
        self.learn_cwd(&words);
        if self.names(&words)? || self.bytes(&words)? || self.process(&words)? {
            return Ok(());
        }
        self.rest(&words)
    }

    /// The calls on names.
    fn names(&mut self, words: &Words<'_>) -> Result<bool, Failure> {
        match words.call.name {
            "open" => self.open(words, self.place(words, None, 0)?, 1)?,
            "openat" | "openat2" => self.open(words, self.place(words, Some(0), 1)?, 2)?,
            "creat" => self.open(words, self.place(words, None, 0)?, usize::MAX)?,
            "mkdir" => self.mkdir(self.place(words, None, 0)?)?,
            "mkdirat" => self.mkdir(self.place(words, Some(0), 1)?)?,
            "unlink" => self.remove(self.place(words, None, 0)?, FileKind::File)?,
            "rmdir" => self.remove(self.place(words, None, 0)?, FileKind::Dir)?,
            "unlinkat" => {
                let kind = if words.has(2, "AT_REMOVEDIR") { FileKind::Dir } else { FileKind::File };
                self.remove(self.place(words, Some(0), 1)?, kind)?;
            }
            "rename" => self.two(words, self.place(words, None, 0)?, self.place(words, None, 1)?)?,
            "renameat2" if words.has(4, "RENAME_EXCHANGE") || words.has(4, "RENAME_WHITEOUT") => return Ok(false),
            "renameat" | "renameat2" => {
                self.two(words, self.place(words, Some(0), 1)?, self.place(words, Some(2), 3)?)?;
            }
            "link" => self.two(words, self.place(words, None, 0)?, self.place(words, None, 1)?)?,
            "linkat" if words.word(1) != "\"\"" => {
                self.two(words, self.place(words, Some(0), 1)?, self.place(words, Some(2), 3)?)?;
            }
            "symlink" => self.not_modelled(words, self.place(words, None, 1)?),
            "symlinkat" => self.not_modelled(words, self.place(words, Some(1), 2)?),
            "mknod" => self.not_modelled(words, self.place(words, None, 0)?),
            "mknodat" => self.not_modelled(words, self.place(words, Some(0), 1)?),
            "stat" | "lstat" | "access" => self.look(self.place_if_known(words, None, 0)?)?,
            "newfstatat" | "statx" | "faccessat" | "faccessat2" if words.word(1) != "\"\"" => {
                self.look(self.place_if_known(words, Some(0), 1)?)?;
            }
            "truncate" => {
                if let Some(path) = self.place(words, None, 0)? {
                    self.touch();
                    self.set_len_at(&path, words.number(1)?)?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn mkdir(&mut self, path: Option<String>) -> Result<(), Failure> {
        // The directory itself may well be made by the program.
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            run_now(self.fs.mkdir(&path))?;
            self.touch();
        }
        Ok(())
    }

    fn remove(&mut self, path: Option<String>, kind: FileKind) -> Result<(), Failure> {
        if let Some(path) = path {
            match kind {
                FileKind::File => run_now(self.fs.unlink(&path))?,
                FileKind::Dir => run_now(self.fs.rmdir(&path))?,
            }
            self.touch();
        }
        Ok(())
    }

    /// A rename or a link.
    fn two(&mut self, words: &Words<'_>, from: Option<String>, to: Option<String>) -> Result<(), Failure> {
        let call = words.call;
        let why = match (from, to) {
            (None, None) => return Ok(()),
            (Some(from), Some(to)) => {
                if call.name.starts_with("rename") {
                    run_now(self.fs.rename(&from, &to))?;
                } else {
                    run_now(self.fs.hard_link(&from, &to))?;
                }
                self.touch();
                return Ok(());
            }
            (None, Some(_)) => "what comes from outside of the directory is not known",
            (Some(_), None) => "it leads out of the directory",
        };
        self.notes.gap(call.name, why, call.begun);
        Ok(())
    }

    fn not_modelled(&mut self, words: &Words<'_>, path: Option<String>) {
        if path.is_some() {
            let why = "only files and directories are modelled";
            self.notes.gap(words.call.name, why, words.call.begun);
        }
    }

    /// Somebody saw `path`: it is there.
    fn look(&mut self, path: Option<String>) -> Result<(), Failure> {
        if let Some(path) = path {
            run_now(self.fs.metadata(&path))?;
        }
        Ok(())
    }

    /// What is left: calls that do not matter, and those that nobody knows.
    fn rest(&mut self, words: &Words<'_>) -> Result<(), Failure> {
        let call = words.call;
        let (name, line) = (call.name, call.begun);
        let touches = self.mentions(&call.arguments);
        match name {
            "io_uring_setup" | "io_submit" => {
                self.notes.gap(name, "what is done through it is not in the trace", line);
            }
            "mmap" => {
                let shared = words.has(3, "MAP_SHARED") || words.has(3, "MAP_SHARED_VALIDATE");
                if touches && shared && words.has(2, "PROT_WRITE") {
                    self.notes.gap(name, "what is written into a shared mapping is not in the trace", line);
                }
            }
            "copy_file_range" | "sendfile" | "splice" => {
                let out = if name == "sendfile" { 0 } else { 2 };
                if self.mentions(words.word(out)) && words.returned > 0 {
                    self.notes.gap(name, "the bytes that it copies are not in the trace", line);
                }
            }
            "ioctl" if !touches || words.word(1).starts_with("TC") || words.word(1).starts_with("FION") => {}
            "sync_file_range" if touches => self.notes.ignored(name, "it makes nothing durable", line),
            _ if HARMLESS.contains(&name) || !touches => {}
            _ if UNMODELLED.contains(&name) => {
                self.notes.ignored(name, "modes, owners, times and attributes are not modelled", line);
            }
            "renameat2" => self.notes.gap("renameat2 with RENAME_EXCHANGE or RENAME_WHITEOUT", "not modelled", line),
            "linkat" => self.notes.gap("linkat of a descriptor", "files without a name are not modelled", line),
            _ => self.notes.gap(name, "the call is not known here", line),
        }
        Ok(())
    }
}
