//! The files of a crate, what each imports from which, and the circles in that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::syntax::{self, Module};

/// Most re-exports that are followed from a name to where it is defined.
const MOST_STEPS: usize = 16;

/// A place in the tree of modules, from the root.
type Place = Vec<String>;

/// A module with the file that it stands in.
#[derive(Debug)]
struct Node {
    file: PathBuf,
    module: Module,
}

/// The modules of one crate.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<Place, Node>,
}

/// Which file imports from which, with an example of each.
pub(crate) type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

impl Tree {
    /// The crate whose root is `root`. `read` gives a file's text; `None` where there is no such file.
    pub(crate) fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut tree = Self::default();
        if let Some(text) = read(root) {
            let folder = root.parent().unwrap_or(Path::new("")).to_path_buf();
            tree.add(Vec::new(), root, &folder, syntax::module(&text), read);
        }
        tree
    }

    /// Adds a module of `file` whose children lie in `folder`.
    fn add(
        &mut self,
        place: Place,
        file: &Path,
        folder: &Path,
        mut module: Module,
        read: &dyn Fn(&Path) -> Option<String>,
    ) {
        for (name, inner) in std::mem::take(&mut module.inline) {
            self.add([place.clone(), vec![name.clone()]].concat(), file, &folder.join(name), inner, read);
        }
        for (name, path) in &module.children {
            let beside = file.parent().unwrap_or(Path::new(""));
            let files = match path {
                Some(path) => vec![beside.join(path)],
                None => vec![folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")],
            };
            for child in files {
                if let Some(text) = read(&child) {
                    let place = [place.clone(), vec![name.clone()]].concat();
                    self.add(place, &child, &folder.join(name), syntax::module(&text), read);
                }
            }
        }
        self.nodes.insert(place, Node { file: file.to_path_buf(), module });
    }

    /// Every import between two files.
    pub(crate) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (place, node) in &self.nodes {
            imports.entry(node.file.clone()).or_default();
            let words = &node.module.words;
            let named = node.module.imports.iter().filter(|import| !import.re_export || words.contains(&import.name));
            let named = named.map(|import| &import.path);
            for path in named.chain(&node.module.paths) {
                let Some(file) = self.defined_in(place, path, MOST_STEPS) else { continue };
                if file != node.file {
                    let example = imports.entry(node.file.clone()).or_default().entry(file).or_default();
                    *example = path.join("::");
                }
            }
        }
        imports
    }

    /// The file that defines what `path` names in the module at `from`. `None` for what another crate has, and for a module
    /// as a whole: what is taken from it is named elsewhere.
    fn defined_in(&self, from: &Place, path: &[String], steps: usize) -> Option<PathBuf> {
        match self.find(from, path, steps)? {
            Found::Module(_) => None,
            Found::Item(place) => Some(self.nodes.get(&place)?.file.clone()),
        }
    }

    fn find(&self, from: &Place, path: &[String], steps: usize) -> Option<Found> {
        let steps = steps.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut place = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => from.split_last()?.1.to_vec(),
            name => match self.named(from, name, steps)? {
                Found::Module(place) => place,
                item => return Some(item),
            },
        };
        while let Some((name, after)) = rest.split_first() {
            place = match name.as_str() {
                "*" => return Some(Found::Item(place)),
                "super" => place.split_last()?.1.to_vec(),
                name => match self.named(&place, name, steps) {
                    Some(Found::Module(place)) => place,
                    Some(item) => return Some(item),
                    // A name that a macro makes, or that this scan does not know.
                    None => return Some(Found::Item(place)),
                },
            };
            rest = after;
        }
        Some(Found::Module(place))
    }

    /// What `name` is in the module at `place`.
    fn named(&self, place: &Place, name: &str, steps: usize) -> Option<Found> {
        let child = [place.clone(), vec![name.to_owned()]].concat();
        if self.nodes.contains_key(&child) {
            return Some(Found::Module(child));
        }
        let module = &self.nodes.get(place)?.module;
        if module.items.contains(name) {
            return Some(Found::Item(place.clone()));
        }
        let steps = steps.checked_sub(1)?;
        // `use name::…` of another crate that has the module's own name for it would be found again and again.
        let other = |path: &[String]| path.first().is_some_and(|first| first != name);
        if let Some(import) = module.imports.iter().find(|import| import.name == name && other(&import.path)) {
            return self.find(place, &import.path, steps);
        }
        module.imports.iter().filter(|import| import.name == "*").find_map(|import| {
            let (_, of) = import.path.split_last()?;
            match self.find(place, of, steps)? {
                Found::Module(globbed) if globbed != *place => self.named(&globbed, name, steps),
                _ => None,
            }
        })
    }
}

enum Found {
    Module(Place),
    Item(Place),
}

/// Sets of files of which each imports from every other, directly or not.
pub(crate) fn circles(imports: &Imports) -> Vec<BTreeSet<PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> =
        imports.keys().map(|file| (file, reachable(file, imports))).collect();
    let mut circles: Vec<BTreeSet<PathBuf>> = Vec::new();
    for (file, from_here) in &reached {
        let and_back = from_here.iter().filter(|other| reached.get(*other).is_some_and(|of| of.contains(file)));
        let circle: BTreeSet<PathBuf> = and_back.map(|other| (*other).clone()).collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reachable<'a>(from: &PathBuf, imports: &'a Imports) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&PathBuf> = imports.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(imports.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}
