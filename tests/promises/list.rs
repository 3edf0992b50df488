//! The list of promises in `tests/README.md` is true and complete, and what the front page
//! guarantees is shown by tests that there are.

use std::{collections::BTreeSet, fs, path::MAIN_SEPARATOR};

use super::{collect, root};

/// A promise's number, a file below the package's root and a test in it.
type Shown = (u32, String, String);

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

/// What the tests say of themselves, and the numbers that stand there without their meaning. Above
/// a function stands `// S13: ` and what is promised, a line for each number.
fn named() -> (BTreeSet<Shown>, Vec<String>) {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    collect(&root().join("tests"), &mut files);
    let (mut shown, mut bare) = (BTreeSet::new(), Vec::new());
    for path in files {
        let file =
            path.strip_prefix(root()).unwrap().to_str().unwrap().replace(MAIN_SEPARATOR, "/");
        let mut numbers = Vec::new();
        for (at, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let line = line.trim_start();
            if let Some((number, rest)) = line.strip_prefix("// S").and_then(number) {
                numbers.push(number);
                let meaning = rest.strip_prefix(": ").unwrap_or_default();
                if meaning.split(' ').count() < 3 {
                    bare.push(format!("{file}:{}: {line}", at + 1));
                }
            } else if let Some(function) = line.split_once("fn ").map(|(_, function)| function) {
                let name = function.split(['(', '<']).next().unwrap().to_owned();
                shown.extend(numbers.drain(..).map(|number| (number, file.clone(), name.clone())));
            }
        }
    }
    (shown, bare)
}

/// A number, and what comes after it.
fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[test]
fn each_number_above_a_test_is_followed_by_what_it_means() {
    let (_, bare) = named();
    assert!(bare.is_empty(), "write `// S13: what it promises`, a line for each: {bare:#?}");
}

#[test]
fn the_list_names_each_test_that_shows_a_promise() {
    let (listed, (named, _)) = (listed(), named());
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
