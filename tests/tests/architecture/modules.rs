//! The modules of a crate and what each of them uses, read from the sources.
//!
//! An edge goes from the module that names an item to the module that defines it, through all re-exports. A re-export
//! is not a use: a module that only declares its children and re-exports their items has no edges. Code that is
//! compiled only for tests is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, LitStr, Token, UseTree, Visibility, braced, bracketed, parenthesized, token};

/// Which module uses which, with the items it names: `edges[from][to]`.
type Edges = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The cycles among the modules of the crate whose root is the file `main`, with the edges of each, one per line.
pub(crate) fn cycles(main: &Path) -> Vec<String> {
    let mut tree = Tree::default();
    let folder = main.parent().unwrap();
    tree.read("crate", &items(main), folder);
    let edges = tree.edges();
    let reached: BTreeMap<_, _> = edges.keys().map(|from| (from, reach(&edges, from))).collect();
    let mut cycles = BTreeSet::new();
    for (from, seen) in &reached {
        cycles.insert(
            seen.iter().filter(|to| reached.get(to).is_some_and(|back| back.contains(*from))).collect(),
        );
    }
    cycles
        .iter()
        .filter(|cycle: &&BTreeSet<_>| !cycle.is_empty())
        .map(|cycle| describe(cycle, &edges))
        .collect()
}

/// All modules that `from` uses, directly or through others.
fn reach(edges: &Edges, from: &str) -> BTreeSet<String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for to in edges.get(module).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(to.clone()) {
                next.push(to);
            }
        }
    }
    seen
}

fn describe(cycle: &BTreeSet<&String>, edges: &Edges) -> String {
    let mut lines = Vec::new();
    for from in cycle {
        for (to, names) in edges[*from].iter().filter(|(to, _)| cycle.contains(to)) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            lines.push(format!("  {from} → {to}: {}\n", names.join(", ")));
        }
    }
    lines.concat()
}

/// The modules of one crate by their paths, as in `crate::a::b`.
#[derive(Default)]
struct Tree(BTreeMap<String, Module>);

#[derive(Default)]
struct Module {
    /// The names of the items that it defines, child modules aside.
    items: BTreeSet<String>,
    /// The imports: the local name and the path as written.
    imports: Vec<(String, Vec<String>)>,
    /// The paths before `::*`.
    globs: Vec<Vec<String>>,
    /// The paths that its code names.
    paths: BTreeSet<Vec<String>>,
}

impl Tree {
    /// Adds the module `name` and those below it. Its child modules lie in `folder`, those of inline ones below it.
    fn read(&mut self, name: &str, items: &[Item], folder: &Path) {
        let mut module = Module::default();
        for item in items {
            if let Some(defined) = defined(item) {
                module.items.insert(defined);
            }
            module.visit_item(item);
            let Item::Mod(child) = item else { continue };
            if for_tests(&child.attrs) {
                continue;
            }
            let called = child.ident.unraw().to_string();
            let (path, below) = (format!("{name}::{called}"), folder.join(&called));
            match &child.content {
                Some((_, items)) => self.read(&path, items, &below),
                None => self.read(&path, &self::items(&file(folder, &called)), &below),
            }
        }
        self.0.insert(name.to_owned(), module);
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (from, module) in &self.0 {
            for path in &module.paths {
                if let Some(Found::Item(to, item)) = self.find(from, path, 0)
                    && to != *from
                {
                    edges.entry(from.clone()).or_default().entry(to).or_default().insert(item);
                }
            }
        }
        edges
    }

    /// Resolves `path` inside `module`; `None` if it leads out of the crate.
    fn find(&self, module: &str, path: &[String], depth: u8) -> Option<Found> {
        let (first, mut rest) = path.split_first()?;
        let mut found = match first.as_str() {
            "crate" => Found::Module("crate".to_owned()),
            "self" => Found::Module(module.to_owned()),
            "super" => Found::Module(module.rsplit_once("::")?.0.to_owned()),
            _ => self.member(module, first, rest.is_empty(), depth)?,
        };
        while let (Found::Module(at), Some((next, after))) = (&found, rest.split_first()) {
            found = match next.as_str() {
                "super" => Found::Module(at.rsplit_once("::")?.0.to_owned()),
                "self" => Found::Module(at.clone()),
                // The item is unknown here, because a macro made it.
                _ => self
                    .member(at, next, after.is_empty(), depth)
                    .unwrap_or_else(|| Found::Item(at.clone(), next.clone())),
            };
            rest = after;
        }
        Some(found)
    }

    /// Resolves `name` in `module`. A module may share its name with a function: the last segment of a path is the item
    /// if there is one.
    fn member(&self, module: &str, name: &str, last: bool, depth: u8) -> Option<Found> {
        let here = self.0.get(module)?;
        let child = format!("{module}::{name}");
        let child = self.0.contains_key(&child).then_some(Found::Module(child));
        let item = here.items.contains(name).then(|| Found::Item(module.to_owned(), name.to_owned()));
        let imported = here.imports.iter().filter(|(called, _)| called == name && depth < 16);
        let mut all: Vec<_> = imported.filter_map(|(_, path)| self.find(module, path, depth + 1)).collect();
        all.extend(item);
        all.extend(child);
        if all.is_empty() && depth < 16 {
            let inside = |path: &Vec<String>| match self.find(module, path, depth + 1)? {
                Found::Module(inside) if inside != module => self.member(&inside, name, last, depth + 1),
                _ => None,
            };
            all.extend(here.globs.iter().find_map(inside));
        }
        let wanted = all.iter().position(|found| matches!(found, Found::Item(..)) == last).unwrap_or(0);
        (!all.is_empty()).then(|| all.swap_remove(wanted))
    }
}

/// The target of a path.
enum Found {
    Module(String),
    /// The defining module, and the item's name.
    Item(String, String),
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            // Child modules are read separately.
            Item::Mod(_) => {}
            Item::Fn(item) if for_tests(&item.attrs) => {}
            Item::Impl(item) if for_tests(&item.attrs) => {}
            Item::Use(item) => {
                if !for_tests(&item.attrs) && item.leading_colon.is_none() {
                    let private = matches!(item.vis, Visibility::Inherited);
                    self.import(&mut Vec::new(), &item.tree, private);
                }
            }
            item => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(path);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.name(&item.path);
        for path in item.parse_body_with(|tokens: ParseStream| paths(tokens, false)).unwrap() {
            self.name(&path);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        for path in arguments(attribute) {
            self.name(&path);
        }
    }
}

impl Module {
    fn name(&mut self, path: &syn::Path) {
        if path.leading_colon.is_none() {
            self.paths
                .insert(path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect());
        }
    }

    fn import(&mut self, before: &mut Vec<String>, tree: &UseTree, private: bool) {
        let (from, called) = match tree {
            UseTree::Path(path) => {
                before.push(path.ident.unraw().to_string());
                self.import(before, &path.tree, private);
                before.pop();
                return;
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(before, tree, private));
                return;
            }
            UseTree::Name(name) => (&name.ident, &name.ident),
            UseTree::Rename(rename) => (&rename.ident, &rename.rename),
            UseTree::Glob(_) => {
                self.globs.push(before.clone());
                return;
            }
        };
        let mut path = before.clone();
        let mut called = called.unraw().to_string();
        if from == "self" {
            if called == "self" {
                called.clone_from(&before[before.len() - 1]);
            }
        } else {
            path.push(from.unraw().to_string());
        }
        // `use serde;` imports a name that exists already.
        if path != [called.clone()] {
            self.imports.push((called, path.clone()));
        }
        if private {
            self.paths.insert(path);
        }
    }
}

/// The name of what `item` defines.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.unraw().to_string())
}

/// Returns whether `#[cfg(test)]` or a condition with `test` in it is among `attributes`.
fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let words = arguments(attribute);
        words.iter().any(|word| word.is_ident("test")) && !words.iter().any(|word| word.is_ident("not"))
    })
}

/// The paths in an attribute's brackets, also those that serde takes as strings.
fn arguments(attribute: &Attribute) -> Vec<syn::Path> {
    let list = attribute.meta.require_list().ok();
    list.map_or_else(Vec::new, |list| {
        list.parse_args_with(|tokens: ParseStream| paths(tokens, true)).unwrap()
    })
}

/// Everything in `tokens` that looks like a path; fields and methods do not.
fn paths(tokens: ParseStream, strings: bool) -> syn::Result<Vec<syn::Path>> {
    let mut found = Vec::new();
    while !tokens.is_empty() {
        let inner;
        if tokens.peek(token::Paren) {
            parenthesized!(inner in tokens);
            found.extend(paths(&inner, strings)?);
        } else if tokens.peek(token::Bracket) {
            bracketed!(inner in tokens);
            found.extend(paths(&inner, strings)?);
        } else if tokens.peek(token::Brace) {
            braced!(inner in tokens);
            found.extend(paths(&inner, strings)?);
        } else if syn::Path::parse_mod_style(&tokens.fork()).is_ok() {
            found.push(syn::Path::parse_mod_style(tokens)?);
        } else if strings && tokens.peek(LitStr) {
            let path = tokens.parse::<LitStr>()?.parse_with(syn::Path::parse_mod_style);
            found.extend(path.ok().filter(|path| path.segments.len() > 1));
        } else {
            let field = tokens.peek(Token![.]) && tokens.peek2(syn::Ident::peek_any);
            for _ in 0..=u8::from(field) {
                tokens.step(|cursor| {
                    cursor.token_tree().map(|(_, rest)| ((), rest)).ok_or_else(|| cursor.error("a token"))
                })?;
            }
        }
    }
    Ok(found)
}

fn items(file: &Path) -> Vec<Item> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())).items
}

/// The file of the module `name` whose parent keeps its children in `folder`.
fn file(folder: &Path, name: &str) -> PathBuf {
    let flat = folder.join(format!("{name}.rs"));
    if flat.is_file() { flat } else { folder.join(name).join("mod.rs") }
}

#[test]
fn cycles_are_found_through_re_exports() {
    let check = |files: &[(&str, &str)], expected: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        assert_eq!(cycles(&folder.path().join("lib.rs")), expected, "{files:?}");
    };
    let lib = ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;");
    check(&[lib, ("a.rs", "pub struct A;"), ("b.rs", "use crate::A; pub struct B(A);")], &[]);
    let cycle = "  crate::a → crate::b: B\n  crate::b → crate::a: A\n";
    let b = ("b.rs", "use crate::A; pub struct B(A);");
    check(&[lib, ("a.rs", "pub struct A(Vec<super::B>);"), b], &[cycle]);
    check(&[lib, ("a.rs", "pub struct A; fn f() { assert!(x.y(crate::b::B::new())) }"), b], &[cycle]);
    check(&[lib, ("a.rs", "use super::b; pub struct A; type C = b::B;"), b], &[cycle]);
    check(&[lib, ("a.rs", "pub struct A { #[serde(with = \"crate::b::B\")] x: u8 }"), b], &[cycle]);
    let globs = ("lib.rs", "mod a; mod b; pub use a::*; pub use b::*;");
    check(&[globs, ("a.rs", "pub struct A(Vec<super::B>);"), b], &[cycle]);
    check(&[globs, ("a.rs", "use super::*; pub struct A(Vec<B>);"), b], &[cycle]);
    check(&[lib, ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::B; }"), b], &[]);
    check(&[lib, ("a.rs", "pub struct A; #[cfg(test)] fn f(b: crate::B) {}"), b], &[]);
    // A parent and its child.
    let child = ("a/c.rs", "use super::A; pub struct C(A);");
    check(&[lib, ("a.rs", "mod c; pub use c::C; pub struct A;"), child, b], &[]);
    let cycle = "  crate::a → crate::a::c: C\n  crate::a::c → crate::a: A\n";
    check(&[lib, ("a.rs", "mod c; pub use c::C; pub struct A(Box<C>);"), child, b], &[cycle]);
    check(&[lib, ("a/mod.rs", "mod c; pub struct A; fn f() { c::C::new(); }"), child, b], &[cycle]);
    // Three modules, one of them inline.
    check(
        &[
            ("lib.rs", "mod a { pub struct A(crate::b::B); } mod b; mod c;"),
            ("b.rs", "pub struct B(super::c::C);"),
            ("c.rs", "use crate::a; pub struct C(a::A);"),
        ],
        &["  crate::a → crate::b: B\n  crate::b → crate::c: C\n  crate::c → crate::a: A\n"],
    );
}
