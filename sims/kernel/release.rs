//! However it ends, nothing is left: no process, mount, loop device or directory; and it ends within seconds.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{NO_VERDICT, UNAVAILABLE, could, end, reaches, start, words};

/// No image may take longer.
const PATIENCE_S: &str = "4";
/// The end may take that, and what it takes to clean up on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// The processes that a process has started.
pub(super) fn children(of: u32) -> Vec<(u32, String)> {
    let all = Path::new("/proc").read_dir().unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let child = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?.parse::<u32>().ok()?;
        let args = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        (parent == of).then_some((pid, args.replace('\0', " ")))
    };
    pids.filter_map(child).collect()
}

/// The loop devices over the disk of a work directory.
fn loops(name: &str) -> Vec<PathBuf> {
    let all = Path::new("/sys/block").read_dir().unwrap().flatten().map(|entry| entry.path());
    let over = |device: &PathBuf| {
        std::fs::read_to_string(device.join("loop/backing_file")).is_ok_and(|file| file.trim_end().ends_with(name))
    };
    all.filter(over).collect()
}

/// Whether its disk is served to a worker and attached.
fn is_on(pid: u32, name: &str) -> bool {
    children(pid).len() == 2 && !loops(name).is_empty()
}

/// Does something to a run in full swing; how it ended. `None` where the machine cannot do it.
fn after(args: &[&str], disturb: impl FnOnce(&Child, &dyn Fn(&str) -> u32)) -> Option<(Option<i32>, String)> {
    let work = tempfile::tempdir().unwrap();
    let common = ["--fs", "ext4-ordered", "--runs", "100000", "--patience-s", PATIENCE_S];
    let mut child = start(work.path(), &[&common, args].concat());
    let pid = child.id();
    let name = format!("pullplug-kernel-{pid}-0");
    if reaches(&mut child, || is_on(pid, &name)) {
        // Somewhere between mkfs and an image.
        std::thread::sleep(Duration::from_millis(700));
        let find = |what: &str| children(pid).into_iter().find(|(_, args)| args.contains(what)).map_or(0, |c| c.0);
        disturb(&child, &find);
    }
    let output = end(child, SOON);
    if output.status.code() == Some(UNAVAILABLE) {
        could(&output);
        return None;
    }
    assert_eq!(loops(&name), [] as [PathBuf; 0]);
    assert_eq!(work.path().read_dir().unwrap().count(), 0, "the work directory is gone");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&name), "{mounts}");
    let of_work = work.path().display().to_string();
    let processes = Path::new("/proc").read_dir().unwrap().flatten();
    let args = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    assert_eq!(args.filter(|args| args.contains(&of_work)).collect::<Vec<_>>(), [] as [String; 0]);
    Some((output.status.code(), words(&output)))
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("there is such a process"), signal).unwrap();
}

#[track_caller]
fn assert_given_up(ended: Option<(Option<i32>, String)>, why: &str) {
    let Some((code, text)) = ended else { return };
    assert_eq!(code, Some(NO_VERDICT), "{text}");
    assert!(text.contains(why), "{text}");
}

#[test]
fn after_sigint() {
    assert_given_up(after(&[], |supervisor, _| send(supervisor.id(), Signal::INT)), "SIGINT");
}

#[test]
fn after_the_worker_was_killed() {
    assert_given_up(after(&[], |_, find| send(find("kernel work"), Signal::KILL)), "the worker was killed");
}

#[test]
fn after_the_server_was_killed() {
    // Whoever is noticed first: the server, or the worker whose disk is gone.
    let Some((code, text)) = after(&[], |_, find| send(find("serve-disk"), Signal::KILL)) else { return };
    assert!(matches!(code, Some(70 | NO_VERDICT)), "{code:?}: {text}");
}

#[test]
fn after_the_server_stopped_to_answer() {
    assert_given_up(after(&[], |_, find| send(find("serve-disk"), Signal::STOP)), "the disk hangs");
}

#[test]
fn after_a_panic_of_the_worker() {
    let Some((code, text)) = after(&["--panic-after", "15"], |_, _| {}) else { return };
    assert_eq!(code, Some(70), "{text}");
    assert!(text.contains("a panic that was asked for"), "{text}");
}

#[test]
fn after_the_supervisor_was_killed() {
    // Nobody is there to clean up: what is left is a directory, and what held the disk has gone with it.
    let work = tempfile::tempdir().unwrap();
    let mut child = start(work.path(), &["--fs", "ext4-ordered", "--runs", "100000"]);
    let pid = child.id();
    let name = format!("pullplug-kernel-{pid}-0");
    if !reaches(&mut child, || is_on(pid, &name)) {
        let output = child.wait_with_output().unwrap();
        assert!(!could(&output), "it ended too early: {}", words(&output));
        return;
    }
    std::thread::sleep(Duration::from_millis(700));
    let had = children(pid);
    send(pid, Signal::KILL);
    end(child, SOON);
    for _ in 0..500 {
        let lives = |(pid, _): &(u32, String)| Path::new(&format!("/proc/{pid}/exe")).exists();
        if loops(&name).is_empty() && !had.iter().any(lives) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("left behind: {:?}, {had:?}", loops(&name));
}
