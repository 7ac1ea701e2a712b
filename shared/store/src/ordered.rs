//! An ordered map of items that hands out snapshots: a tree of three levels.
//!
//! ```text
//!  branches  [ core/pods/a/…            | core/secrets/…          ]    bounds
//!               v
//!  leaves    [ core/pods/a/… | core/pods/c/… | … ]  ≤ 128              bounds, shared pointers
//!               v
//!            [ items ≤ 256 ]
//! ```
//! A reader clones the pointers of the leaves that it needs and looks at them without any lock; a writer copies a
//! leaf only if somebody still looks at it. Counting and ranges cost a step per leaf, not per item. On each level the
//! heads of the keys, the eight bytes after what all have in common, stand together: looking for a key touches the
//! memory of a few keys instead of twenty, and at a million objects each of those would be a cache miss.
//! A tree from a library would take more memory per item and count slowly.

use std::ops::Range;
use std::sync::Arc;

use model::Key;

use crate::item::Item;

/// Items of one leaf. Larger leaves cost more per insertion (moving 64 bytes an item), smaller ones more leaves to
/// step over in a count: 256 keeps both near a microsecond at a million items. In this crate's own tests nodes are
/// small, so that a few items make a tall tree.
const LEAF: usize = if cfg!(test) { 8 } else { 256 };

/// Leaves of one branch: a million items have about fifty branches, whose bounds stay in the cache.
const BRANCH: usize = if cfg!(test) { 6 } else { 128 };

/// Items by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ordered {
    branches: Vec<Branch>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Branch {
    /// No key in this branch is smaller, every key in the branch before is.
    bound: Key,
    /// Of the leaves' bounds.
    heads: Heads,
    leaves: Vec<Leaf>,
}

#[derive(Clone, Debug)]
struct Leaf {
    /// No key in this leaf is smaller, every key in the leaf before is.
    bound: Key,
    heads: Heads,
    items: Arc<Vec<Item>>,
}

/// What a sorted run of keys has in common, and for each the eight bytes after that, as a number that sorts like them.
#[derive(Clone, Debug, Default)]
struct Heads {
    common: Box<[u8]>,
    heads: Vec<u64>,
}

/// Where a key is, or where it would be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    branch: usize,
    leaf: usize,
    index: usize,
}

/// A run of items that no later write changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slice {
    leaves: Vec<Arc<Vec<Item>>>,
    /// First item of the first leaf, and the end in the last one.
    start: usize,
    end: usize,
}

// === impl Ordered ===

impl Ordered {
    /// The map of items that are sorted by key and have no key twice.
    pub fn from_sorted(items: Vec<Item>) -> Self {
        let len = items.len();
        let mut leaves = Vec::with_capacity(len.div_ceil(LEAF));
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            leaves.push(Leaf::new(items.by_ref().take(LEAF).collect()));
        }
        let mut branches = Vec::with_capacity(leaves.len().div_ceil(BRANCH));
        let mut leaves = leaves.into_iter().peekable();
        while leaves.peek().is_some() {
            branches.push(Branch::new(leaves.by_ref().take(BRANCH).collect()));
        }
        Ordered { branches, len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: &str) -> Option<&Item> {
        self.find(key).ok().map(|place| self.at(place))
    }

    pub fn at(&self, place: Place) -> &Item {
        &self.branches[place.branch].leaves[place.leaf].items[place.index]
    }

    /// The place of `key`: `Ok` if it is there, `Err` where [`Ordered::insert`] would put it.
    pub fn find(&self, key: &str) -> Result<Place, Place> {
        let branch = self.branches.partition_point(|branch| branch.bound.as_str() <= key).saturating_sub(1);
        let Some(leaves) = self.branches.get(branch) else {
            return Err(Place { branch, leaf: 0, index: 0 });
        };
        let leaf = leaves.leaf_of(key);
        let place = |index| Place { branch, leaf, index };
        leaves.leaves[leaf].find(key).map(place).map_err(place)
    }

    /// Puts a new item at the place where `find` missed it.
    pub fn insert(&mut self, place: Place, item: Item) {
        self.len += 1;
        if self.branches.is_empty() {
            return self.branches.push(Branch::new(vec![Leaf::new(vec![item])]));
        }
        let place = self.make_room(place, &item.key);
        let branch = &mut self.branches[place.branch];
        if item.key < branch.bound {
            branch.lower_bound_to(&item.key);
        }
        branch.leaves[place.leaf].insert(place.index, item);
    }

    /// Replaces the item that is at `place`.
    pub fn replace(&mut self, place: Place, item: Item) -> Item {
        let leaf = &mut self.branches[place.branch].leaves[place.leaf];
        std::mem::replace(&mut Arc::make_mut(&mut leaf.items)[place.index], item)
    }

    /// Removes the item that is at `place`.
    pub fn remove(&mut self, place: Place) -> Item {
        self.len -= 1;
        let branch = &mut self.branches[place.branch];
        let removed = branch.leaves[place.leaf].remove(place.index);
        branch.tidy(place.leaf);
        if branch.leaves.is_empty() {
            self.branches.remove(place.branch);
        } else {
            self.merge(place.branch);
        }
        removed
    }

    /// The items under `prefix` that come after `after`, and how many there are. The slice holds at least `limit`
    /// of them if there are so many, and may hold up to two leaves more.
    pub fn slice(&self, prefix: &str, after: Option<&str>, limit: usize) -> (Slice, usize) {
        let from = match after {
            Some(after) if after >= prefix => self.first_that(|key| key > after),
            _ => self.first_that(|key| key >= prefix),
        };
        let to = self.first_that(|key| key > prefix && !key.starts_with(prefix));
        let mut slice = Slice::default();
        let mut total = 0;
        for (leaf, range) in self.leaves_between(from, to).filter(|(_, range)| !range.is_empty()) {
            if total < limit {
                if slice.leaves.is_empty() {
                    slice.start = range.start;
                }
                slice.leaves.push(Arc::clone(&leaf.items));
                slice.end = range.end;
            }
            total += range.len();
        }
        (slice, total)
    }

    /// The leaves between two places, each with the part of it that is between them.
    fn leaves_between(&self, from: Place, to: Place) -> impl Iterator<Item = (&Leaf, Range<usize>)> {
        let branches = self.branches.iter().enumerate().take(to.branch + 1).skip(from.branch);
        let leaves = branches.flat_map(|(branch, leaves)| {
            leaves.leaves.iter().enumerate().map(move |(leaf, it)| ((branch, leaf), it))
        });
        let (first, last) = ((from.branch, from.leaf), (to.branch, to.leaf));
        leaves.filter(move |(at, _)| (first..=last).contains(at)).map(move |(at, leaf)| {
            let start = if at == first { from.index } else { 0 };
            let end = if at == last { to.index } else { leaf.items.len() };
            (leaf, start..end.max(start))
        })
    }

    /// The first place whose key is one; the keys that are one must be the last ones.
    fn first_that(&self, is_one: impl Fn(&str) -> bool) -> Place {
        let branch = self.branches.partition_point(|branch| !is_one(branch.bound.as_str())).saturating_sub(1);
        let leaves = self.branches.get(branch).map_or(&[][..], |branch| &branch.leaves);
        let leaf = leaves.partition_point(|leaf| !is_one(leaf.bound.as_str())).saturating_sub(1);
        let items = leaves.get(leaf).map_or(&[][..], |leaf| &leaf.items);
        Place { branch, leaf, index: items.partition_point(|item| !is_one(item.key.as_str())) }
    }

    /// Splits what is full. Appending starts a new leaf instead, so that keys arriving in order fill their leaves.
    fn make_room(&mut self, place: Place, key: &Key) -> Place {
        let branch = &mut self.branches[place.branch];
        if branch.leaves[place.leaf].items.len() < LEAF {
            return place;
        }
        branch.split_leaf(place.leaf, place.index == LEAF);
        if branch.leaves.len() > BRANCH {
            let last = place.leaf + 2 == branch.leaves.len();
            let upper = branch.split(last);
            self.branches.insert(place.branch + 1, upper);
        }
        self.find(key.as_str()).unwrap_or_else(|place| place)
    }

    /// Joins a branch with the next one when both are small.
    fn merge(&mut self, branch: usize) {
        let size = |branch: &Branch| branch.leaves.len();
        if let [a, b, ..] = &self.branches[branch..]
            && size(a) + size(b) <= BRANCH / 2
        {
            let next = self.branches.remove(branch + 1);
            self.branches[branch].append(next);
        }
    }
}

// === impl Branch ===

impl Branch {
    /// The branch of these leaves, of which there is at least one.
    fn new(leaves: Vec<Leaf>) -> Self {
        let mut branch = Branch { bound: leaves[0].bound.clone(), heads: Heads::default(), leaves };
        branch.take_heads();
        branch
    }

    fn take_heads(&mut self) {
        self.heads = Heads::of(self.leaves.iter().map(|leaf| &leaf.bound));
    }

    /// The last leaf whose bound is not above `key`, or the first.
    fn leaf_of(&self, key: &str) -> usize {
        let alike = self.heads.alike(key);
        let start = alike.start;
        let not_above = self.leaves[alike].partition_point(|leaf| leaf.bound.as_str() <= key);
        (start + not_above).saturating_sub(1)
    }

    /// Makes room for smaller keys in the first leaf.
    fn lower_bound_to(&mut self, key: &Key) {
        self.bound = key.clone();
        self.leaves[0].bound = key.clone();
        self.take_heads();
    }

    fn split_leaf(&mut self, leaf: usize, appending: bool) {
        let at = if appending { LEAF - 1 } else { LEAF / 2 };
        let upper = self.leaves[leaf].split_off(at);
        if !self.heads.insert(leaf + 1, &upper.bound) {
            self.leaves.insert(leaf + 1, upper);
            return self.take_heads();
        }
        self.leaves.insert(leaf + 1, upper);
    }

    fn split(&mut self, appending: bool) -> Branch {
        let at = if appending { self.leaves.len() - 1 } else { self.leaves.len() / 2 };
        let upper = self.leaves.split_off(at);
        self.take_heads();
        Branch::new(upper)
    }

    fn append(&mut self, next: Branch) {
        self.leaves.extend(next.leaves);
        self.take_heads();
    }

    /// Removes a leaf that has become empty, or joins it with the next one when both are small, so that deletions do
    /// not leave many tiny leaves.
    fn tidy(&mut self, leaf: usize) {
        let size = |leaf: &Leaf| leaf.items.len();
        match &self.leaves[leaf..] {
            [only, ..] if size(only) == 0 => {
                self.leaves.remove(leaf);
                self.heads.remove(leaf);
                if leaf == 0 && !self.leaves.is_empty() {
                    // What would have come into the first leaf comes into the one that is first now.
                    let bound = self.bound.clone();
                    self.lower_bound_to(&bound);
                }
            }
            [a, b, ..] if size(a) + size(b) <= LEAF / 2 => {
                let next = self.leaves.remove(leaf + 1);
                self.heads.remove(leaf + 1);
                self.leaves[leaf].append(&next);
            }
            _ => {}
        }
    }
}

// === impl Leaf ===

impl Leaf {
    /// The leaf of these items, which are sorted and of which there is at least one.
    fn new(items: Vec<Item>) -> Self {
        let bound = items[0].key.clone();
        let mut leaf = Leaf { bound, heads: Heads::default(), items: Arc::new(items) };
        leaf.take_heads();
        leaf
    }

    fn take_heads(&mut self) {
        self.heads = Heads::of(self.items.iter().map(|item| &item.key));
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        let alike = self.heads.alike(key);
        let start = alike.start;
        let found = self.items[alike].binary_search_by(|item| item.key.as_str().cmp(key));
        found.map(|index| start + index).map_err(|index| start + index)
    }

    fn insert(&mut self, index: usize, item: Item) {
        let has_common = self.heads.insert(index, &item.key);
        Arc::make_mut(&mut self.items).insert(index, item);
        if !has_common {
            self.take_heads();
        }
    }

    fn remove(&mut self, index: usize) -> Item {
        self.heads.remove(index);
        Arc::make_mut(&mut self.items).remove(index)
    }

    fn split_off(&mut self, at: usize) -> Leaf {
        let upper = Arc::make_mut(&mut self.items).split_off(at);
        self.take_heads();
        Leaf::new(upper)
    }

    fn append(&mut self, next: &Leaf) {
        Arc::make_mut(&mut self.items).extend(next.items.iter().cloned());
        self.take_heads();
    }
}

// === impl Heads ===

impl Heads {
    /// The heads of keys that are sorted.
    fn of<'a>(keys: impl DoubleEndedIterator<Item = &'a Key> + Clone) -> Self {
        let (Some(first), Some(last)) = (keys.clone().next(), keys.clone().next_back()) else {
            return Heads::default();
        };
        // What the first and the last have in common, all between them have.
        let pairs = first.as_str().bytes().zip(last.as_str().bytes());
        let common = pairs.take_while(|(a, b)| a == b).count();
        let heads = keys.map(|key| head(&key.as_str().as_bytes()[common..])).collect();
        Heads { common: first.as_str().as_bytes()[..common].into(), heads }
    }

    /// The keys that only a look at them can tell from `key`: all before them are smaller, all after them larger.
    fn alike(&self, key: &str) -> Range<usize> {
        let Some(rest) = key.as_bytes().strip_prefix(&*self.common) else {
            let at = if key.as_bytes() < &*self.common { 0 } else { self.heads.len() };
            return at..at;
        };
        let head = head(rest);
        let start = self.heads.partition_point(|other| *other < head);
        start..start + self.heads[start..].partition_point(|other| *other == head)
    }

    /// Takes in a key at its place, if it has what all have in common.
    fn insert(&mut self, index: usize, key: &Key) -> bool {
        match key.as_str().as_bytes().strip_prefix(&*self.common) {
            Some(rest) => {
                self.heads.insert(index, head(rest));
                true
            }
            None => false,
        }
    }

    fn remove(&mut self, index: usize) {
        self.heads.remove(index);
    }
}

/// The first eight bytes as a number that sorts as they do.
fn head(bytes: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = bytes.len().min(8);
    head[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(head)
}

// === impl Slice ===

impl Slice {
    /// The items leaf by leaf, so that what was looked at need not be kept.
    pub fn into_leaves(self) -> impl Iterator<Item = Vec<Item>> {
        let last = self.leaves.len().saturating_sub(1);
        self.leaves.into_iter().enumerate().map(move |(number, items)| {
            let start = if number == 0 { self.start } else { 0 };
            let end = if number == last { self.end } else { items.len() };
            items[start..end].to_vec()
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Item> {
        let last = self.leaves.len().saturating_sub(1);
        self.leaves.iter().enumerate().flat_map(move |(number, items)| {
            let start = if number == 0 { self.start } else { 0 };
            let end = if number == last { self.end } else { items.len() };
            items[start..end].iter()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use model::Revision;
    use proptest::prelude::*;

    use super::*;

    fn item(key: &str, revision: u64) -> Item {
        let revision = Revision(revision);
        Item { key: Key::from_raw(key), revision, created: revision, value: Bytes::new() }
    }

    /// Keys of which some share much, some little, and some differ only after a long common head.
    fn key(n: u16) -> String {
        if n.is_multiple_of(5) {
            return format!("core/pods/3/{}{n}", "x".repeat(usize::from(n % 4) * 9));
        }
        format!("core/{}/{}/{n:05}", if n.is_multiple_of(3) { "pods" } else { "services" }, n % 7)
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_map(writes in prop::collection::vec((0u16..1500, any::<bool>()), 0..4000)) {
            let mut ordered = Ordered::default();
            let mut model = BTreeMap::new();
            let early = Ordered::default();
            let mut snapshot = (early.slice("", None, usize::MAX).0, Vec::new());
            for (step, (n, put)) in writes.iter().enumerate() {
                let key = key(*n);
                let item = item(&key, step as u64);
                match (ordered.find(&key), put) {
                    (Ok(place), true) => drop(ordered.replace(place, item.clone())),
                    (Err(place), true) => ordered.insert(place, item.clone()),
                    (Ok(place), false) => drop(ordered.remove(place)),
                    (Err(_), false) => {}
                }
                if *put { model.insert(key, item); } else { model.remove(&key); }
                if step == writes.len() / 2 {
                    snapshot = (ordered.slice("", None, usize::MAX).0, model.values().cloned().collect());
                }
            }
            prop_assert_eq!(ordered.len(), model.len());
            prop_assert_eq!(snapshot.0.iter().cloned().collect::<Vec<_>>(), snapshot.1);
            for (key, item) in &model {
                prop_assert_eq!(ordered.get(key), Some(item));
            }
            for prefix in ["", "core/", "core/pods/", "core/pods/3/", "core/services/", "core/t", "zzz"] {
                for after in [None, Some(key(300)), Some(key(301)), Some("core/pods/3/zzz".to_owned())] {
                    let expected: Vec<Item> = model
                        .iter()
                        .filter(|(key, _)| key.starts_with(prefix) && after.as_ref().is_none_or(|a| *key > a))
                        .map(|(_, item)| item.clone())
                        .collect();
                    for limit in [0, 1, 300, usize::MAX] {
                        let (slice, total) = ordered.slice(prefix, after.as_deref(), limit);
                        let got: Vec<Item> = slice.iter().cloned().collect();
                        prop_assert_eq!(total, expected.len());
                        prop_assert!(got.len() >= limit.min(total));
                        prop_assert_eq!(&got[..], &expected[..got.len()]);
                        prop_assert_eq!(slice.into_leaves().flatten().collect::<Vec<_>>(), got);
                    }
                }
            }
        }
    }

    #[test]
    fn keys_that_arrive_in_order_fill_their_leaves() {
        let mut ordered = Ordered::default();
        for n in 0..LEAF * 10 {
            let key = format!("core/pods/default/{n:06}");
            let place = ordered.find(&key).expect_err("a new key");
            ordered.insert(place, item(&key, 1));
        }
        let leaves: usize = ordered.branches.iter().map(|branch| branch.leaves.len()).sum();
        assert!(leaves <= LEAF * 10 / (LEAF - 1) + 1, "{leaves} leaves");
    }

    #[test]
    fn branches_split_and_join() {
        let mut ordered = Ordered::default();
        let count = LEAF * BRANCH * 3;
        let key = |n: usize| format!("core/pods/default/{:07}", n * 7919 % count);
        for n in 0..count {
            let key = key(n);
            let place = ordered.find(&key).expect_err("a new key");
            ordered.insert(place, item(&key, n as u64));
        }
        assert!(ordered.branches.len() > 3);
        assert!(ordered.branches.iter().all(|branch| branch.leaves.len() <= BRANCH));
        for n in 0..count - 10 {
            let place = ordered.find(&key(n)).expect("it is there");
            assert_eq!(ordered.remove(place).revision, Revision(n as u64));
        }
        assert_eq!((ordered.len(), ordered.branches.len()), (10, 1));
        assert!((count - 10..count).all(|n| ordered.get(&key(n)).is_some()));
    }
}
