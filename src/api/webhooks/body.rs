//! An endpoint as it is shown: without what is secret.

use serde::Serialize;

use crate::api::format;
use crate::domain::webhook::{Endpoint, Signing};
use crate::services::webhooks;

#[derive(Serialize)]
pub struct EndpointBody {
    id: String,
    vendor: &'static str,
    name: String,
    /// Where the vendor's calls go, below this server's address.
    path: String,
    settings: SettingsBody,
    created_at: String,
    disabled_at: Option<String>,
}

#[derive(Serialize)]
struct SettingsBody {
    public_url: Option<String>,
    account_sid: Option<String>,
    allowed_hosts: Vec<String>,
    fetch_user: Option<String>,
    signature: Option<Signing>,
    secret_header: Option<String>,
}

impl From<Endpoint> for EndpointBody {
    fn from(endpoint: Endpoint) -> Self {
        let path = webhooks::path(&endpoint);
        let settings = endpoint.settings;
        Self {
            id: endpoint.id,
            vendor: endpoint.vendor.as_str(),
            name: endpoint.name,
            path,
            settings: SettingsBody {
                public_url: settings.public_url,
                account_sid: settings.account_sid,
                allowed_hosts: settings.allowed_hosts,
                fetch_user: settings.fetch_user,
                signature: settings.signature,
                secret_header: settings.secret_header,
            },
            created_at: format::time(endpoint.created_at),
            disabled_at: endpoint.disabled_at.map(format::time),
        }
    }
}
