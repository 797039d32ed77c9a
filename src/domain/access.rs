//! Who may do what: tenants, keys, and the rights that a key carries. (The API calls a right a scope;
//! here `Scope` is the store's proof that a key was checked.)

use chrono::{DateTime, Utc};

use super::ids::TenantId;

/// One thing that a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    SessionsRead,
    TranscriptsRead,
    IngestWrite,
    ReviewsWrite,
    Admin,
}

impl Right {
    pub const ALL: [Self; 5] = [
        Self::SessionsRead,
        Self::TranscriptsRead,
        Self::IngestWrite,
        Self::ReviewsWrite,
        Self::Admin,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SessionsRead => "sessions:read",
            Self::TranscriptsRead => "transcripts:read",
            Self::IngestWrite => "ingest:write",
            Self::ReviewsWrite => "reviews:write",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|right| right.as_str() == text)
            .ok_or_else(|| {
                let known = Self::ALL
                    .map(|right| format!("`{}`", right.as_str()))
                    .join(", ");
                format!("must be one of {known}, got `{text}`")
            })
    }
}

/// The rights of one key. None implies another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    pub fn contains(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL
            .into_iter()
            .filter(move |right| self.contains(*right))
    }

    /// As they are stored and shown.
    pub fn to_texts(self) -> Vec<String> {
        self.iter().map(|right| right.as_str().to_owned()).collect()
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(
            rights
                .into_iter()
                .fold(0, |bits, right| bits | 1 << right as u8),
        )
    }
}

/// A customer of this installation; sees nothing of another.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// What may be shown of a key: never the key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: String,
    pub tenant: TenantId,
    pub name: String,
    pub rights: Rights,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub replaced_by: Option<String>,
    pub last_used_at: Option<DateTime<Utc>>,
}

/// SHA-256 of a whole key.
pub type KeyHash = [u8; 32];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_survives_a_round_trip() {
        for right in Right::ALL {
            assert_eq!(right.as_str().parse(), Ok(right));
        }
    }

    #[test]
    fn rights_do_not_imply_each_other() {
        let rights: Rights = [Right::Admin].into_iter().collect();
        assert_eq!(rights.iter().collect::<Vec<_>>(), [Right::Admin]);
    }
}
