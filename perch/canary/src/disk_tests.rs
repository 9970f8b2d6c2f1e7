//! Changes of a disk layer, seen in the folder. Cases 1 and E2: nothing is lost that Perch did not make.

use std::collections::BTreeMap;

use super::*;

const KEY: &str = "suggest.use_model_canary";

/// A link to `0`, which somebody else made.
fn layer() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("0/perch")).unwrap();
    let link = folder.path().join("current");
    symlink("0", &link).unwrap();
    (folder, link)
}

/// Every file and link below `at`, with its contents or target.
fn tree(at: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                found.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
            } else if kind.is_dir() {
                found.insert(format!("{name}/"), String::new());
                walk(root, &path, found);
            } else {
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(at, at, &mut found);
    found
}

fn write_all(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// The layer of case 1, in `at`.
fn others_layer(at: &Path) {
    write_all(
        at,
        &[
            ("perch/suggest.use_model_canary", "0"),
            ("perch/health_check/min_interval", "15"),
            ("perch/plain.key", "p"),
            ("real", "7"),
            ("envoy/other.key", "1"),
        ],
    );
    symlink("../real", at.join("perch/linked.key")).unwrap();
}

#[test]
fn a_key_is_set_beside_the_others_and_perchs_own_old_directories_go() {
    let (folder, link) = layer();
    set(&link, &[("a.b", "1")]).unwrap();
    set(&link, &[(KEY, "10")]).unwrap();
    set(&link, &[(KEY, "50")]).unwrap();
    assert_eq!(get(&link, KEY).as_deref(), Some("50"));
    assert_eq!(get(&link, "a.b").as_deref(), Some("1"));
    let made = fs::read_dir(folder.path()).unwrap().flatten().filter(|entry| is_layer(&entry.file_name()));
    assert_eq!(made.count(), 1, "one layer, and nothing left over");
    assert!(folder.path().join("0/perch").is_dir(), "another program created it");
}

#[test]
fn case_1_everything_but_the_one_key_is_as_before() {
    for absolute in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (v1, link) = (folder.path().join("v1"), folder.path().join("current"));
        others_layer(&v1);
        symlink(if absolute { v1.as_path() } else { Path::new("v1") }, &link).unwrap();
        let before = tree(&v1);
        set(&link, &[(KEY, "10")]).unwrap();
        let mut wanted = before.clone();
        wanted.insert(format!("perch/{KEY}"), "10".to_owned());
        assert_eq!(tree(&fs::canonicalize(&link).unwrap()), wanted);
        assert_eq!(fs::read_to_string(link.join("perch/linked.key")).unwrap(), "7");
        assert_eq!(tree(&v1), before, "directories of others are unchanged");
    }
}

#[test]
fn case_1_the_link_may_stand_in_another_folder_than_its_target() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, runtime) = (folder.path().join("shared/v1"), folder.path().join("rt"));
    others_layer(&shared);
    write_all(folder.path(), &[("shared/out", "o"), ("rt/notes.txt", "n")]);
    symlink("../../out", shared.join("perch/out.key")).unwrap();
    let link = runtime.join("current");
    symlink("../shared/v1", &link).unwrap();
    let before = tree(&shared);
    set(&link, &[(KEY, "10")]).unwrap();
    assert_eq!(get(&link, KEY).as_deref(), Some("10"));
    assert_eq!(get(&link, "health_check.min_interval").as_deref(), Some("15"));
    assert_eq!(fs::read_to_string(link.join("perch/out.key")).unwrap(), "o", "leads to where it led");
    assert_eq!(fs::read_to_string(link.join("perch/linked.key")).unwrap(), "7");
    assert_eq!(tree(&shared), before);
    assert_eq!(fs::read_to_string(runtime.join("notes.txt")).unwrap(), "n");
}

#[test]
fn case_e2_a_link_to_its_own_folder_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    others_layer(folder.path());
    write_all(folder.path(), &[("notes.txt", "n"), ("releases/v1/perch/x", "1")]);
    let link = folder.path().join("current");
    symlink(".", &link).unwrap();
    let before = tree(folder.path());
    set(&link, &[(KEY, "10")]).unwrap();
    set(&link, &[(KEY, "20")]).unwrap();
    assert_eq!(get(&link, KEY).as_deref(), Some("20"));
    let mut after = tree(folder.path());
    for (name, text) in before.iter().filter(|(name, _)| *name != "current") {
        assert_eq!(after.remove(name).as_ref(), Some(text), "{name}");
    }
    assert_eq!(fs::read_to_string(link.join("envoy/other.key")).unwrap(), "1");
    assert!(!link.join("current").exists() && !link.join("perch-layer-1").exists(), "no layer inside a layer");
}

#[test]
fn a_layer_that_another_link_uses_stays() {
    let (folder, link) = layer();
    set(&link, &[(KEY, "10")]).unwrap();
    let used = fs::read_link(&link).unwrap();
    symlink(&used, folder.path().join("another")).unwrap();
    set(&link, &[(KEY, "20")]).unwrap();
    assert_eq!(get(&folder.path().join("another"), KEY).as_deref(), Some("10"));
}

#[test]
fn a_key_has_one_file_also_where_a_dot_was_a_folder() {
    let (folder, link) = layer();
    write_all(folder.path(), &[("0/perch/suggest/use_model_canary", "7"), ("0/perch/suggest/other", "8")]);
    assert_eq!(get(&link, KEY).as_deref(), Some("7"));
    set(&link, &[(KEY, "10")]).unwrap();
    assert_eq!(get(&link, KEY).as_deref(), Some("10"));
    assert!(!link.join("perch/suggest/use_model_canary").exists(), "or Envoy takes either");
    assert_eq!(get(&link, "suggest.other").as_deref(), Some("8"));
}

#[test]
fn a_folder_that_is_a_link_is_not_written_through() {
    let (folder, link) = layer();
    fs::remove_dir(folder.path().join("0/perch")).unwrap();
    write_all(folder.path(), &[("common/suggest.use_model_canary", "1"), ("common/a", "2"), ("side", "3")]);
    symlink("../common", folder.path().join("0/perch")).unwrap();
    symlink("../side", folder.path().join("common/b")).unwrap();
    set(&link, &[(KEY, "10")]).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join(format!("common/{KEY}"))).unwrap(), "1");
    assert_eq!([KEY, "a", "b"].map(|key| get(&link, key).unwrap()), ["10", "2", "3"]);
}

#[test]
fn links_that_lead_nowhere_stand_in_no_ones_way() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("current");
    symlink("gone", &link).unwrap();
    set(&link, &[(KEY, "10")]).unwrap();
    assert_eq!(get(&link, KEY).as_deref(), Some("10"));
    fs::create_dir(folder.path().join("v1")).unwrap();
    symlink("../gone", folder.path().join("v1/perch")).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("v1", &link).unwrap();
    set(&link, &[(KEY, "20")]).unwrap();
    assert_eq!(get(&link, KEY).as_deref(), Some("20"));
}

#[test]
fn a_file_that_cannot_be_copied_is_named_and_nothing_changes() {
    let (folder, link) = layer();
    let socket = folder.path().join("0/perch/socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let before = tree_names(folder.path());
    let error = set(&link, &[(KEY, "10")]).unwrap_err();
    assert!(error.to_string().contains("0/perch/socket"), "{error}");
    assert_eq!(tree_names(folder.path()), before, "nothing is left behind");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("0"));
}

fn tree_names(at: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(at).unwrap().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_change_that_is_not_carried_out_or_undone_leaves_nothing() {
    let (folder, link) = layer();
    let before = tree(folder.path());
    drop(LayerChange::prepare(&link, &[(KEY, "10")]).unwrap());
    assert_eq!(tree(folder.path()), before);
    let mut change = LayerChange::prepare(&link, &[(KEY, "10")]).unwrap();
    change.carry_out().unwrap();
    assert_eq!(get(&link, KEY).as_deref(), Some("10"));
    change.undo().unwrap();
    assert_eq!(tree(folder.path()), before);
}

#[test]
fn a_link_that_moved_meanwhile_is_left_where_it_leads() {
    let (folder, link) = layer();
    let mut change = LayerChange::prepare(&link, &[(KEY, "10")]).unwrap();
    set(&link, &[("other", "1")]).unwrap();
    assert!(matches!(change.carry_out(), Err(DiskError::Moved(_))));
    drop(change);
    assert_eq!((get(&link, "other").as_deref(), get(&link, KEY)), (Some("1"), None));
    assert!(folder.path().join("0").is_dir());
}

#[test]
fn a_path_that_is_not_a_link_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let error = set(&folder.path().join("nothing"), &[(KEY, "1")]).unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
}
