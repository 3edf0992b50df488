//! Which files of `src/` use which, as their paths with `crate`, `self` and `super` say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::MAIN_SEPARATOR,
};

use super::{collect, root};

/// A module by its path: `["session", "state"]`; the root is empty.
type Module = Vec<String>;

/// One file of the library, without comments, string literals and unit tests.
pub(crate) struct Source {
    /// Below the package's root.
    pub(crate) file: String,
    pub(crate) code: String,
    paths: Vec<Written>,
}

/// A path as it is written in a file, with the braces of a `use` expanded.
struct Written {
    line: usize,
    segments: Vec<String>,
    /// The name that it has here, if it is imported.
    import: Option<String>,
    /// It offers what a module below defines, and uses nothing of it.
    re_exports: bool,
}

/// One file uses what another defines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// The whole library.
pub(crate) struct Library {
    pub(crate) modules: BTreeMap<Module, Source>,
}

impl Library {
    pub(crate) fn read() -> Self {
        let mut files = Vec::new();
        collect(&root().join("src"), &mut files);
        let mut modules = BTreeMap::new();
        for path in files {
            let file = path.strip_prefix(root()).unwrap().to_str().unwrap();
            let file = file.replace(MAIN_SEPARATOR, "/");
            let module = module(&file);
            let is_test = module.iter().any(|part| part == "tests");
            if !is_test && module.first().is_none_or(|room| room != "guide") {
                modules.insert(module, Source::new(file, &fs::read_to_string(path).unwrap()));
            }
        }
        Self { modules }
    }

    /// All arrows between files. What a facade only re-exports is used from the file that defines
    /// it.
    pub(crate) fn arrows(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (module, source) in &self.modules {
            for written in source.paths.iter().filter(|written| !written.re_exports) {
                let to = &self.modules[&self.resolve(module, &written.segments, 0)];
                if to.file != source.file {
                    arrows.insert(Arrow {
                        from: source.file.clone(),
                        to: to.file.clone(),
                        line: written.line,
                        path: written.segments.join("::"),
                    });
                }
            }
        }
        arrows
    }

    /// The module that defines what a path in `module` names.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Module {
        assert!(depth < 20, "{path:?} in {module:?} leads round in a circle");
        let mut at = module.clone();
        for (place, name) in path.iter().enumerate() {
            match &**name {
                "crate" => at = Module::new(),
                "self" => {}
                "super" => drop(at.pop()),
                name => {
                    let below: Module = at.iter().cloned().chain([name.to_owned()]).collect();
                    if self.modules.contains_key(&below) {
                        at = below;
                        continue;
                    }
                    let imports = &self.modules[&at].paths;
                    let import = imports.iter().find(|path| path.import.as_deref() == Some(name));
                    let Some(import) = import else { break };
                    // Within a file `use super::X` names X itself, however often it is written.
                    let rest = path[place + 1..].iter().cloned();
                    let path: Vec<_> = import.segments.iter().cloned().chain(rest).collect();
                    return self.resolve(&at, &path, depth + 1);
                }
            }
        }
        at
    }
}

/// `src/session/state/mod.rs` is `session::state`.
fn module(file: &str) -> Module {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').filter(|part| !matches!(*part, "mod" | "lib")).map(str::to_owned).collect()
}

impl Source {
    pub(crate) fn new(file: String, text: &str) -> Self {
        let code = strip(text);
        let paths = paths(&code);
        Self { file, code, paths }
    }

    /// The line in which this place of the code is.
    pub(crate) fn line(&self, place: usize) -> usize {
        line(&self.code, place)
    }
}

fn line(code: &str, place: usize) -> usize {
    1 + code[..place].matches('\n').count()
}

/// The code alone, line for line: no comments, no text of literals, no unit tests.
fn strip(text: &str) -> String {
    let tests = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(|at| {
        let next = text[*at..].lines().nth(1).unwrap_or_default();
        next.trim_start().starts_with("mod ") && next.ends_with('{')
    });
    let text: Vec<char> = text[..tests.unwrap_or(text.len())].chars().collect();
    let mut code = String::new();
    let mut at = 0;
    let starts =
        |at: usize, with: &str| text[at..].iter().copied().take(with.len()).eq(with.chars());
    while at < text.len() {
        if starts(at, "//") {
            while at < text.len() && text[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "'\"'") {
            at += 3;
        } else if starts(at, "r#\"") {
            at += 3;
            while !starts(at, "\"#") {
                code.extend((text[at] == '\n').then_some('\n'));
                at += 1;
            }
            at += 2;
        } else if text[at] == '"' {
            at += 1;
            while text[at] != '"' {
                code.extend((text[at] == '\n').then_some('\n'));
                at += if text[at] == '\\' && text[at + 1] != '\n' { 2 } else { 1 };
            }
            at += 1;
        } else {
            code.push(text[at]);
            at += 1;
        }
    }
    code
}

/// All paths that begin in this crate, in `use` or anywhere else.
fn paths(code: &str) -> Vec<Written> {
    let mut written = Vec::new();
    for head in ["crate::", "self::", "super::"] {
        for (place, _) in code.match_indices(head) {
            let before = code[..place].trim_end();
            let is_inside =
                code[..place].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
            if is_inside || before.ends_with("(in") {
                continue;
            }
            let statement = before.rsplit([';', '}', ']']).next().unwrap_or_default().trim_start();
            let imports = before.ends_with("use");
            let re_exports = imports && statement.starts_with("pub") && head == "self::";
            expand(&code[place..], &mut Vec::new(), &mut |segments, name| {
                written.push(Written {
                    line: line(code, place),
                    segments: segments.to_vec(),
                    import: imports.then(|| name.to_owned()),
                    re_exports,
                });
            });
        }
    }
    written
}

/// Tells of each path in a tree such as `crate::{a::B, c as d}`, and what it is called; returns
/// what comes after the tree.
fn expand<'a>(
    tree: &'a str,
    prefix: &mut Vec<String>,
    tell: &mut impl FnMut(&[String], &str),
) -> &'a str {
    let depth = prefix.len();
    let mut rest = tree.trim_start();
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            rest = list.trim_start();
            while !rest.starts_with('}') {
                rest = expand(rest, prefix, tell).trim_start().trim_start_matches(',').trim_start();
            }
            rest = &rest[1..];
            break;
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if end > 0 {
            prefix.push(rest[..end].to_owned());
        } else if rest.starts_with('*') {
            rest = &rest[1..];
            tell(prefix, "*");
            break;
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) if end > 0 && !next.starts_with('<') => rest = next,
            _ => {
                let mut name = prefix.last().cloned().unwrap_or_default();
                if let Some(other) = rest.strip_prefix(" as ") {
                    let end = other.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                    (name, rest) = (other[..end.unwrap()].to_owned(), &other[end.unwrap()..]);
                } else if name == "self" {
                    prefix.pop();
                    name = prefix.last().cloned().unwrap_or_default();
                }
                tell(prefix, &name);
                break;
            }
        }
    }
    prefix.truncate(depth);
    rest
}
