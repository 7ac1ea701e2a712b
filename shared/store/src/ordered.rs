//! An ordered map of items that hands out snapshots.
//!
//! ```text
//!  leaves  [ core/pods/a/…  | core/pods/c/…  | core/secrets/… ]     bound, shared pointer
//!               v                  v                 v
//!           [items ≤ 256]      [items ≤ 256]     [items ≤ 256]
//! ```
//! A reader clones the pointers of the leaves that it needs and looks at them without any lock; a writer copies a
//! leaf only if somebody still looks at it. Counting and ranges cost a step per leaf, not per item. Beside its items a
//! leaf has the heads of their keys, the eight bytes after what all have in common, so that looking for a key touches
//! the memory of one or two keys instead of eight: at a million objects each is a cache miss.
//! A tree from a library would do the same with more memory per item and without cheap counts.

use std::sync::Arc;

use model::Key;

use crate::item::Item;

/// Items of one leaf. Larger leaves cost more per insertion (moving 64 bytes an item), smaller ones more leaves to
/// step over in a count: 256 keeps both near a microsecond at a million items.
const LEAF: usize = 256;

/// Items by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ordered {
    leaves: Vec<Leaf>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Leaf {
    /// No key in this leaf is smaller, every key in the leaf before is.
    bound: Key,
    /// What all keys begin with.
    common: Box<[u8]>,
    /// What follows in each of them, see [`head`].
    heads: Vec<u64>,
    items: Arc<Vec<Item>>,
}

/// Where a key is, or where it would be put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
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
        Ordered { leaves, len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: &str) -> Option<&Item> {
        self.find(key).ok().map(|place| self.at(place))
    }

    pub fn at(&self, place: Place) -> &Item {
        &self.leaves[place.leaf].items[place.index]
    }

    /// The place of `key`: `Ok` if it is there, `Err` where [`Ordered::insert`] would put it.
    pub fn find(&self, key: &str) -> Result<Place, Place> {
        let leaf = self.leaf_of(key);
        let Some(found) = self.leaves.get(leaf).map(|leaf| leaf.find(key)) else {
            return Err(Place { leaf, index: 0 });
        };
        found.map(|index| Place { leaf, index }).map_err(|index| Place { leaf, index })
    }

    /// Puts a new item at the place where `find` missed it.
    pub fn insert(&mut self, place: Place, item: Item) {
        self.len += 1;
        if self.leaves.is_empty() {
            return self.leaves.push(Leaf::new(vec![item]));
        }
        let place = self.make_room(place);
        self.leaves[place.leaf].insert(place.index, item);
    }

    /// Replaces the item that is at `place`.
    pub fn replace(&mut self, place: Place, item: Item) -> Item {
        let items = Arc::make_mut(&mut self.leaves[place.leaf].items);
        std::mem::replace(&mut items[place.index], item)
    }

    /// Removes the item that is at `place`.
    pub fn remove(&mut self, place: Place) -> Item {
        self.len -= 1;
        let leaf = &mut self.leaves[place.leaf];
        let removed = leaf.remove(place.index);
        if leaf.items.is_empty() {
            self.leaves.remove(place.leaf);
        } else {
            self.merge(place.leaf);
        }
        removed
    }

    /// The items under `prefix` that come after `after`, and how many there are. The slice holds at least `limit`
    /// of them if there are so many, and may hold up to two leaves more.
    pub fn slice(&self, prefix: &str, after: Option<&str>, limit: usize) -> (Slice, usize) {
        let from = match after {
            Some(after) if after >= prefix => self.lower_bound(|key| key > after),
            _ => self.lower_bound(|key| key >= prefix),
        };
        let to = self.lower_bound(|key| key > prefix && !key.starts_with(prefix));
        if (from.leaf, from.index) >= (to.leaf, to.index) {
            return (Slice::default(), 0);
        }
        let mut slice = Slice::default();
        let mut total = 0;
        for (number, leaf) in self.leaves.iter().enumerate().take(to.leaf + 1).skip(from.leaf) {
            let start = if number == from.leaf { from.index } else { 0 };
            let end = if number == to.leaf { to.index } else { leaf.items.len() };
            if total < limit && end > start {
                if slice.leaves.is_empty() {
                    slice.start = start;
                }
                slice.leaves.push(Arc::clone(&leaf.items));
                slice.end = end;
            }
            total += end - start;
        }
        (slice, total)
    }

    /// The last leaf whose bound is not above `key`.
    fn leaf_of(&self, key: &str) -> usize {
        self.leaves.partition_point(|leaf| leaf.bound.as_str() <= key).saturating_sub(1)
    }

    /// The first place whose key `reached` holds for; `reached` must hold for every later key too.
    fn lower_bound(&self, reached: impl Fn(&str) -> bool) -> Place {
        let leaf = self.leaves.partition_point(|leaf| !reached(leaf.bound.as_str())).saturating_sub(1);
        let Some(items) = self.leaves.get(leaf).map(|leaf| &leaf.items) else {
            return Place { leaf, index: 0 };
        };
        Place { leaf, index: items.partition_point(|item| !reached(item.key.as_str())) }
    }

    /// Splits a full leaf. Appending starts a new leaf instead, so that keys arriving in order fill their leaves.
    fn make_room(&mut self, place: Place) -> Place {
        let leaf = &mut self.leaves[place.leaf];
        if leaf.items.len() < LEAF {
            return place;
        }
        let at = if place.index == LEAF { LEAF - 1 } else { LEAF / 2 };
        let upper = leaf.split_off(at);
        self.leaves.insert(place.leaf + 1, upper);
        match place.index.checked_sub(at) {
            Some(index) if index > 0 => Place { leaf: place.leaf + 1, index },
            _ => place,
        }
    }

    /// Joins a leaf with the next one when both are small, so that deletions do not leave many tiny leaves.
    fn merge(&mut self, leaf: usize) {
        let size = |leaf: &Leaf| leaf.items.len();
        if leaf + 1 < self.leaves.len() && size(&self.leaves[leaf]) + size(&self.leaves[leaf + 1]) <= LEAF / 2
        {
            let next = self.leaves.remove(leaf + 1);
            self.leaves[leaf].append(&next);
        }
    }
}

// === impl Leaf ===

impl Leaf {
    /// The leaf of these items, which are sorted and of which there is at least one.
    fn new(items: Vec<Item>) -> Self {
        let bound = items[0].key.clone();
        let mut leaf = Leaf { bound, common: Box::default(), heads: Vec::new(), items: Arc::new(items) };
        leaf.take_heads();
        leaf
    }

    /// Takes the heads anew, after what the keys have in common may have changed.
    fn take_heads(&mut self) {
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else { return };
        // The items are sorted: what the first and the last have in common, all have.
        let pairs = first.key.as_str().bytes().zip(last.key.as_str().bytes());
        let common = pairs.take_while(|(a, b)| a == b).count();
        self.common = first.key.as_str().as_bytes()[..common].into();
        self.heads = self.items.iter().map(|item| head(&item.key.as_str().as_bytes()[common..])).collect();
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        let Some(rest) = key.as_bytes().strip_prefix(&*self.common) else {
            return Err(if key.as_bytes() < &*self.common { 0 } else { self.items.len() });
        };
        let head = head(rest);
        let from = self.heads.partition_point(|other| *other < head);
        let same = self.heads[from..].partition_point(|other| *other == head);
        let found = self.items[from..from + same].binary_search_by(|item| item.key.as_str().cmp(key));
        found.map(|index| from + index).map_err(|index| from + index)
    }

    fn insert(&mut self, index: usize, item: Item) {
        if index == 0 && item.key < self.bound {
            self.bound = item.key.clone();
        }
        let head = item.key.as_str().as_bytes().strip_prefix(&*self.common).map(head);
        Arc::make_mut(&mut self.items).insert(index, item);
        match head {
            Some(head) => self.heads.insert(index, head),
            None => self.take_heads(),
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
        assert!(ordered.leaves.len() <= 11, "{} leaves", ordered.leaves.len());
    }
}
