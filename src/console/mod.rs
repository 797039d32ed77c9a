//! The console: pages for people, rendered here and readable without a script. Scripts only make them livelier.
//! Nothing is loaded from elsewhere. A file a page; templates in `templates/console`, style and scripts in
//! `assets/console`.

pub mod assets;
pub mod call;
mod causes;
mod charts;
pub mod dashboard;
mod error;
mod filter;
mod format;
pub mod home;
pub mod list;
mod page;
mod parts;
pub mod review;
pub mod sign_in;
pub mod trace;
pub mod write;

pub use error::{is_wanted, respond};
