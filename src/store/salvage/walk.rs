//! The trees of a file, from their roots, as far as their pages add up.

use std::collections::HashSet;

use super::StoreError;
use super::pages::{Layout, Node, Pages, Root, root_at};

/// Deeper than any tree: one of a billion pages has six levels.
const MAX_DEPTH: usize = 32;

/// A stretch of keys whose page is damaged: after the first, up to the second.
pub(super) type Unread = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Is shown a row: its key, numbers being big-endian, and its value.
type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError> + 'a;

/// The tables of a file.
pub(super) struct Walk<'a> {
    pages: &'a Pages,
    layout: Option<Layout>,
    /// Name and root of each table that is known; no root of one that is empty.
    tables: Vec<(Vec<u8>, Option<Root>)>,
}

/// One tree on its way.
struct Tree<'a, 'e> {
    pages: &'a Pages,
    layout: Layout,
    /// The width of its keys.
    width: Option<usize>,
    each: &'e mut Each<'e>,
    seen: HashSet<u64>,
    unread: Vec<Unread>,
}

impl<'a> Walk<'a> {
    /// Finds the tables by the newest root from which one is found.
    pub(super) fn new(pages: &'a Pages) -> Self {
        let Some((layout, roots)) = pages.roots() else {
            return Self { pages, layout: None, tables: Vec::new() };
        };
        let mut best = Vec::new();
        for root in roots {
            let mut tables = Vec::new();
            let mut each = |name: &[u8], definition: &[u8]| {
                // Type, length, whether there is a root, root.
                let root = definition.get(9).filter(|has| **has != 0);
                let root = root.and_then(|_| root_at(definition, 10));
                tables.push((name.to_vec(), root));
                Ok(())
            };
            let walked = walk(pages, layout, None, root, &mut each);
            if tables.len() > best.len() {
                best = tables;
            }
            if walked.is_ok_and(|unread| unread.is_empty()) {
                break;
            }
        }
        Self { pages, layout: Some(layout), tables: best }
    }

    /// Shows `each` the rows of a table; gives the stretches that cannot be read.
    pub(super) fn table(
        &self,
        name: &str,
        is_numbered: bool,
        each: &mut Each<'_>,
    ) -> Result<Vec<Unread>, StoreError> {
        let found = self.tables.iter().find(|(found, _)| found == name.as_bytes());
        match (self.layout, found) {
            (Some(layout), Some((_, Some(root)))) => {
                walk(self.pages, layout, is_numbered.then_some(8), *root, each)
            }
            (Some(_), Some((_, None))) => Ok(Vec::new()),
            _ => Ok(vec![(None, None)]),
        }
    }
}

fn walk(
    pages: &Pages,
    layout: Layout,
    width: Option<usize>,
    root: Root,
    each: &mut Each<'_>,
) -> Result<Vec<Unread>, StoreError> {
    let (seen, unread) = (HashSet::new(), Vec::new());
    let mut each = |key: &[u8], value: &[u8]| each(key, value);
    let mut tree = Tree { pages, layout, width, each: &mut each, seen, unread };
    tree.page(root, (None, None), 0)?;
    Ok(tree.unread)
}

impl Tree<'_, '_> {
    fn page(&mut self, root: Root, (after, up_to): Unread, depth: usize) -> Result<(), StoreError> {
        let is_new = self.seen.insert(root.page);
        let bytes = self.pages.page(self.layout, root).filter(|_| is_new && depth < MAX_DEPTH);
        let bytes = bytes.unwrap_or_default();
        match Node::of(&bytes, self.width).filter(|node| node.adds_up_to(root.checksum)) {
            Some(Node::Leaf(leaf)) => {
                for (key, value) in (0..leaf.count).filter_map(|n| leaf.row(n)) {
                    let key = ordered(key, self.width);
                    (self.each)(&key, value)?;
                }
            }
            Some(Node::Branch(branch)) => {
                for (from, to, child) in branch.children() {
                    let from = from.map(|key| ordered(key, self.width)).or(after.clone());
                    let to = to.map(|key| ordered(key, self.width)).or(up_to.clone());
                    match child {
                        Some(child) => self.page(child, (from, to), depth + 1)?,
                        None => self.unread.push((from, to)),
                    }
                }
            }
            None => self.unread.push((after, up_to)),
        }
        Ok(())
    }
}

/// A key as it sorts: redb writes numbers little-endian.
pub(super) fn ordered(key: &[u8], width: Option<usize>) -> Vec<u8> {
    let mut key = key.to_vec();
    if width.is_some() {
        key.reverse();
    }
    key
}
