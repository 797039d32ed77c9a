//! Webhooks: who may call, what is believed, what becomes of it, and recordings that are fetched afterwards.

mod carried;
mod manage;
mod odd;
mod recordings;
mod twilio;
mod vendors;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;
use tempfile::TempDir;
use voxray::config::Settings;

use crate::support::{Answer, Client, TestServer};

const SID: &str = "CA0123456789abcdef0123456789abcdef";
const SECRET: &str = "f1d2d2f924e986ac86fdf7b36c94bcdf";

/// A server without background work, whose recordings lie in a folder that goes with the test.
struct House {
    server: TestServer,
    _folder: TempDir,
}

impl House {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = TestServer::without_work_with(|settings| {
            settings.data_dir = folder.path().to_owned();
            change(settings);
        });
        Self {
            server: server.await,
            _folder: folder,
        }
    }

    /// Somebody of a new tenant who may manage and read.
    async fn manager(&self) -> Client {
        let acme = self.server.tenant("acme").await;
        acme.client("sessions:read,transcripts:read,admin").await
    }

    /// A vendor, who has no key.
    fn vendor(&self) -> Client {
        self.server.anonymous()
    }
}

/// Makes an endpoint and answers its path.
async fn endpoint(manager: &Client, vendor: &str, settings: Value) -> String {
    let wish = json!({ "vendor": vendor, "name": "main", "secret": SECRET, "settings": settings });
    let made = manager.post("/v1/admin/webhooks", &wish).await;
    let made = made.status(201).json();
    assert_eq!(
        made["secret"],
        Value::Null,
        "what was given is not told again"
    );
    made["path"].as_str().expect("a path").to_owned()
}

/// The endpoint's log: result, status and reason of each delivery, the newest first.
async fn log(manager: &Client, path: &str) -> Vec<Value> {
    let id = path.rsplit('/').next().expect("an id");
    let list = manager
        .get(&format!("/v1/admin/webhooks/{id}/deliveries"))
        .await;
    let list = list.status(200).json();
    list["data"].as_array().expect("a list").clone()
}

async fn results(manager: &Client, path: &str) -> Vec<String> {
    let log = log(manager, path).await;
    let result = |line: &Value| line["result"].as_str().unwrap_or_default().to_owned();
    log.iter().map(result).collect()
}

fn form(params: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(params)
        .finish()
}

/// Twilio's signature, by its own description.
fn twilio_signature(token: &str, url: &str, params: &[(&str, &str)]) -> String {
    let mut sorted = params.to_vec();
    sorted.sort_unstable();
    let mut mac = Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("a key");
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A callback to this path as Twilio sends it that signs this address.
async fn callback(vendor: &Client, path: &str, url: &str, params: &[(&str, &str)]) -> Answer {
    let signature = twilio_signature(SECRET, url, params);
    let body = form(params);
    vendor
        .send(Method::POST, path, |request| {
            request
                .header("content-type", "application/x-www-form-urlencoded")
                .header("x-twilio-signature", signature)
                .body(body)
        })
        .await
}

fn hex_hmac(secret: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    parts.iter().for_each(|part| mac.update(part));
    hex::encode(mac.finalize().into_bytes())
}

/// A JSON body with one more header.
async fn deliver(vendor: &Client, path: &str, (name, value): (&str, &str), body: &str) -> Answer {
    let body = body.to_owned();
    vendor
        .send(Method::POST, path, |request| {
            request
                .header("content-type", "application/json")
                .header(name, value)
                .body(body)
        })
        .await
}
