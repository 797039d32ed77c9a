//! One neutral page. How a dialect spells it (cursor, page number, offset) is its own business.

use crate::domain::record::Key;

/// Where a page starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start<K> {
    Beginning,
    /// Right behind this key, whether or not its row still exists.
    After(K),
    Skip(u32),
}

/// How many items a page holds at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u32);

impl Limit {
    /// The caller has checked its dialect's bounds.
    pub fn checked(limit: u32) -> Self {
        Self(limit)
    }

    pub fn get(self) -> u32 {
        self.0
    }

    /// One row more than the page shows tells whether there are more, without a count.
    pub fn probe(self) -> i64 {
        i64::from(self.0) + 1
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice<T> {
    pub items: Vec<T>,
    pub more: bool,
    /// Where it goes on, where that is beyond the last item: what lies between has been looked through.
    pub resume: Option<Key>,
}

impl<T> Slice<T> {
    pub fn from_probe(mut rows: Vec<T>, limit: Limit) -> Self {
        let more = rows.len() > limit.get() as usize;
        rows.truncate(limit.get() as usize);
        Self {
            items: rows,
            more,
            resume: None,
        }
    }
}
