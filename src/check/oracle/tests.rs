//! Each rule of the model, with its values after every number of marks.

use super::*;

fn repo() -> Name {
    "lib/app".parse().unwrap()
}

fn digest(of: &str) -> Digest {
    Digest::sha256(of.as_bytes())
}

fn put_blob(of: &str) -> Option<Event> {
    Some(Event::PutBlob { repo: repo(), digest: digest(of), upload: None })
}

fn put_manifest(of: &str, blobs: &[&str], tag: Option<&str>) -> Option<Event> {
    let blobs = blobs.iter().map(|b| digest(b)).collect();
    let tag = tag.map(|t| t.parse().unwrap());
    Some(Event::PutManifest { repo: repo(), digest: digest(of), blobs, tag })
}

fn delete_manifest(of: &str) -> Option<Event> {
    Some(Event::DeleteManifest(repo(), digest(of)))
}

fn delete_blob(of: &str) -> Option<Event> {
    Some(Event::DeleteBlob(repo(), digest(of)))
}

/// The marks of operations that run one after the other.
fn serial(passed: usize) -> Vec<Mark> {
    (0..passed).map(|m| if m % 2 == 0 { Mark::Begin(m / 2) } else { Mark::End(m / 2) }).collect()
}

/// What is expected of a blob after each number of marks.
fn blob_course(events: &[Option<Event>], of: &str) -> Vec<Option<Expect>> {
    let at = |n| Oracle::new(events, &serial(n)).blobs().get(&(repo(), digest(of))).copied();
    (0..=2 * events.len()).map(at).collect()
}

fn manifest_course(events: &[Option<Event>], of: &str) -> Vec<Option<Expect>> {
    let at = |n| Oracle::new(events, &serial(n)).manifests().get(&(repo(), digest(of))).copied();
    (0..=2 * events.len()).map(at).collect()
}

fn tag_after(events: &[Option<Event>], marks: &[Mark]) -> (Vec<&'static str>, bool) {
    let names: BTreeMap<_, _> = ["a", "b", "c"].into_iter().map(|n| (Some(digest(n)), n)).collect();
    let tags = Oracle::new(events, marks).tags();
    let Some(expect) = tags.get(&(repo(), "v1".parse().unwrap())) else { return (vec![], false) };
    let mut words: Vec<_> = expect.allowed.iter().map(|v| names.get(v).copied().unwrap_or("-")).collect();
    words.sort_unstable();
    (words, expect.moving)
}

const MUST: Option<Expect> = Some(Expect::Must);
const MAY: Option<Expect> = Some(Expect::May);
const NOT: Option<Expect> = Some(Expect::MustNot);

#[test]
fn a_blob_obliges_from_its_answer_on() {
    assert_eq!(blob_course(&[put_blob("x")], "x"), [None, MAY, MUST]);
}

#[test]
fn a_collection_that_started_later_ends_a_blobs_obligation() {
    let events = [put_blob("x"), Some(Event::Collect), put_blob("x")];
    assert_eq!(blob_course(&events, "x"), [None, MAY, MUST, MAY, MAY, MAY, MUST]);
    // A collection that was under way when the blob was answered ends nothing, done or not.
    let overlapping = [Mark::Begin(0), Mark::Begin(1), Mark::End(0), Mark::End(1)];
    let oracle = Oracle::new(&events, &overlapping);
    assert_eq!(oracle.blobs()[&(repo(), digest("x"))], Expect::Must);
}

#[test]
fn a_manifest_binds_what_it_references() {
    let events = [put_blob("x"), put_manifest("m", &["x"], None), Some(Event::Collect), delete_manifest("m")];
    // After the manifest's answer the collection changes nothing; once its deletion begins, it does.
    assert_eq!(blob_course(&events, "x"), [None, MAY, MUST, MUST, MUST, MUST, MUST, MAY, MAY]);
    assert_eq!(manifest_course(&events, "m"), [None, None, None, MAY, MUST, MUST, MUST, MAY, NOT]);
    // It binds a blob that nothing in this history put.
    assert_eq!(blob_course(&events[1..], "x"), [None, None, MUST, MUST, MUST, MAY, MAY]);
}

#[test]
fn an_unanswered_manifest_binds_nothing() {
    let events = [put_blob("x"), Some(Event::Collect), put_manifest("m", &["x"], None)];
    assert_eq!(blob_course(&events, "x"), [None, MAY, MUST, MAY, MAY, MAY, MUST]);
}

#[test]
fn a_deleted_blob_must_not_be_there() {
    let events = [put_blob("x"), delete_blob("x"), put_blob("x")];
    assert_eq!(blob_course(&events, "x"), [None, MAY, MUST, MAY, NOT, MAY, MUST]);
    // Deleted on purpose under a manifest that references it: the manifest does not bring it back.
    let events = [put_blob("x"), put_manifest("m", &["x"], None), delete_blob("x")];
    assert_eq!(blob_course(&events, "x"), [None, MAY, MUST, MUST, MUST, MAY, NOT]);
    // A put and a deletion at the same time: either may have been last.
    let marks = [Mark::Begin(0), Mark::Begin(1), Mark::End(0), Mark::End(1)];
    assert_eq!(Oracle::new(&events[..1], &marks).blobs()[&(repo(), digest("x"))], Expect::Must);
    let both = [put_blob("x"), delete_blob("x")];
    assert_eq!(Oracle::new(&both, &marks).blobs()[&(repo(), digest("x"))], Expect::May);
}

#[test]
fn a_manifest_put_again_is_there_again() {
    let events = [put_manifest("m", &[], None), delete_manifest("m"), put_manifest("m", &[], None)];
    assert_eq!(manifest_course(&events, "m"), [None, MAY, MUST, MAY, NOT, MAY, MUST]);
}

#[test]
fn a_first_tag_is_there_or_not() {
    let events = [put_manifest("a", &[], Some("v1"))];
    assert_eq!(tag_after(&events, &serial(0)), (vec![], false));
    assert_eq!(tag_after(&events, &serial(1)), (vec!["-", "a"], false));
    assert_eq!(tag_after(&events, &serial(2)), (vec!["a"], false));
}

#[test]
fn a_tag_in_its_move_is_old_or_new() {
    let events = [put_manifest("a", &[], Some("v1")), put_manifest("b", &[], Some("v1"))];
    assert_eq!(tag_after(&events, &serial(3)), (vec!["a", "b"], true));
    assert_eq!(tag_after(&events, &serial(4)), (vec!["b"], false));
    // Rewriting a tag with the value that it has is a move as well.
    let again = [events[0].clone(), events[0].clone()];
    assert_eq!(tag_after(&again, &serial(3)), (vec!["a"], true));
}

#[test]
fn deletions_end_tags() {
    let tag: Tag = "v1".parse().unwrap();
    let events = [put_manifest("a", &[], Some("v1")), Some(Event::DeleteTag(repo(), tag))];
    assert_eq!(tag_after(&events, &serial(3)), (vec!["-", "a"], false));
    assert_eq!(tag_after(&events, &serial(4)), (vec!["-"], false));
    let events = [put_manifest("a", &[], Some("v1")), delete_manifest("a")];
    assert_eq!(tag_after(&events, &serial(3)), (vec!["-", "a"], false));
    assert_eq!(tag_after(&events, &serial(4)), (vec!["-"], false));
    // A manifest that the tag does not point at any more takes nothing with it.
    let moved = [events[0].clone(), put_manifest("b", &[], Some("v1")), delete_manifest("a")];
    assert_eq!(tag_after(&moved, &serial(6)), (vec!["b"], false));
}

#[test]
fn overlapping_moves_end_in_either() {
    let events =
        [put_manifest("a", &[], Some("v1")), put_manifest("b", &[], Some("v1")), put_manifest("c", &[], Some("v1"))];
    let mut marks = serial(2);
    marks.extend([Mark::Begin(1), Mark::Begin(2), Mark::End(1)]);
    assert_eq!(tag_after(&events, &marks), (vec!["b", "c"], true));
    marks.push(Mark::End(2));
    assert_eq!(tag_after(&events, &marks), (vec!["b", "c"], false));
}

#[test]
fn uploads_are_open_from_answer_to_answer() {
    let commit = Event::PutBlob { repo: repo(), digest: digest("x"), upload: Some(7) };
    let events = [Some(Event::StartUpload(7)), None, Some(commit)];
    let open = |n| Oracle::new(&events, &serial(n)).unfinished_uploads().into_iter().collect::<Vec<_>>();
    let course: Vec<_> = (0..=6).map(|n| open(n).len()).collect();
    assert_eq!(course, [0, 0, 1, 1, 1, 1, 0]);
}
