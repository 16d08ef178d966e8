//! Whether a tree is a crash state, asked without enumeration, against enumeration.

use std::collections::BTreeMap;

use pullplug::disk::crash::{Loss, families};
use pullplug::disk::effect::Cut;
use pullplug::disk::model::ALL;
use pullplug::disk::space::Space;
use pullplug::disk::tree::Tree;

use crate::script::{Player, shown, states};

/// A tree's names and contents, and which names are one file.
fn key(tree: &Tree) -> String {
    let inode = |path: &str| tree.walk(path, |_, _| {}).ok().and_then(|place| place.ino);
    let paths: Vec<_> = tree.paths().into_iter().map(|(path, _)| path).collect();
    let first = |path: &String| paths.iter().find(|other| inode(other) == inode(path)).cloned();
    format!("{} {:?}", shown(tree), paths.iter().map(first).collect::<Vec<_>>())
}

/// At the end of a script each model admits what it allows, and of what others allow nothing else.
pub fn agrees_on(setup: &str, script: &str) {
    let mut player = Player::after(setup);
    player.run(script);
    let spaces: Vec<Space> = ALL.into_iter().map(|model| player.space(model)).collect();
    let mut seen: BTreeMap<String, (Tree, [bool; ALL.len()])> = BTreeMap::new();
    let end = Cut::after(spaces[0].records().len());
    for (at, (model, space)) in ALL.into_iter().zip(&spaces).enumerate() {
        for bits in states(space, model, end) {
            let tree = space.view(&bits).tree();
            seen.entry(key(&tree)).or_insert((tree, [false; ALL.len()])).1[at] = true;
        }
    }
    for (key, (tree, allowed)) in &seen {
        for (at, (model, space)) in ALL.into_iter().zip(&spaces).enumerate() {
            let admitted = space.admits(&families(space, model, Loss::PowerCut, end), tree);
            // Any bytes will do for stale ones.
            let is_wrong = admitted.is_some() != allowed[at] && !(model.shows_stale_bytes() && admitted.is_some());
            assert!(!is_wrong, "{} and {key}: {admitted:?} admitted, allowed: {}", model.name(), allowed[at]);
            let again = admitted.map(|bits| self::key(&space.view(&bits).tree()));
            assert!(model.shows_stale_bytes() || again.is_none_or(|again| again == *key), "what is found is it");
        }
    }
}
