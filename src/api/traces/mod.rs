//! The traces dialect: camelCase, numbered pages, seconds and US dollars.

mod body;
pub mod get;
pub mod list;
