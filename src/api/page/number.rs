//! Paging by numbered pages, for the dialect that has it.

use crate::domain::page::Limit;
use crate::problem::Params;

pub const LIMIT_DEFAULT: i64 = 10;
pub const LIMIT_MAX: i64 = 100;
pub const PAGE_MAX: i64 = 1_000_000;

/// Which page, and how long pages are.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    pub page: i64,
    pub limit: Limit,
}

pub fn read(params: &mut Params) -> Numbered {
    Numbered {
        page: params.int("page", 1, 1..=PAGE_MAX),
        limit: Limit::checked(params.int("limit", LIMIT_DEFAULT, 1..=LIMIT_MAX) as u32),
    }
}

impl Numbered {
    /// Items on the pages before.
    pub fn skip(self) -> i64 {
        (self.page - 1) * i64::from(self.limit.get())
    }

    pub fn pages(self, items: i64) -> i64 {
        (items + i64::from(self.limit.get()) - 1) / i64::from(self.limit.get())
    }

    /// The page behind this one, if there is one.
    pub fn next(self, items: i64) -> Option<String> {
        (self.page < self.pages(items)).then(|| (self.page + 1).to_string())
    }
}
