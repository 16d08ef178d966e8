//! What calls do to the tree of names: create, rename, link, remove, list. Errors come in the order of Linux.

use super::Disk;
use crate::disk::effect::What;
use crate::disk::fault::FaultKind;
use crate::disk::reader::{Aim, Reader};
use crate::disk::tree::{Ino, Node, ROOT};
use crate::fs::{DirEntry, ErrorKind, FileKind, FsError, OpenMode, Result, check_path, split};

impl Disk {
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let fail = |kind, path: &str| Err(FsError::new(kind, "rename", path));
        self.writable("rename", from)?;
        check_path("rename", to)?;
        // Both, whatever comes of the first: whether that ends it depends on more than what is noted.
        if let Some(reader) = &mut self.reader {
            reader.follows(to, Aim::Put);
        }
        let source = self.walk("rename", from, Aim::List)?;
        let target = self.walk("rename", to, Aim::Put)?;
        if from.is_empty() || to.is_empty() {
            return fail(ErrorKind::InvalidInput, from);
        }
        let Some(ino) = source.ino else { return fail(ErrorKind::NotFound, from) };
        let moves_dir = self.tree.dir(ino).is_some();
        if moves_dir && to.starts_with(from) && to[from.len()..].starts_with('/') {
            return fail(ErrorKind::InvalidInput, to);
        }
        if let Some(old) = target.ino {
            if old == ino {
                return Ok(());
            }
            // A directory cannot give way to what it contains.
            if from.starts_with(to) && from[to.len()..].starts_with('/') {
                return fail(ErrorKind::NotEmpty, to);
            }
            match (moves_dir, self.tree.dir(old)) {
                (true, None) => return fail(ErrorKind::NotADirectory, to),
                (false, Some(_)) => return fail(ErrorKind::IsADirectory, to),
                (true, Some(_)) => {
                    self.listed(old);
                    if self.tree.dir(old).is_some_and(|d| !d.is_empty()) {
                        return fail(ErrorKind::NotEmpty, to);
                    }
                }
                (false, None) => {}
            }
        }
        let effects = vec![
            self.dentry(target.dir, target.name, target.ino, Some(ino)),
            self.dentry(source.dir, source.name, Some(ino), None),
        ];
        self.execute(|| format!("rename {from} -> {to}"), effects);
        self.changed(from);
        self.changed(to);
        if moves_dir {
            self.reader.iter_mut().for_each(Reader::moved_dir);
        }
        if let Some(old) = target.ino {
            self.forget_if_unused(old);
        }
        Ok(())
    }

    /// unlink and rmdir.
    pub(super) fn remove(&mut self, op: &'static str, path: &str, kind: FileKind) -> Result<()> {
        let fail = |kind| Err(FsError::new(kind, op, path));
        let place = self.walk(op, path, Aim::List)?;
        let Some(ino) = place.ino else { return fail(ErrorKind::NotFound) };
        match (kind, self.tree.dir(ino)) {
            (FileKind::File, Some(_)) => return fail(ErrorKind::IsADirectory),
            (FileKind::Dir, None) => return fail(ErrorKind::NotADirectory),
            (FileKind::Dir, Some(_)) => {
                self.listed(ino);
                if path.is_empty() {
                    return fail(ErrorKind::InvalidInput);
                }
                if self.tree.dir(ino).is_some_and(|d| !d.is_empty()) {
                    return fail(ErrorKind::NotEmpty);
                }
            }
            (FileKind::File, None) => {}
        }
        self.writable(op, path)?;
        let effect = self.dentry(place.dir, place.name, Some(ino), None);
        self.execute(|| format!("{op} {path}"), vec![effect]);
        self.changed(path);
        self.forget_if_unused(ino);
        Ok(())
    }

    pub(super) fn open(&mut self, path: &str, mode: OpenMode) -> Result<Ino> {
        let op = if matches!(mode, OpenMode::Create | OpenMode::CreateNew) { "open-create" } else { "open" };
        let fail = |kind| Err(FsError::new(kind, op, path));
        let place = self.walk(op, path, if op == "open" { Aim::Find } else { Aim::Put })?;
        let ino = match place.ino {
            Some(_) if mode == OpenMode::CreateNew => return fail(ErrorKind::AlreadyExists),
            Some(ino) if self.tree.dir(ino).is_some() => return fail(ErrorKind::IsADirectory),
            Some(ino) => {
                if mode != OpenMode::Read {
                    self.writable(op, path)?;
                }
                if matches!(mode, OpenMode::Create) {
                    self.push(|| format!("{op} {path}"), || What::Effects(Vec::new()));
                }
                ino
            }
            None if op == "open" => return fail(ErrorKind::NotFound),
            None if self.tree.dir(place.dir).is_none() => return fail(ErrorKind::NotFound),
            None => {
                self.writable(op, path)?;
                let ino = self.tree.add(Node::empty(FileKind::File));
                let effect = self.dentry(place.dir, place.name, None, Some(ino));
                self.execute(|| format!("{op} {path}"), vec![effect]);
                self.changed(path);
                ino
            }
        };
        self.open_handle(ino);
        Ok(ino)
    }

    pub(super) fn mkdir(&mut self, path: &str) -> Result<()> {
        let place = self.walk("mkdir", path, Aim::Put)?;
        if place.ino.is_some() {
            return Err(FsError::new(ErrorKind::AlreadyExists, "mkdir", path));
        }
        self.writable("mkdir", path)?;
        let ino = self.tree.add(Node::empty(FileKind::Dir));
        let effect = self.dentry(place.dir, place.name, None, Some(ino));
        self.execute(|| format!("mkdir {path}"), vec![effect]);
        self.changed(path);
        Ok(())
    }

    /// Makes a directory and all above it, if it does not matter which of them are there; tells whether it did.
    pub(super) fn make_dirs(&mut self, path: &str) -> Result<bool> {
        check_path("mkdir", path)?;
        if path.is_empty()
            || self.faults.is_some()
            || self.read_only
            || !self.reader.as_mut().is_some_and(|r| r.makes_dirs(path))
        {
            return Ok(false);
        }
        let mut dir = ROOT;
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            let (at, name) = (&path[..end], split(&path[..end]).map_or("", |(_, name)| name));
            dir = match self.tree.dir(dir).and_then(|entries| entries.get(name)) {
                Some(ino) if self.tree.dir(*ino).is_some() => *ino,
                Some(_) => return Err(FsError::new(ErrorKind::NotADirectory, "mkdir", at)),
                None => {
                    let ino = self.tree.add(Node::empty(FileKind::Dir));
                    let effect = self.dentry(dir, name, None, Some(ino));
                    self.execute(|| format!("mkdir {at}"), vec![effect]);
                    ino
                }
            };
        }
        self.reader.iter_mut().for_each(|reader| reader.made_dirs(path));
        Ok(true)
    }

    pub(super) fn hard_link(&mut self, existing: &str, new: &str) -> Result<()> {
        check_path("link", new)?;
        let source = self.existing("link", existing)?;
        let place = self.walk("link", new, Aim::Put)?;
        if place.ino.is_some() {
            return Err(FsError::new(ErrorKind::AlreadyExists, "link", new));
        }
        if self.tree.dir(source).is_some() {
            return Err(FsError::new(ErrorKind::Denied, "link", existing));
        }
        self.writable("link", new)?;
        let effect = self.dentry(place.dir, place.name, None, Some(source));
        self.execute(|| format!("link {existing} -> {new}"), vec![effect]);
        self.changed(new);
        Ok(())
    }

    fn changed(&mut self, path: &str) {
        self.reader.iter_mut().for_each(|reader| reader.changed(path));
    }

    fn listed(&mut self, dir: Ino) {
        self.reader.iter_mut().for_each(|reader| reader.listed(dir));
    }

    pub(super) fn read_dir(&mut self, path: &str) -> Result<Vec<DirEntry>> {
        let place = self.walk("readdir", path, Aim::List)?;
        let ino = place.ino.ok_or_else(|| FsError::new(ErrorKind::NotFound, "readdir", path))?;
        if self.fires(FaultKind::ReadError) {
            return Err(FsError::new(ErrorKind::Io, "readdir", path));
        }
        self.listed(ino);
        let Some(entries) = self.tree.dir(ino) else {
            return Err(FsError::new(ErrorKind::NotADirectory, "readdir", path));
        };
        let kind = |ino: &Ino| if self.tree.dir(*ino).is_some() { FileKind::Dir } else { FileKind::File };
        Ok(entries.iter().map(|(name, ino)| DirEntry { name: name.to_string(), kind: kind(ino) }).collect())
    }
}
