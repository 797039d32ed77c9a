//! Webhooks: the endpoints of a tenant, and what becomes of what vendors send to them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rand::distr::{Alphanumeric, SampleString};

use crate::domain::event::SessionRef;
use crate::domain::recording::{Placement, is_call_sid};
use crate::domain::webhook::{
    Announced, Delivery, Endpoint, Fate, Fetch, Settings, Told, Vendor, is_secret,
};
use crate::domain::{Error, Fault, Result};
use crate::objects::Objects;
use crate::services::ingest::{Item, Receipt};
use crate::services::{fetches, ingest, recordings};
use crate::store::ingest::{Admission, Writer};
use crate::store::{Scope, Store, webhooks};

/// As many letters and digits hold 190 bits: nobody guesses an address.
const ID_CHARS: usize = 32;
const GENERATED_SECRET_CHARS: usize = 40;
/// Decoded at once. A multiple of 4, which base64 comes in.
const DECODE_CHARS: usize = 256 * 1024;
/// Told in an endpoint's log.
const EVENT_MAX_CHARS: usize = 100;
const REASON_MAX_CHARS: usize = 300;

/// A new endpoint, as somebody asks for it.
#[derive(Clone, Debug)]
pub struct Wish {
    pub vendor: Vendor,
    pub name: String,
    /// What the vendor signs with; made up here where the vendor lets us choose.
    pub secret: Option<String>,
    pub settings: Settings,
}

/// A new endpoint, and whether its secret was made up here: it is shown this once.
pub struct Made {
    pub endpoint: Endpoint,
    pub is_secret_new: bool,
}

/// Where a vendor's calls go.
pub fn path(endpoint: &Endpoint) -> String {
    format!("/v1/ingest/{}/{}", endpoint.vendor.as_str(), endpoint.id)
}

/// Makes an endpoint.
pub async fn create(scope: &Scope, wish: Wish, actor: &str, now: DateTime<Utc>) -> Result<Made> {
    let mut faults = wish.settings.faults(wish.vendor);
    let name = wish.name.trim();
    if name.is_empty() || name.chars().count() > 255 || name.chars().any(char::is_control) {
        let message = "must have 1 to 255 characters, and no control characters";
        faults.push(Fault::body("name", message));
    }
    match &wish.secret {
        Some(secret) if !is_secret(secret) => {
            let message = "must have 1 to 1000 characters, and no control characters";
            faults.push(Fault::body("secret", message));
        }
        Some(_) if wish.vendor == Vendor::Livekit => {
            let message = "is not needed: its webhooks are believed by the tenant's LiveKit keys";
            faults.push(Fault::body("secret", message));
        }
        None if !matches!(wish.vendor, Vendor::Vapi | Vendor::Livekit) => {
            let message = match wish.vendor {
                Vendor::Twilio => "is required: the account's auth token",
                Vendor::Retell => "is required: the API key that has the webhook badge",
                _ => "is required: the secret that the vendor shows where the webhook is set up",
            };
            faults.push(Fault::body("secret", message));
        }
        _ => {}
    }
    if !faults.is_empty() {
        return Err(Error::Unprocessable(faults));
    }
    let is_secret_new = wish.secret.is_none() && wish.vendor != Vendor::Livekit;
    let random = |chars| Alphanumeric.sample_string(&mut rand::rng(), chars);
    let endpoint = Endpoint {
        id: random(ID_CHARS),
        vendor: wish.vendor,
        name: name.to_owned(),
        secret: match is_secret_new {
            true => random(GENERATED_SECRET_CHARS),
            false => wish.secret.unwrap_or_default(),
        },
        settings: wish.settings,
        created_at: now,
        disabled_at: None,
    };
    webhooks::create(scope, &endpoint, actor).await?;
    Ok(Made {
        endpoint,
        is_secret_new,
    })
}

pub async fn list(scope: &Scope, with_disabled: bool) -> Result<Vec<Endpoint>> {
    webhooks::list(scope, with_disabled).await
}

/// Closes an endpoint for good.
pub async fn disable(scope: &Scope, id: &str, actor: &str, now: DateTime<Utc>) -> Result<()> {
    webhooks::disable(scope, id, actor, now).await
}

/// What has come lately, newest first.
pub async fn deliveries(scope: &Scope, id: &str) -> Result<Vec<Delivery>> {
    let endpoint = webhooks::find(scope, id).await?;
    webhooks::deliveries(scope, &endpoint.id).await
}

/// A vendor's door that is open: the tenant's scope, and how the vendor proves who it is.
pub struct Door {
    pub endpoint: Endpoint,
    scope: Scope,
}

/// The door at this address.
pub async fn open(store: &Store, vendor: Vendor, id: &str) -> Result<Door> {
    let is_id = id.len() == ID_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let found = if is_id {
        webhooks::open(store, id).await?
    } else {
        None
    };
    match found {
        Some((scope, endpoint)) if endpoint.vendor == vendor => Ok(Door { endpoint, scope }),
        _ => Err(Error::NotFound("webhook endpoint")),
    }
}

/// What became of a delivery.
#[derive(Debug)]
pub struct Done {
    pub fate: Fate,
    pub reason: Option<String>,
}

impl Door {
    /// Room for what is to be written.
    pub fn admit(&self, writer: &Writer, bytes: usize) -> Result<Admission> {
        writer.admit(&self.scope, bytes)
    }

    pub fn tenant(&self) -> crate::domain::ids::TenantId {
        self.scope.tenant()
    }

    /// Writes what was told, and sees to the recording: where audio is kept, and how much of it.
    pub async fn take(
        &self,
        writer: &Writer,
        audio: (&Objects, u64),
        told: Told,
        admission: Admission,
        now: DateTime<Utc>,
    ) -> Result<Done> {
        if let Some(why) = told.ignored {
            return Ok(Done {
                fate: Fate::Ignored,
                reason: Some(why),
            });
        }
        let Some(session) = told.session else {
            return Ok(Done {
                fate: Fate::Ignored,
                reason: Some("it names no call".to_owned()),
            });
        };
        let is_undated = told.is_undated;
        let items = told.submissions.into_iter().map(|submission| {
            let submission = match is_undated {
                true => submission.undated(),
                false => submission,
            };
            Item {
                id: None,
                content: Ok((session.clone(), submission)),
                unknown: Vec::new(),
            }
        });
        let items: Vec<Item> = items.collect();
        if items.is_empty() && told.recording.is_none() {
            return Ok(Done {
                fate: Fate::Ignored,
                reason: Some("it says nothing that is kept here".to_owned()),
            });
        }
        let receipt = match items.is_empty() {
            true => Receipt::default(),
            false => ingest::take(writer, &self.scope, items, admission, now).await?,
        };
        let is_new = match told.recording {
            // What is over and done with gets no audio either.
            Some(_) if receipt.closed > 0 => false,
            Some(recording) => self.see_to(recording, &session, audio, now).await?,
            None => false,
        };
        Ok(done(&receipt, is_new))
    }

    /// Sees to the recording alone of what was taken before: one that was given up meanwhile is wanted anew.
    pub async fn take_again(
        &self,
        audio: (&Objects, u64),
        told: Told,
        now: DateTime<Utc>,
    ) -> Result<Done> {
        let is_new = match (told.recording, told.session) {
            (Some(recording @ Announced::At { .. }), Some(session)) => {
                self.see_to(recording, &session, audio, now).await?
            }
            _ => false,
        };
        Ok(match is_new {
            true => done(&Receipt::default(), true),
            false => Done {
                fate: Fate::Duplicate,
                reason: Some("the same was sent before".to_owned()),
            },
        })
    }

    /// Answers whether it is anything new.
    async fn see_to(
        &self,
        recording: Announced,
        session: &SessionRef,
        (objects, limit_bytes): (&Objects, u64),
        now: DateTime<Utc>,
    ) -> Result<bool> {
        // A carrier's id is known to recordings itself, of others the session's id.
        let reference = match is_call_sid(&session.external_id) {
            true => session.external_id.clone(),
            false => session.id.to_string(),
        };
        // Doors that name a call differently announce recordings of one call.
        let known = recordings::check_open(&self.scope, &reference, now).await?;
        let fetch = |url: String, placement: Placement, failure| Fetch {
            id: known.unwrap_or(session.id),
            reference: reference.clone(),
            url,
            endpoint_id: Some(self.endpoint.id.clone()),
            placement,
            attempts: 0,
            created_at: now,
            failure,
        };
        match recording {
            Announced::At { url, placement } => {
                fetches::want(&self.scope, &fetch(url, placement, None)).await
            }
            Announced::Missing(why) => {
                let none = fetch(String::new(), Placement::default(), Some(why));
                fetches::want(&self.scope, &none).await
            }
            Announced::Enclosed(text) => {
                let before = recordings::place(&self.scope, &reference, now).await?;
                let spooled = decoded(objects, limit_bytes, text).await?;
                if before.holds(&spooled) {
                    return Ok(false);
                }
                let placement = Placement::default();
                recordings::keep(&self.scope, objects, before, &spooled, placement, now).await?;
                Ok(true)
            }
        }
    }

    /// Whether this body was taken already.
    pub async fn was_taken(&self, digest: &[u8; 32]) -> Result<bool> {
        webhooks::was_taken(&self.scope, &self.endpoint.id, digest).await
    }

    /// Notes what came of a delivery. That this fails must not have the vendor send it again.
    pub async fn note(
        &self,
        (status, done, digest): (u16, &Done, Option<[u8; 32]>),
        event: Option<&str>,
        session: Option<&SessionRef>,
        now: DateTime<Utc>,
    ) {
        let cut = |text: &str, max| text.chars().filter(|c| *c != '\0').take(max).collect();
        let delivery = Delivery {
            received_at: now,
            status: i16::try_from(status).unwrap_or(500),
            result: done.fate.as_str().to_owned(),
            reason: done.reason.as_deref().map(|why| cut(why, REASON_MAX_CHARS)),
            event: event.map(|event| cut(event, EVENT_MAX_CHARS)),
            session: session.map(|session| session.id),
            digest,
        };
        let labels = [
            ("vendor", self.endpoint.vendor.as_str()),
            ("result", done.fate.as_str()),
        ];
        metrics::counter!("voxray_webhook_deliveries_total", &labels).increment(1);
        if let Err(error) = webhooks::note(&self.scope, &self.endpoint.id, &delivery).await {
            tracing::warn!(%error, "a webhook delivery could not be logged");
        }
    }
}

fn done(receipt: &Receipt, is_recording_new: bool) -> Done {
    let refused = receipt.rejected.first();
    let why = refused.and_then(|rejection| rejection.faults.first());
    let fate = if receipt.accepted > 0 || is_recording_new {
        Fate::Accepted
    } else if refused.is_some() {
        Fate::Ignored
    } else {
        Fate::Duplicate
    };
    let known = match fate {
        Fate::Duplicate if receipt.overtaken > 0 => Some("something newer is known"),
        Fate::Duplicate => Some("it is known already"),
        _ => None,
    };
    let known = known.map(str::to_owned);
    Done {
        fate,
        reason: why.map(|fault| fault.message.clone()).or(known),
    }
}

/// Audio out of base64, stretch by stretch.
async fn decoded(
    objects: &Objects,
    limit_bytes: u64,
    text: String,
) -> Result<crate::objects::Spooled> {
    let mut spool = objects.spool(limit_bytes).await?;
    let bytes = text.into_bytes();
    for chunk in bytes.chunks(DECODE_CHARS) {
        let audio = STANDARD.decode(chunk).map_err(|_| {
            Error::Unprocessable(vec![Fault::body("data.full_audio", "must be base64")])
        })?;
        spool.write(Bytes::from(audio)).await?;
    }
    spool.finish().await
}
