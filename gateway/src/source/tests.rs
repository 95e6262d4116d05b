use std::fs;
use std::os::unix::fs::symlink;

use std::collections::HashMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A directory, and a source that reads it.
struct Fixture {
    directory: TempDir,
    source: Source,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::new(directory.path().to_owned());
        Self { directory, source }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    /// As the adapter does it.
    fn replace(&self, name: &str, text: &str) {
        self.write(".new", text);
        fs::rename(self.path(".new"), self.path(name)).unwrap();
    }

    /// What changes with the next look: the names, with a minus if gone.
    fn read(&mut self) -> String {
        let told = |(key, document): Change| {
            let gone = if document.is_none() { "-" } else { "" };
            format!("{gone}{}", key.name)
        };
        self.source.read().unwrap().into_iter().map(told).collect::<Vec<_>>().join(" ")
    }

    fn live(&self) -> String {
        let mut names: Vec<_> = self.source.documents().map(|document| document.key().name.to_string()).collect();
        names.sort();
        names.join(" ")
    }

    fn problems(&self) -> Vec<String> {
        self.told(self.source.problems())
    }

    fn told(&self, problems: Vec<Problem>) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        problems.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
    }
}

fn backend(name: &str, port: u16) -> String {
    format!("backend: {{name: {name}, endpoints: ['127.0.0.1:{port}']}}\n")
}

const BAD_A: &str = "backend:\n  name: a\n  endpoint: []\n";

#[test]
fn only_what_changed_is_told() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1) + "---\n" + &backend("b", 1));
    fixture.write("2.yml", backend("c", 1));
    assert_eq!(fixture.read(), "a b c");
    assert_eq!(fixture.read(), "");
    fixture.replace("1.yaml", &(backend("a", 1) + "---\n" + &backend("b", 2)));
    assert_eq!(fixture.read(), "b");
    fixture.replace("1.yaml", &(backend("b", 2) + "---\n" + &backend("d", 2)));
    assert_eq!(fixture.read(), "-a d");
    fs::remove_file(fixture.path("2.yml")).unwrap();
    assert_eq!(fixture.read(), "-c");
    assert_eq!(fixture.live(), "b d");
}

#[test]
fn a_file_that_is_overwritten_in_place_with_as_many_bytes_is_read_again() {
    let mut fixture = Fixture::new();
    for port in 10..60 {
        fixture.write("1.yaml", backend("a", port));
        assert_eq!(fixture.read(), "a", "{port}");
    }
}

#[test]
fn hidden_files_other_files_and_directories_are_left_alone() {
    let mut fixture = Fixture::new();
    for name in [".a.yaml", "b.yaml~", "c.json", "yaml"] {
        fixture.write(name, "not: [read");
    }
    fs::create_dir(fixture.path("d.yaml")).unwrap();
    fixture.write("d.yaml/e.yaml", backend("e", 1));
    symlink("nowhere", fixture.path("f.yaml")).unwrap();
    assert_eq!(fixture.read(), "");
    assert_eq!(fixture.problems(), [""; 0]);
}

#[test]
fn a_mounted_config_map_is_followed_when_its_link_moves() {
    let mut fixture = Fixture::new();
    for (version, port) in [("..1", 1), ("..2", 2)] {
        fs::create_dir(fixture.path(version)).unwrap();
        fixture.write(&format!("{version}/a.yaml"), backend("a", port));
    }
    symlink("..1", fixture.path("..data")).unwrap();
    symlink("..data/a.yaml", fixture.path("a.yaml")).unwrap();
    assert_eq!(fixture.read(), "a");
    symlink("..2", fixture.path("..new")).unwrap();
    fs::rename(fixture.path("..new"), fixture.path("..data")).unwrap();
    assert_eq!(fixture.read(), "a");
}

#[test]
fn a_bad_document_keeps_its_last_good_version_and_its_neighbours_change() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1) + "---\n" + &backend("b", 1) + "---\n" + &backend("c", 1));
    fixture.read();
    fixture.replace("1.yaml", &format!("{BAD_A}---\n{}", backend("b", 2)));
    assert_eq!(fixture.read(), "b -c");
    assert_eq!(fixture.live(), "a b");
    assert_eq!(fixture.problems(), ["1.yaml:3:3: backend a: unknown field endpoint; is endpoints meant?"]);
    // The problem stays as long as the document does, and the version is kept as long.
    fixture.replace("1.yaml", BAD_A);
    assert_eq!(fixture.read(), "-b");
    assert_eq!(fixture.problems().len(), 1);
    fixture.replace("1.yaml", &backend("a", 3));
    assert_eq!(fixture.read(), "a");
    assert_eq!(fixture.problems(), [""; 0]);
}

#[test]
fn a_bad_document_that_moved_keeps_its_last_good_version() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1));
    fixture.read();
    fs::remove_file(fixture.path("1.yaml")).unwrap();
    fixture.write("2.yaml", BAD_A);
    assert_eq!(fixture.read(), "");
    assert_eq!(fixture.live(), "a");
    fs::remove_file(fixture.path("2.yaml")).unwrap();
    assert_eq!(fixture.read(), "-a");
}

#[test]
fn a_bad_document_that_never_was_good_is_not_there() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", BAD_A.to_owned() + "---\n" + &backend("b", 1));
    assert_eq!(fixture.read(), "b");
}

#[test]
fn a_document_without_a_name_may_be_any_that_is_missing_in_its_file() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1) + "---\n" + &backend("b", 1));
    fixture.write("2.yaml", backend("c", 1));
    fixture.read();
    fixture.replace("1.yaml", &(backend("a", 2) + "---\nbackend: [\n"));
    fs::remove_file(fixture.path("2.yaml")).unwrap();
    assert_eq!(fixture.read(), "a -c");
    assert_eq!(fixture.live(), "a b");
}

#[test]
fn a_file_that_is_not_text_or_too_large_keeps_all_of_its_documents() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1));
    fixture.read();
    fixture.write("1.yaml", b"backend:\n  name: \xff\n");
    assert_eq!(fixture.read(), "");
    assert_eq!(fixture.problems(), ["1.yaml:2:9: the file is not UTF-8 text"]);
    fs::File::create(fixture.path("1.yaml")).unwrap().set_len(65 << 20).unwrap();
    assert_eq!(fixture.read(), "");
    assert_eq!(fixture.problems(), ["1.yaml: the file is larger than 64 MiB"]);
    assert_eq!(fixture.live(), "a");
}

#[test]
fn a_file_that_cannot_be_read_keeps_all_of_its_documents_until_it_can() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1));
    fixture.read();
    fs::remove_file(fixture.path("1.yaml")).unwrap();
    // Permissions do not stop every user; a link to itself does.
    symlink("1.yaml", fixture.path("1.yaml")).unwrap();
    assert_eq!(fixture.read(), "");
    assert_eq!((fixture.live(), fixture.problems().len()), ("a".into(), 1));
    fixture.replace("1.yaml", &backend("b", 1));
    assert_eq!(fixture.read(), "-a b");
    assert_eq!(fixture.problems(), [""; 0]);
}

#[test]
fn the_first_of_two_documents_with_one_name_is_used() {
    let mut fixture = Fixture::new();
    fixture.write("2.yaml", backend("b", 1) + "---\n" + &backend("a", 2) + "---\n" + &backend("a", 3));
    fixture.read();
    assert_eq!(
        fixture.problems(),
        ["2.yaml:5:1: backend a: is also in 2.yaml:3, and that one is used; rename or remove one of them"]
    );
    fixture.write("1.yaml", backend("a", 1));
    assert_eq!(fixture.read(), "a");
    assert_eq!(
        fixture.problems(),
        [
            "2.yaml:3:1: backend a: is also in 1.yaml:1, and that one is used; rename or remove one of them",
            "2.yaml:5:1: backend a: is also in 1.yaml:1, and that one is used; rename or remove one of them"
        ]
    );
    fs::remove_file(fixture.path("1.yaml")).unwrap();
    assert_eq!(fixture.read(), "a");
}

#[test]
fn a_file_that_is_cut_off_loses_nothing() {
    let mut fixture = Fixture::new();
    let whole = backend("a", 1) + "---\n" + &backend("b", 1) + "---\n" + &backend("c", 1);
    fixture.write("1.yaml", &whole);
    assert_eq!(fixture.read(), "a b c");
    let cut = whole.find("name: b").unwrap() + 4;
    fixture.write("1.yaml", &whole[..cut]);
    assert_eq!(fixture.read(), "");
    assert_eq!((fixture.live(), fixture.problems().len()), ("a b c".into(), 1));
    fixture.write("1.yaml", "");
    assert_eq!(fixture.read(), "");
    let emptied = "1.yaml: is empty, and what it said before stays in use; remove the file to remove its documents";
    assert_eq!((fixture.live(), fixture.problems()), ("a b c".into(), vec![emptied.to_owned()]));
    fixture.write("1.yaml", backend("a", 2));
    assert_eq!(fixture.read(), "a -b -c");
    assert_eq!(fixture.problems(), [""; 0]);
}

#[test]
fn a_version_that_is_only_kept_gives_way_to_a_good_document() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1));
    fixture.read();
    fixture.replace("1.yaml", BAD_A);
    fixture.write("2.yaml", backend("a", 2));
    assert_eq!(fixture.read(), "a");
    assert_eq!(fixture.problems().len(), 1);
}

#[test]
fn a_directory_that_is_gone_changes_nothing() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1));
    fixture.read();
    let elsewhere = fixture.path("").with_extension("elsewhere");
    fs::rename(fixture.directory.path(), &elsewhere).unwrap();
    let error = fixture.source.read().unwrap_err();
    assert!(error.to_string().starts_with("cannot read /"), "{error}");
    assert_eq!(fixture.live(), "a");
    fs::rename(&elsewhere, fixture.directory.path()).unwrap();
    assert_eq!(fixture.read(), "");
}

#[test]
fn a_single_file_is_read_whatever_its_name() {
    let fixture = Fixture::new();
    fixture.write("a.conf", backend("a", 1));
    let mut source = Source::new(fixture.path("a.conf"));
    assert_eq!(source.read().unwrap().len(), 1);
    assert!(Source::new(fixture.path("nothing")).read().is_err());
}

#[test]
fn routes_without_an_order_go_by_file_and_place() {
    let mut fixture = Fixture::new();
    let route = |name: &str| format!("route: {{name: {name}, listeners: [l], rules: [{{}}]}}\n");
    fixture.write("10.yaml", route("d") + "---\n" + &route("c"));
    fixture.write("1.yaml", route("b") + &"\n".repeat(20) + "---\n" + &route("a"));
    fixture.write("0.yaml", "route: {name: e, order: own, listeners: [l], rules: [{}]}\n");
    let mut orders: Vec<(String, String)> = Vec::new();
    for (key, document) in fixture.source.read().unwrap() {
        let Some(Document::Route(route)) = document.as_deref() else { panic!("{key}") };
        orders.push((route.order.to_string(), key.name.to_string()));
    }
    orders.sort();
    let names: Vec<_> = orders.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["b", "a", "d", "c", "e"]);
}

#[test]
fn dangling_references_are_told_with_the_place_of_their_document() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("cart", 1) + "---\nlistener: {name: l, address: '127.0.0.1:0'}\n");
    fixture.write("2.yaml", "\n\nroute:\n  name: r\n  listeners: [l]\n  rules:\n  - backends: [{backend: carts}]\n");
    fixture.read();
    assert_eq!(
        fixture.told(fixture.source.dangling()),
        ["2.yaml:3:1: route r: rules[0].backends[0]: there is no backend carts; is cart meant?"]
    );
}

#[test]
fn revisions_and_counts_are_those_of_the_live_documents() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", "revision: {name: adapter, revision: '7'}\n---\n".to_owned() + &backend("a", 1));
    fixture.read();
    assert_eq!(fixture.source.revisions(), BTreeMap::from([("adapter".parse().unwrap(), "7".to_owned())]));
    assert_eq!(Kind::ALL.map(|kind| fixture.source.count(kind)), [0, 0, 1, 0, 0, 1]);
}

/// What may be done to one of three files, or to a fourth one outside that links lead to.
#[derive(Clone, Debug)]
enum Deed {
    Write(Vec<&'static str>),
    Replace(Vec<&'static str>),
    Remove,
    Link,
    HardLink,
    WriteElsewhere(Vec<&'static str>),
    Rename(usize),
}

const PIECES: [&str; 8] = [
    "backend: {name: a, endpoints: ['127.0.0.1:1']}\n",
    "backend: {name: a, endpoints: ['127.0.0.1:2']}\n",
    "backend: {name: b, endpoints: []}\n",
    "route: {name: a, order: x, listeners: [l], rules: [{backends: [{backend: a}]}]}\n",
    "route: {name: a, order: x, listeners: [l], rules: [{backends: [{backend: b}]}]}\n",
    "listener: {name: l, address: '127.0.0.1:0'}\n",
    "revision: {name: a, revision: '1'}\n",
    BAD_A,
];

fn deeds() -> impl Strategy<Value = Vec<(usize, Deed)>> {
    let text = || proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..4);
    let deed = prop_oneof![
        3 => text().prop_map(Deed::Write),
        5 => text().prop_map(Deed::Replace),
        2 => Just(Deed::Remove),
        1 => Just(Deed::Link),
        1 => Just(Deed::HardLink),
        2 => text().prop_map(Deed::WriteElsewhere),
        1 => (0..3usize).prop_map(Deed::Rename),
    ];
    proptest::collection::vec((0..3usize, deed), 1..6)
}

impl Fixture {
    fn act(&self, file: usize, deed: &Deed) {
        let name = |file| format!("{file}.yaml");
        let (path, elsewhere) = (self.path(&name(file)), self.path(".elsewhere/file"));
        fs::create_dir_all(elsewhere.parent().unwrap()).unwrap();
        match deed {
            Deed::Write(text) => fs::write(path, text.join("---\n")).unwrap_or_default(),
            Deed::Replace(text) => self.replace(&name(file), &text.join("---\n")),
            Deed::WriteElsewhere(text) => fs::write(elsewhere, text.join("---\n")).unwrap(),
            Deed::Rename(to) => fs::rename(path, self.path(&name(*to))).unwrap_or_default(),
            Deed::Remove => fs::remove_file(path).unwrap_or_default(),
            Deed::Link | Deed::HardLink => {
                fs::remove_file(&path).unwrap_or_default();
                match deed {
                    Deed::Link => symlink(elsewhere, path).unwrap(),
                    _ => fs::hard_link(elsewhere, path).unwrap_or_default(),
                }
            }
        }
    }
}

impl Source {
    /// Which document of each name is in use, by going through all files.
    fn merged(&self) -> HashMap<Key, Arc<Document>> {
        let mut merged = HashMap::new();
        let documents = self.files.values().flat_map(|file| &file.documents);
        for placed in documents.chain(self.files.values().flat_map(|file| &file.kept)) {
            merged.entry(placed.key.clone()).or_insert_with(|| placed.document.clone());
        }
        merged
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A look at what the system says was touched finds what a look at all files does, and what is
    /// kept up with each change is what going through everything says.
    #[test]
    fn a_look_at_what_was_touched_is_as_good_as_one_at_everything(looks in proptest::collection::vec(deeds(), 1..5)) {
        let mut fixture = Fixture::new();
        let mut thorough = Source::new(fixture.directory.path().to_owned());
        fixture.source.read().unwrap();
        for deeds in looks {
            for (file, deed) in deeds {
                fixture.act(file, &deed);
            }
            thorough.directory.forget();
            let (told, found) = (fixture.source.read().unwrap(), thorough.read().unwrap());
            prop_assert_eq!(told, found);
            for source in [&fixture.source, &thorough] {
                let merged = source.merged();
                let live: HashMap<Key, Arc<Document>> =
                    source.claims.live().map(|claim| source.placed(claim)).map(|placed| (placed.key.clone(), placed.document.clone())).collect();
                prop_assert_eq!(&live, &merged);
                prop_assert_eq!(source.tally.is_complete(), conf::dangling(source.documents()).is_empty());
                for kind in Kind::ALL {
                    prop_assert_eq!(source.count(kind), merged.keys().filter(|key| key.kind == kind).count());
                }
                let revisions = merged.values().filter_map(|document| match &**document {
                    Document::Revision(revision) => Some((revision.name.clone(), revision.revision.clone())),
                    _ => None,
                });
                prop_assert_eq!(source.revisions(), revisions.collect());
            }
            prop_assert_eq!(fixture.source.problems(), thorough.problems());
        }
    }
}

#[test]
fn only_what_was_touched_is_looked_at() {
    let mut fixture = Fixture::new();
    fixture.write("1.yaml", backend("a", 1));
    fixture.write("2.yaml", backend("b", 1));
    fixture.read();
    fixture.replace("1.yaml", &backend("a", 2));
    let look = fixture.source.directory.look(fixture.source.files.keys()).unwrap();
    let paths: Vec<_> = look.keys().map(|path| Path::new(path).file_name().unwrap()).collect();
    assert_eq!(paths, ["1.yaml"]);
}
