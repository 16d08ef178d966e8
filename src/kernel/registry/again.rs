//! The program once more, on what a crash left: what was acknowledged is pulled, then everything is pushed again.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use super::Refused;
use super::client::{Client, Remote};
use super::goods::Goods;
use super::history::History;
use super::program::{Program, Site, Start};
use super::verdict::{LIVE_AGAIN, Sight};
use crate::check::contents::Contents;
use crate::check::oracle::{Expect, Oracle};
use crate::check::read::{self, Object, Seen};
use crate::check::{Observation, tag};

/// Starts the program, and judges it by what clients get.
///
/// Errors: this machine fails.
pub fn judge(
    start: &Start,
    site: &Site,
    remote: &Remote,
    goods: &[Goods],
    contents: &Contents,
    oracle: &Oracle<'_>,
) -> io::Result<Vec<Sight>> {
    let program = match Program::start(start, site, remote) {
        Ok(program) => program,
        Err(e) => match Refused::of(&e) {
            Some(why) => return Ok(not_started(oracle, &why)),
            None => return Err(e),
        },
    };
    let client = remote.client(&program.addr);
    let mut seen: Vec<Sight> = remote.run(pull(&client, contents, oracle)).into_iter().map(Sight::from).collect();
    let live = remote.run(push(&client, goods, contents));
    seen.push(Sight { rule: LIVE_AGAIN, broken: live.err() });
    Ok(seen)
}

/// What must be there and what may be, as a client gets it.
async fn pull(client: &Client, contents: &Contents, oracle: &Oracle<'_>) -> Vec<Observation> {
    let mut all = Vec::new();
    let blobs = oracle.blobs().into_iter().map(|((repo, digest), expect)| (Object::Blob(repo, digest), expect));
    let manifests =
        oracle.manifests().into_iter().map(|((repo, digest), expect)| (Object::Manifest(repo, digest), expect));
    for (object, expect) in blobs.chain(manifests) {
        all.extend(read::judge(&object, expect, &client.see(&object, contents).await));
    }
    for ((repo, tag), expect) in oracle.tags() {
        let object = Object::Tag(repo.clone(), tag.clone());
        let seen = client.see(&object, contents).await;
        // A client is not told what a tag points at that cannot be read.
        let resolved = match &seen {
            Seen::Right(digest) => Ok(*digest),
            Seen::Wrong(why) | Seen::Refused(why) => Err(why.clone()),
        };
        match tag::judge_resolved(&repo, &tag, &expect, resolved) {
            Ok(_) => all.extend(read::judge(&object, Expect::Must, &seen)),
            Err(judged) => all.extend(judged),
        }
    }
    all
}

/// Pushes everything as if nothing had happened, and pulls it.
async fn push(client: &Client, goods: &[Goods], contents: &Contents) -> Result<(), String> {
    for (number, goods) in goods.iter().enumerate() {
        let history = Rc::new(RefCell::new(History::new(None)));
        client.push(number, goods, &history, |_| ()).await;
        if let Some(why) = &history.borrow().first_failure {
            return Err(format!("a push after the crash fails: {why}"));
        }
        for image in &goods.images {
            let blobs = image.blobs().iter().map(|blob| Object::Blob(goods.repo.clone(), blob.digest));
            let tags = image.roots().iter().filter_map(|root| root.tag.clone());
            let tags = tags.map(|tag| Object::Tag(goods.repo.clone(), tag));
            for object in blobs.chain(tags) {
                if let Some(how) = client.see(&object, contents).await.complaint() {
                    return Err(format!("{object} was pushed again after the crash and acknowledged, but {how}"));
                }
            }
        }
    }
    Ok(())
}

/// What must be there is lost, and nothing goes on.
fn not_started(oracle: &Oracle<'_>, why: &str) -> Vec<Sight> {
    let why = format!("the registry does not start: {why}");
    let lost = Seen::Refused(why.clone());
    let must = oracle.manifests().into_iter().find(|(_, expect)| *expect == Expect::Must);
    let must = must.map(|((repo, digest), _)| read::judge(&Object::Manifest(repo, digest), Expect::Must, &lost));
    let live = Sight { rule: LIVE_AGAIN, broken: Some(why) };
    must.into_iter().flatten().map(Sight::from).chain([live]).collect()
}
