//! No circle of imports between the files of a crate: whoever reads a file need read only what lies below it.
//!
//! What is looked at is the code of programs, not that of tests. A module that declares or re-exports another imports
//! nothing from it; a name is looked for where it is defined, through re-exports.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails there"
)]

mod syntax;
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use e2e::workspace;
use tree::{Tree, circles};

#[test]
fn no_crate_has_a_circle_of_imports() {
    let (mut found, mut roots) = (String::new(), 0);
    for package in workspace::packages().unwrap() {
        for root in &package.roots {
            roots += 1;
            let imports = Tree::read(root, &|file| std::fs::read_to_string(file).ok()).imports();
            for circle in circles(&imports) {
                let name = |file: &Path| file.strip_prefix(&package.folder).unwrap_or(file).display().to_string();
                writeln!(found, "{}: {} files", package.name, circle.len()).unwrap();
                for file in &circle {
                    for (other, example) in imports[file].iter().filter(|(other, _)| circle.contains(*other)) {
                        writeln!(found, "  {} imports {} ({example})", name(file), name(other)).unwrap();
                    }
                }
            }
        }
    }
    assert!(roots > 10, "only {roots} crates were found");
    assert!(found.is_empty(), "circles of imports:\n{found}");
}

/// The circles of a made-up crate, each as its files.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let files: BTreeMap<PathBuf, &str> = files.iter().map(|(name, text)| (PathBuf::from(name), *text)).collect();
    let tree = Tree::read(Path::new("lib.rs"), &|file| files.get(file).map(|text| (*text).to_owned()));
    circles(&tree.imports())
        .into_iter()
        .map(|circle| circle.into_iter().map(|file| file.display().to_string()).collect())
        .collect()
}

#[test]
fn a_circle_of_three_files_is_found() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::{self, B};\nfn f() { b::g() }"),
        ("b.rs", "pub struct B; pub fn g() { super::c::h() }"),
        ("c.rs", "use super::a as other; pub fn h() { other::f() }"),
        ("d.rs", "use super::a::f;"),
    ];
    assert_eq!(circles_of(&files), [["a.rs", "b.rs", "c.rs"]]);
}

#[test]
fn a_parent_and_a_child_that_take_from_each_other_are_one() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod child; use child::Child; pub(super) struct Parent(Child);"),
        ("a/child.rs", "use super::Parent; pub(super) struct Child;"),
    ];
    assert_eq!(circles_of(&files), [["a/child.rs", "a/mod.rs"]]);
    let inline = files[1].1.replace("use child::Child;", "").replace("(Child)", "(child::Child)");
    assert_eq!(circles_of(&[files[0], (files[1].0, &inline), files[2]]), [["a/child.rs", "a/mod.rs"]]);
}

#[test]
fn a_parent_that_declares_or_re_exports_is_none() {
    let files = [
        ("lib.rs", "pub mod a; pub use a::{One, Two as Second};"),
        ("a/mod.rs", "mod one; #[path = \"second.rs\"] mod two; pub use one::*; pub use two::Two; pub struct Parent;"),
        ("a/one.rs", "use super::{Parent, Two}; pub struct One;"),
        ("a/second.rs", "use super::Parent; pub struct Two;"),
    ];
    assert_eq!(circles_of(&files), Vec::<Vec<String>>::new());
    let used = format!("{} fn f(_: Two) {{}}", files[1].1);
    let circle = circles_of(&[files[0], (files[1].0, &used), files[2], files[3]]);
    assert_eq!(circle, [["a/mod.rs", "a/second.rs"]], "what is re-exported and used is imported");
    let back = files[3].1.replace("Parent", "One").replace("super", "crate::a");
    let circle = circles_of(&[files[0], files[1], files[2], (files[3].0, &back)]);
    assert_eq!(circle, [["a/one.rs", "a/second.rs"]], "through the re-exports of the parent");
}

#[test]
fn tests_comments_texts_and_other_crates_do_not_count() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use super::b::B; use serde::b;"),
        (
            "b.rs",
            r##"//! See [`super::a::A`]. /* use super::a::A; */
            pub struct B<'a>(&'a str, #[cfg(test)] super::a::A, char);
            const TEXT: &str = r#"super::a::A " "#; const LETTER: char = '"';
            #[cfg(test)]
            use super::a::{A, C};
            #[cfg(any(test, feature = "testing"))]
            pub fn f<A, B>() { super::a::f() }
            #[cfg(test)]
            mod tests { use super::super::a::A; #[test] fn f() { super::super::a::f(); } }
            "##,
        ),
    ];
    assert_eq!(circles_of(&files), Vec::<Vec<String>>::new());
    let counts = files[2].1.replace("#[cfg(any(test, feature = \"testing\"))]", "#[cfg(not(test))]");
    assert_eq!(circles_of(&[files[0], files[1], ("b.rs", &counts)]), [["a.rs", "b.rs"]]);
}
