//! What is open: descriptors, offsets, and the calls that read, write and sync through them.

use std::cell::RefCell;
use std::rc::Rc;

use super::TraceError;
use super::calls::{Failure, Words};
use super::notes::Notes;
use super::place::{Roots, joined};
use super::process::{Processes, Slot, child};
use super::value::{self, Descriptor};
use crate::disk::SimFs;
use crate::env::run_now;
use crate::fs::hooked::HookedFs;
use crate::fs::{ErrorKind, File, FileExt, FileKind, Fs, FsError, OpenMode};

/// An open file of the directory.
pub struct Open {
    file: <HookedFs<SimFs> as Fs>::File,
    offset: u64,
    appends: bool,
    syncs: Syncs,
}

/// What follows each write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Nothing,
    Data,
    All,
}

/// The machine that the calls are made on again.
pub struct Machine<'m> {
    /// The disk, and a list of the calls.
    pub fs: HookedFs<SimFs>,
    /// Who has what open.
    pub processes: Processes<Open>,
    /// What is not part of the replay.
    pub notes: &'m mut Notes,
    roots: &'m Roots,
    /// How many calls of the trace touched the directory.
    pub touched: u64,
}

impl<'m> Machine<'m> {
    /// A machine with `disk` for its directory.
    pub fn new(disk: SimFs, roots: &'m Roots, processes: Processes<Open>, notes: &'m mut Notes) -> Self {
        Self { fs: HookedFs::new(disk), processes, notes, roots, touched: 0 }
    }

    /// Counts a call that touched the directory.
    pub fn touch(&mut self) {
        self.touched += 1;
    }

    /// Whether arguments name anything in the directory.
    pub fn mentions(&self, arguments: &str) -> bool {
        value::mentioned(arguments).iter().any(|what| what.starts_with(b"/") && self.roots.below(what).is_some())
    }

    /// Whoever uses `AT_FDCWD` says where that is.
    pub fn learn_cwd(&mut self, words: &Words<'_>) {
        if let Some(Descriptor { number: None, to: Some(to), .. }) = Descriptor::parse(words.word(0)) {
            self.processes.set_cwd(words.call.process, to);
        }
    }

    /// The path that a string names, below the directory; nothing if it is elsewhere. `dir` is the argument from which a
    /// relative one is seen; without it, that is the working directory.
    pub fn place(&self, words: &Words<'_>, dir: Option<usize>, at: usize) -> Result<Option<String>, TraceError> {
        let name = words.string(at)?;
        let line = words.call.ended;
        let from = match dir.map(|at| words.descriptor(at)).transpose()? {
            _ if name.starts_with(b"/") => Some(Vec::new()),
            Some(Descriptor { to: Some(to), .. }) => Some(to),
            Some(Descriptor { number: Some(number), .. }) => return Err(not_annotated(line, number)),
            Some(_) | None => self.processes.cwd(words.call.process),
        };
        let from = from.ok_or_else(|| {
            TraceError::new(line, "a relative path, and the working directory is not known")
                .help("record again with: strace -f -y, from the start of the program")
        })?;
        self.text(line, &joined(&from, &name))
    }

    /// As [`place`](Self::place), for calls that change nothing: what cannot be told lies elsewhere.
    pub fn place_if_known(
        &self,
        words: &Words<'_>,
        dir: Option<usize>,
        at: usize,
    ) -> Result<Option<String>, TraceError> {
        Ok(self.place(words, dir, at).unwrap_or_default())
    }

    fn text(&self, line: usize, path: &[u8]) -> Result<Option<String>, TraceError> {
        let Some(below) = self.roots.below(path) else { return Ok(None) };
        let shown = String::from_utf8_lossy(&below).into_owned();
        String::from_utf8(below).map(Some).map_err(|_| TraceError::new(line, format!("{shown:?} is not UTF-8")))
    }

    /// Where a descriptor leads below the directory.
    fn below(&self, line: usize, descriptor: &Descriptor) -> Result<Option<String>, TraceError> {
        match (&descriptor.to, descriptor.number) {
            (Some(to), _) if to.starts_with(b"/") => self.text(line, to),
            (None, Some(number)) => Err(not_annotated(line, number)),
            _ => Ok(None),
        }
    }

    /// The descriptor in an argument: what is open there, or that it leads below the directory and nobody knows how it
    /// was opened.
    fn opened(&self, words: &Words<'_>, at: usize) -> Result<Opened, TraceError> {
        let descriptor = words.descriptor(at)?;
        let open = descriptor.number.and_then(|number| self.processes.get(words.call.process, number));
        Ok(match (open, self.below(words.call.ended, &descriptor)?) {
            (Some(open), _) => Opened::Known(open),
            (None, Some(path)) => Opened::Unknown { path, deleted: descriptor.deleted },
            (None, None) => Opened::Elsewhere,
        })
    }

    /// An open; `flags` is the argument that has them, out of range for `creat`.
    pub fn open(&mut self, words: &Words<'_>, path: Option<String>, flags: usize) -> Result<(), Failure> {
        let number = i32::try_from(words.returned).map_err(|_| words.odd(flags))?;
        let has = |flag| {
            words.has(flags, flag) || (flags == usize::MAX && matches!(flag, "O_CREAT" | "O_TRUNC" | "O_WRONLY"))
        };
        let slot = match path {
            None => None,
            Some(_) if has("O_TMPFILE") => {
                self.notes.gap("O_TMPFILE", "files without a name are not modelled", words.call.begun);
                None
            }
            Some(path) => {
                let found = run_now(self.fs.inner().metadata(&path));
                let is_dir = has("O_DIRECTORY") || found.as_ref().is_ok_and(|found| found.kind == FileKind::Dir);
                if is_dir || has("O_PATH") {
                    found?;
                    None
                } else {
                    let writes = has("O_WRONLY") || has("O_RDWR");
                    let mode = match (has("O_CREAT"), has("O_EXCL")) {
                        (true, true) => OpenMode::CreateNew,
                        (true, false) => OpenMode::Create,
                        (false, _) if writes => OpenMode::Write,
                        (false, _) => OpenMode::Read,
                    };
                    let file = run_now(self.fs.open(&path, mode))?;
                    if has("O_TRUNC") && found.is_ok() {
                        run_now(file.set_len(0))?;
                    }
                    if has("O_DIRECT") {
                        self.notes.ignored("O_DIRECT", "taken for ordinary writes", words.call.begun);
                    }
                    let syncs = match (has("O_SYNC"), has("O_DSYNC")) {
                        (true, _) => Syncs::All,
                        (false, true) => Syncs::Data,
                        (false, false) => Syncs::Nothing,
                    };
                    if writes {
                        self.touch();
                    }
                    let open = Open { file, offset: 0, appends: has("O_APPEND"), syncs };
                    Some(Slot { open: Rc::new(RefCell::new(open)), closes_on_exec: has("O_CLOEXEC") })
                }
            }
        };
        self.processes.set(words.call.process, number, slot);
        Ok(())
    }

    /// The calls on what is in files.
    pub fn bytes(&mut self, words: &Words<'_>) -> Result<bool, Failure> {
        match words.call.name {
            "write" | "writev" => self.write(words, None)?,
            "pwrite64" | "pwritev" | "pwritev2" => self.write(words, Some(3))?,
            "read" | "readv" => {
                if let Opened::Known(open) = self.opened(words, 0)? {
                    let mut open = open.borrow_mut();
                    open.offset = open.offset.saturating_add(words.returned.max(0).cast_unsigned());
                }
            }
            "lseek" | "_llseek" => {
                if let Opened::Known(open) = self.opened(words, 0)? {
                    open.borrow_mut().offset = words.returned.max(0).cast_unsigned();
                }
            }
            "ftruncate" => match self.opened(words, 0)? {
                Opened::Known(open) => {
                    run_now(open.borrow().file.set_len(words.number(1)?))?;
                    self.touch();
                }
                Opened::Unknown { path, .. } => self.set_len_at(&path, words.number(1)?)?,
                Opened::Elsewhere => {}
            },
            "fallocate" => self.allocate(words)?,
            "fsync" => self.sync(words, true)?,
            "fdatasync" => self.sync(words, false)?,
            "syncfs" => match self.opened(words, 0)? {
                Opened::Elsewhere => {
                    let why = "of a file outside of the directory: taken for another file system";
                    self.notes.ignored("syncfs", why, words.call.begun);
                }
                _ => self.sync_all()?,
            },
            "sync" => self.sync_all()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn sync_all(&mut self) -> Result<(), Failure> {
        self.touch();
        Ok(run_now(self.fs.sync_fs())?)
    }

    /// A write; `at` is the argument that says where, if one does.
    fn write(&mut self, words: &Words<'_>, at: Option<usize>) -> Result<(), Failure> {
        let call = words.call;
        let open = match self.opened(words, 0)? {
            Opened::Known(open) => open,
            Opened::Elsewhere => return Ok(()),
            Opened::Unknown { .. } => {
                let why = "through a descriptor whose opening is not in the trace";
                self.notes.gap(call.name, why, call.begun);
                return Ok(());
            }
        };
        let word = words.word(1);
        let mut data =
            if word.starts_with('"') { value::string(call.ended, word) } else { value::vector(call.ended, word) }?;
        let len = usize::try_from(words.returned).map_err(|_| words.odd(1))?;
        if data.len() < len {
            return Err(TraceError::new(call.ended, format!("{} bytes of {len} are in the trace", data.len())).into());
        }
        data.truncate(len);
        let mut open = open.borrow_mut();
        let open = &mut *open;
        // -1 is the file's own offset.
        let given = at.filter(|at| words.word(*at) != "-1").map(|at| words.number(at)).transpose()?;
        let offset = if open.appends || words.has(4, "RWF_APPEND") {
            run_now(open.file.metadata())?.len
        } else {
            given.unwrap_or(open.offset)
        };
        run_now(open.file.write_full(offset, data.into()))?;
        if given.is_none() {
            open.offset = offset.saturating_add(len as u64);
        }
        if open.syncs == Syncs::All || words.has(4, "RWF_SYNC") {
            run_now(open.file.sync_all())?;
        } else if open.syncs == Syncs::Data || words.has(4, "RWF_DSYNC") {
            run_now(open.file.sync_data())?;
        }
        self.touch();
        Ok(())
    }

    fn allocate(&mut self, words: &Words<'_>) -> Result<(), Failure> {
        let line = words.call.begun;
        match (self.opened(words, 0)?, words.word(1)) {
            (Opened::Elsewhere, _) => {}
            (Opened::Known(open), "0") => {
                let end = words.number(2)?.saturating_add(words.number(3)?);
                let open = open.borrow();
                if run_now(open.file.metadata())?.len < end {
                    run_now(open.file.set_len(end))?;
                }
                self.touch();
            }
            (_, "FALLOC_FL_KEEP_SIZE") => self.notes.ignored("fallocate", "allocation is not modelled", line),
            (_, mode) => self.notes.gap(format!("fallocate with {mode}"), "not modelled", line),
        }
        Ok(())
    }

    fn sync(&mut self, words: &Words<'_>, all: bool) -> Result<(), Failure> {
        match self.opened(words, 0)? {
            Opened::Elsewhere => return Ok(()),
            Opened::Known(open) => {
                let file = &open.borrow().file;
                if all { run_now(file.sync_all()) } else { run_now(file.sync_data()) }?;
            }
            Opened::Unknown { deleted: true, .. } => return Ok(()),
            Opened::Unknown { path, .. } => match run_now(self.fs.inner().metadata(&path))?.kind {
                FileKind::Dir => run_now(self.fs.sync_dir(&path))?,
                FileKind::File => run_now(async { self.fs.open(&path, OpenMode::Read).await?.sync_all().await })?,
            },
        }
        self.touch();
        Ok(())
    }

    /// Cuts or extends the file at `path`.
    pub fn set_len_at(&mut self, path: &str, len: u64) -> Result<(), FsError> {
        run_now(async { self.fs.open(path, OpenMode::Write).await?.set_len(len).await })
    }

    /// The calls on descriptors, directories and processes.
    pub fn process(&mut self, words: &Words<'_>) -> Result<bool, Failure> {
        let (id, returned) = (words.call.process, words.returned);
        match words.call.name {
            "close" => {
                if let Some(number) = words.descriptor(0)?.number {
                    self.processes.set(id, number, None);
                }
            }
            "close_range" => {
                let to = words.word(1).parse().unwrap_or(i64::MAX);
                let from = i64::try_from(words.number(0)?).map_err(|_| words.odd(0))?;
                self.processes.close_range(id, from, to, words.has(2, "CLOSE_RANGE_CLOEXEC"));
            }
            "dup" | "dup2" | "dup3" => self.dup(words, words.has(2, "O_CLOEXEC"))?,
            "fcntl" | "fcntl64" => match words.word(1) {
                "F_DUPFD" => self.dup(words, false)?,
                "F_DUPFD_CLOEXEC" => self.dup(words, true)?,
                "F_SETFD" => {
                    if let Some(number) = words.descriptor(0)?.number {
                        self.processes.set_closes_on_exec(id, number, words.has(2, "FD_CLOEXEC"));
                    }
                }
                "F_SETFL" => {
                    if let Opened::Known(open) = self.opened(words, 0)? {
                        open.borrow_mut().appends = words.has(2, "O_APPEND");
                    }
                }
                _ => {}
            },
            "chdir" => {
                let from = self.processes.cwd(id);
                let name = words.string(0)?;
                if from.is_some() || name.starts_with(b"/") {
                    self.processes.set_cwd(id, joined(&from.unwrap_or_default(), &name));
                }
            }
            "fchdir" => {
                if let Some(to) = words.descriptor(0)?.to {
                    self.processes.set_cwd(id, to);
                }
            }
            "execve" | "execveat" => self.processes.executed(id),
            _ => match child(words.call) {
                Some(child) if returned > 0 => self.processes.born(child),
                _ => return Ok(false),
            },
        }
        Ok(true)
    }

    fn dup(&mut self, words: &Words<'_>, closes_on_exec: bool) -> Result<(), Failure> {
        let id = words.call.process;
        let new = i32::try_from(words.returned).map_err(|_| words.odd(0))?;
        let old = words.descriptor(0)?.number;
        if old != Some(new) {
            let open = old.and_then(|old| self.processes.get(id, old));
            self.processes.set(id, new, open.map(|open| Slot { open, closes_on_exec }));
        }
        Ok(())
    }
}

/// What a descriptor is.
enum Opened {
    /// A file of the directory.
    Known(Rc<RefCell<Open>>),
    /// It leads there, and was not opened in the trace, or is no file.
    Unknown { path: String, deleted: bool },
    /// Something else.
    Elsewhere,
}

fn not_annotated(line: usize, number: i32) -> TraceError {
    TraceError::new(line, format!("it is not said where descriptor {number} leads"))
        .help("record again with: strace -y")
}

/// Whether the disk refuses for want of something that another call may have made, or taken, before.
pub fn is_about_names(error: &FsError) -> bool {
    use ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, NotEmpty, NotFound};
    matches!(error.kind, NotFound | AlreadyExists | NotADirectory | IsADirectory | NotEmpty)
}
