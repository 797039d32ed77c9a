//! The conversations dialect: snake_case, cursors, one item for every call from the first attempt to
//! connect. What the console shows. A file an endpoint.

pub mod get;
mod item;
pub mod list;
