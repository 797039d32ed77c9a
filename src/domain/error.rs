//! What can go wrong, said neutrally. `problem` is the only place that turns this into a status.

use std::time::Duration;

use super::fields::ID_MAX_CHARS;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Not there, or not this tenant's: the same answer for both.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The request's parameters are wrong. All faults at once.
    #[error("invalid request: {}", list(.0))]
    Invalid(Vec<Fault>),
    /// The body parses but says something impossible. All faults at once.
    #[error("invalid content: {}", list(.0))]
    Unprocessable(Vec<Fault>),
    /// What is there already stands against it. The text says what.
    #[error("{0}")]
    Conflict(String),
    /// It was there, and was deleted on purpose.
    #[error("the {0} was deleted")]
    Gone(&'static str),
    /// It is not complete before the call has ended.
    #[error("the call is still in progress")]
    CallInProgress,
    /// More than this server takes. The text says what is too much.
    #[error("{0}")]
    TooLarge(String),
    /// The tenant has as much audio as it may. The text says how much that is.
    #[error("{0}")]
    StorageFull(String),
    /// The content is of no kind that is taken here. The text says which are.
    #[error("{0}")]
    Unsupported(String),
    /// The tenant uses more than its share, so many bytes waiting: try again later.
    #[error("too much at once")]
    Throttled { limit: u64, retry_after: Duration },
    /// The store cannot be reached or is full: try again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A stored value makes no sense, or the like. The text is for the log only.
    #[error("internal: {0}")]
    Internal(String),
}

/// One thing wrong with a request, named so that a person can mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    pub name: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Query,
    Path,
    Header,
    Body,
}

impl Place {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Path => "path",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

impl Fault {
    pub fn query(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: Place::Query,
            name: name.into(),
            message: message.into(),
        }
    }

    pub fn body(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: Place::Body,
            name: name.into(),
            message: message.into(),
        }
    }

    /// A member of a body that nothing is known by, and those that are.
    pub fn no_field(name: &str, known: &[&str]) -> Self {
        let name: String = name.chars().take(ID_MAX_CHARS).collect();
        let known = known.iter().map(|known| format!("`{known}`"));
        let known = known.collect::<Vec<_>>().join(", ");
        Self::body(name, format!("is no field here; there are {known}"))
    }

    /// The same where there are many, and one that may be meant.
    pub fn misnamed(name: &str, nearest: Option<&str>) -> Self {
        let name: String = name.chars().take(ID_MAX_CHARS).collect();
        let message = match nearest {
            Some(nearest) => format!("is no field here; did you mean `{nearest}`?"),
            None => "is no field here".to_owned(),
        };
        Self::body(name, message)
    }
}

fn list(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(|f| format!("{}: {}", f.name, f.message))
        .collect::<Vec<_>>()
        .join("; ")
}
