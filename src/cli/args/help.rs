//! What the help says beside the arguments.

pub(super) const ABOUT: &str = "Crash-tests the ways in which container registries store images";

pub(super) const LONG_ABOUT: &str = "\
Crash-tests the ways in which container registries store images.

A complete registry core runs on a simulated disk. Then the plug is pulled at every point of a workload, every state \
that a file system may leave behind there is covered (or a sample, where that takes too long), the registry is started \
on it again, and what it kept is compared with what it had promised.

Without a command, pullplug compares: the options of `compare` may be given right away.";

pub(super) const AFTER_HELP: &str = "\
Exit codes:
  0   nothing found
  1   compare: a strategy broke an invariant that it claims to keep
      explore, simulate, trace: an invariant was broken; replay: it is still broken
  2   bad usage or input, or an output that cannot be written
  69  serve, garbage-collect: the directory or the address cannot be had
  70  internal error: a bug in pullplug

Examples:
  pullplug
      every strategy under every model and workload
  pullplug --strategies durable,distribution-2.8 --models xfs,btrfs --json report.json
      some of them, and a report for programs
  skopeo copy docker://alpine oci:alpine && pullplug --image alpine
      with a real image
  pullplug explore --strategy distribution-2.8 --model btrfs --workload push --save found
      one of them, all detail, and a file to replay for each finding
  pullplug explore --strategy distribution-3.1 --model xfs --concurrent push,gc --preemptions 2
      a push and a collection at once, in every order
  pullplug replay found/distribution-2.8-btrfs-push-acked-survives.json
      what was done, what was lost, what survived
  pullplug syncs --strategy distribution-3.1 --model btrfs
      which of its syncs are needed, and which it lacks
  pullplug ops --strategy distribution-2.8 --workload push
      the file-system calls
  pullplug serve --root ./images
      a registry for clients, on a real directory
  pullplug simulate --strategy distribution-2.8 --runs 200
      clients, a network and a disk that fail, by chance
  pullplug trace registry.strace --root /var/lib/registry
      any program, from its system calls

Colours appear on terminals alone, and not if NO_COLOR is set.";

pub(super) const REPLAY_HELP: &str = "\
A crash is named by a word that compare and explore print, without blanks:

  STRATEGY/MODEL/WORKLOAD/LOSS[/INVARIANT]
    [/turns@FIRST[:TURN,...]][/restart@PLACE]/crash@PLACE[:LOST]
    [/recovery@PLACE[:LOST]][/run@HASH]

  INVARIANT  what the verdict is about; without it, about all
  FIRST      of two clients at once, who begins: 1 or 2
  TURN       the turns that the other one takes from the one that could go on
  PLACE      STEPS[.SECTORS]: so many steps done, and so many sectors of the write that comes next
  LOST       the effects that were lost, numbered in the order of execution, as in 4-6,9
  HASH       of the schedule, which another version, seed or image changes; checked if it is there

Exit codes:
  0   it is not broken (any more)
  1   it is still broken
  2   bad usage or input
  70  internal error: a bug in pullplug";

pub(super) const SYNCS_HELP: &str = "\
A sync is taken out, all of its calls at once, and every crash of every workload is looked at, after a restart and \
during recovery too. It is needed if something breaks then that holds with it, and not needed if it is proved that \
nothing does. The other way round, the fewest syncs of files and directories are sought that make the strategy safe.

It is an analysis: the exit code does not depend on what it says.

Exit codes:
  0   done
  2   bad usage or input, or an output that cannot be written
  70  internal error: a bug in pullplug

Examples:
  pullplug syncs --strategy durable --model posix
      which of its syncs are needed
  pullplug syncs --strategy distribution-3.1 --model btrfs,posix --workloads push --missing
      which it lacks
  pullplug syncs --strategy durable --model ext4-ordered --orders
      and which of its calls may change places";

pub(super) const SERVE_HELP: &str = "\
CONFIG is distribution's file, in YAML, version 0.1; REGISTRY_A_B=VALUE in the environment overrides its key a.b. \
A key that is not supported is refused by name. What distribution does not have is in a section of our own:

  pullplug:
    strategy: durable
    garbagecollect: {enabled: true, interval: 24h, deleteuntagged: false}
    limits: {connections: 4096, headertimeout: 30s, idletimeout: 3m, bodytimeout: 2m}
    quota: {defaultbytes: 10000000000, repositories: {lib/app: 50000000000}}

SIGTERM and SIGINT let requests under way finish, for http.draintimeout (30 seconds if not set); a second one does not.

Exit codes:
  0   it was told to stop, and did
  2   bad usage or configuration
  69  the directory or the address cannot be had: in use, not writable, or beyond recovery
  70  internal error: a bug in pullplug

Examples:
  pullplug serve --root ./images
      a registry for this machine, without a file
  pullplug serve --root /srv/images --addr :5000 --strategy distribution-2.8
      for everybody, with the commit protocol of distribution 2.8
  REGISTRY_STORAGE_DELETE_ENABLED=true pullplug serve /etc/docker/registry/config.yml
      in place of distribution, on its directory";

pub(super) const GARBAGE_COLLECT_HELP: &str = "\
The registry must not run meanwhile; a directory that `pullplug serve` works on is refused. With `durable`, the server \
itself can collect: see `pullplug help serve`.

Exit codes:
  0   done
  2   bad usage or configuration
  69  the directory cannot be had, or the collection failed
  70  internal error: a bug in pullplug

Examples:
  pullplug garbage-collect --dry-run /etc/docker/registry/config.yml
      what would go
  pullplug garbage-collect -m --root ./images
      with manifests that no tag names";
pub(super) const SIMULATE_HELP: &str = "\
A whole registry and its clients run on a simulated network and a simulated disk, all on one
seed. Every run draws its own mix of operations and faults. Where an invariant breaks, the
schedule is made as small as it gets, and saved.

Exit codes:
  0   nothing found
  1   an invariant was broken
  2   bad usage or input, or an output that cannot be written
  70  internal error: a bug in pullplug

Examples:
  pullplug simulate --runs 1000
  pullplug simulate --strategy distribution-2.8 --model ext4-ordered
  pullplug replay findings/distribution-2.8-ext4-ordered-acked-survives-3.json";
