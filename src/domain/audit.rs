//! The audit log: who changed what, as a chain in which each entry holds the hash of the one before. To
//! change an entry unseen, all later ones and the head would have to be written anew; whoever has kept
//! an earlier `seq` and hash sees even that.

use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};

use crate::domain::ids::TenantId;

pub type Hash = [u8; 32];

/// What the first entry of a chain follows.
pub const GENESIS: Hash = [0; 32];

/// Who acts by the command line.
pub const OPERATOR: &str = "operator";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    SessionEdit,
    SessionDelete,
    EvaluationCreate,
    EvaluationUpdate,
    EvaluationDelete,
    KeyCreate,
    KeyRotate,
    KeyRevoke,
    RecordingDelete,
    LivekitKeyAdd,
    LivekitKeyRemove,
    PricesUpdate,
    RetentionUpdate,
    TargetsUpdate,
    WebhookCreate,
    WebhookDisable,
}

impl Action {
    pub const ALL: [Self; 16] = [
        Self::SessionEdit,
        Self::SessionDelete,
        Self::EvaluationCreate,
        Self::EvaluationUpdate,
        Self::EvaluationDelete,
        Self::KeyCreate,
        Self::KeyRotate,
        Self::KeyRevoke,
        Self::RecordingDelete,
        Self::PricesUpdate,
        Self::RetentionUpdate,
        Self::LivekitKeyAdd,
        Self::LivekitKeyRemove,
        Self::TargetsUpdate,
        Self::WebhookCreate,
        Self::WebhookDisable,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SessionEdit => "session.edit",
            Self::SessionDelete => "session.delete",
            Self::EvaluationCreate => "evaluation.create",
            Self::EvaluationUpdate => "evaluation.update",
            Self::EvaluationDelete => "evaluation.delete",
            Self::KeyCreate => "key.create",
            Self::KeyRotate => "key.rotate",
            Self::KeyRevoke => "key.revoke",
            Self::RecordingDelete => "recording.delete",
            Self::PricesUpdate => "prices.update",
            Self::LivekitKeyAdd => "livekit_key.add",
            Self::LivekitKeyRemove => "livekit_key.remove",
            Self::RetentionUpdate => "retention.update",
            Self::TargetsUpdate => "targets.update",
            Self::WebhookCreate => "webhook.create",
            Self::WebhookDisable => "webhook.disable",
        }
    }

    /// What sort of thing it is done to.
    pub fn object_type(self) -> &'static str {
        match self {
            Self::SessionEdit | Self::SessionDelete => "session",
            Self::EvaluationCreate | Self::EvaluationUpdate | Self::EvaluationDelete => {
                "evaluation"
            }
            Self::KeyCreate | Self::KeyRotate | Self::KeyRevoke => "key",
            Self::RecordingDelete => "recording",
            Self::PricesUpdate => "prices",
            Self::LivekitKeyAdd | Self::LivekitKeyRemove => "livekit_key",
            Self::RetentionUpdate => "retention",
            Self::TargetsUpdate => "targets",
            Self::WebhookCreate | Self::WebhookDisable => "webhook",
        }
    }
}

/// A change to be noted: ids and names of fields, never what they say.
#[derive(Clone, Debug)]
pub struct Deed {
    pub at: DateTime<Utc>,
    /// A key's public id, or [`OPERATOR`].
    pub actor: String,
    pub action: Action,
    pub object_id: String,
    pub fields: Vec<String>,
}

/// A link of the chain, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub seq: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub action: String,
    pub object_type: String,
    pub object_id: String,
    pub fields: Vec<String>,
    pub previous_hash: Vec<u8>,
    pub hash: Vec<u8>,
}

impl Entry {
    pub fn new(tenant: TenantId, seq: i64, previous: &Hash, deed: Deed) -> Self {
        let mut entry = Self {
            seq,
            at: deed.at,
            actor: deed.actor,
            action: deed.action.as_str().to_owned(),
            object_type: deed.action.object_type().to_owned(),
            object_id: deed.object_id,
            fields: deed.fields,
            previous_hash: previous.to_vec(),
            hash: Vec::new(),
        };
        entry.hash = entry.computed_hash(tenant).to_vec();
        entry
    }

    /// SHA-256 of the compact JSON list of the tenant and the entry's members but the hash itself, times
    /// with six decimals, the hash before in hexadecimal.
    pub fn computed_hash(&self, tenant: TenantId) -> Hash {
        let said = serde_json::json!([
            tenant.to_string(),
            self.seq,
            self.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            self.actor,
            self.action,
            self.object_type,
            self.object_id,
            self.fields,
            hex::encode(&self.previous_hash),
        ]);
        Sha256::digest(said.to_string().as_bytes()).into()
    }
}

/// Which entries a list shows. Absent means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub action: Option<&'static str>,
    pub object_id: Option<String>,
    pub actor: Option<String>,
    /// Half-open.
    pub after: Option<DateTime<Utc>>,
    pub before: Option<DateTime<Utc>>,
}

/// What lists are ordered by, newest first.
pub type Key = (DateTime<Utc>, i64);

/// A chain on the way from its first entry to its last.
#[derive(Debug)]
pub struct Walk {
    tenant: TenantId,
    seq: i64,
    hash: Vec<u8>,
    broken: Option<i64>,
}

/// What came of walking a whole chain.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// Where the head says that the chain ends.
    pub seq: i64,
    pub head_hash: Vec<u8>,
    pub first_broken_seq: Option<i64>,
}

impl Walk {
    pub fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            seq: 0,
            hash: GENESIS.to_vec(),
            broken: None,
        }
    }

    /// Takes the next entry. Past the first break nothing more can be told.
    pub fn step(&mut self, entry: &Entry) {
        if self.broken.is_some() {
            return;
        }
        let expected = self.seq + 1;
        let follows = entry.seq == expected
            && entry.previous_hash == self.hash
            && entry.hash == entry.computed_hash(self.tenant);
        if follows {
            self.seq = entry.seq;
            self.hash.clone_from(&entry.hash);
        } else {
            self.broken = Some(expected);
        }
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Compares where the walk has ended with where the head says that it must.
    pub fn end(self, seq: i64, head_hash: Vec<u8>) -> Verdict {
        let at_head = match self.seq.cmp(&seq) {
            std::cmp::Ordering::Less => Some(self.seq + 1),
            std::cmp::Ordering::Greater => Some(seq + 1),
            std::cmp::Ordering::Equal => (self.hash != head_hash).then_some(seq),
        };
        Verdict {
            seq,
            head_hash,
            first_broken_seq: self.broken.or(at_head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const TENANT: TenantId = TenantId(Uuid::from_u128(7));

    fn chain(length: i64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for seq in 1..=length {
            let previous: Hash = entries.last().map_or(GENESIS, |last| {
                last.hash.clone().try_into().expect("32 bytes")
            });
            let deed = Deed {
                at: DateTime::UNIX_EPOCH,
                actor: "key".to_owned(),
                action: Action::SessionEdit,
                object_id: format!("s{seq}"),
                fields: vec!["tags".to_owned()],
            };
            entries.push(Entry::new(TENANT, seq, &previous, deed));
        }
        entries
    }

    fn broken(entries: &[Entry], head: &Entry) -> Option<i64> {
        let mut walk = Walk::new(TENANT);
        entries.iter().for_each(|entry| walk.step(entry));
        walk.end(head.seq, head.hash.clone()).first_broken_seq
    }

    #[test]
    fn a_break_is_found_where_it_is() {
        let whole = chain(5);
        let head = whole[4].clone();
        assert_eq!(broken(&whole, &head), None);
        assert_eq!(broken(&whole[..3], &head), Some(4), "the tail is cut");
        assert_eq!(
            broken(&whole, &whole[2]),
            Some(4),
            "the head was moved back"
        );
        let mut holed = whole.clone();
        holed.remove(1);
        assert_eq!(broken(&holed, &head), Some(2));
        let mut changed = whole.clone();
        changed[2].fields.clear();
        assert_eq!(broken(&changed, &head), Some(3));
        // Even with a fresh hash of its own: the next one does not follow.
        changed[2].hash = changed[2].computed_hash(TENANT).to_vec();
        assert_eq!(broken(&changed, &head), Some(4));
        let mut forged = head.clone();
        forged.hash = GENESIS.to_vec();
        assert_eq!(broken(&whole, &forged), Some(5));
    }

    #[test]
    fn a_chain_is_its_tenants() {
        let mut walk = Walk::new(TenantId(Uuid::from_u128(8)));
        chain(1).iter().for_each(|entry| walk.step(entry));
        assert!(walk.is_broken());
    }
}
