//! The list of promises in `tests/README.md` is true and complete, and what the front page
//! guarantees is shown by tests that there are.

use std::{
    collections::BTreeSet,
    fs,
    path::{MAIN_SEPARATOR, Path, PathBuf},
};

/// A promise's number, a file below the package's root and a test in it.
type Shown = (u32, String, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the list says.
fn listed() -> BTreeSet<Shown> {
    let list = fs::read_to_string(root().join("tests/README.md")).unwrap();
    let mut shown = BTreeSet::new();
    for row in list.lines().filter_map(|line| line.strip_prefix("| S")) {
        let [number, _promise, tests, ..] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not a row of the list: {row}");
        };
        for test in tests.trim_end_matches(" |").split("<br>") {
            let (file, name) = test.split_once(": ").unwrap_or_else(|| panic!("S{number}: {test}"));
            let plain = |text: &str| text.trim_matches('`').to_owned();
            shown.insert((number.parse().unwrap(), plain(file), plain(name)));
        }
    }
    shown
}

/// What the tests say of themselves: `// S13` above a function, or `// S13, S24`.
fn named() -> BTreeSet<Shown> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    collect(&root().join("tests"), &mut files);
    let mut shown = BTreeSet::new();
    for path in files {
        let file =
            path.strip_prefix(root()).unwrap().to_str().unwrap().replace(MAIN_SEPARATOR, "/");
        let mut numbers = Vec::new();
        for line in fs::read_to_string(&path).unwrap().lines().map(str::trim_start) {
            if let Some(comment) = line.strip_prefix("// S") {
                numbers.extend(comment.split(", S").map_while(number));
            } else if let Some(function) = line.split_once("fn ").map(|(_, function)| function) {
                let name = function.split(['(', '<']).next().unwrap().to_owned();
                shown.extend(numbers.drain(..).map(|number| (number, file.clone(), name.clone())));
            }
        }
    }
    shown
}

fn number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            files.push(entry);
        }
    }
}

#[test]
fn the_list_names_each_test_that_shows_a_promise() {
    let (listed, named) = (listed(), named());
    let missing: Vec<_> = named.difference(&listed).collect();
    assert!(missing.is_empty(), "not in tests/README.md: {missing:#?}");
    let stale: Vec<_> = listed.difference(&named).collect();
    assert!(stale.is_empty(), "in tests/README.md, but no such test: {stale:#?}");
    let promises: BTreeSet<_> = listed.iter().map(|(number, ..)| *number).collect();
    assert!((1..=68).all(|number| promises.contains(&number)), "a promise that no test shows");
}

/// Each row of the front page's table names a test and links to its file.
#[test]
fn each_guarantee_of_the_front_page_has_its_test() {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = page.split_once("## What it guarantees\n").expect("the section is there");
    let section = rest.split("\n## ").next().unwrap();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 12, "{section}");
    for row in rows {
        let link = row.rsplit_once("[`").and_then(|(_, link)| link.split_once("`]("));
        let (name, rest) = link.unwrap_or_else(|| panic!("names no test: {row}"));
        let (file, _) = rest.split_once(')').unwrap_or_else(|| panic!("links to no file: {row}"));
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(text.contains(&format!("fn {name}(")), "no test {name} in {file}");
        // The numbered list has it as well, so it is a test and not any function.
        let shown = |(_, listed, test): &Shown| listed == file && test == name;
        assert!(listed().iter().any(shown), "{name} is not in tests/README.md");
    }
}
