//! Fetching audio from elsewhere, for whoever may name an address but must not reach what only this
//! server can reach: only listed hosts, only public addresses, every redirect judged anew.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tokio::net::lookup_host;
use url::{Host, Url};

use super::address::is_public;
use super::{Spool, Spooled};
use crate::domain::{Error, Fault, Result};

const REDIRECTS_MAX: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte for so long, the source counts as dead.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Whom we fetch from.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `host`, at its scheme's own port, or `host:port`.
    pub allowed_hosts: Vec<String>,
    /// Also from addresses that are not public: for tests and closed networks.
    pub allow_private: bool,
}

/// Fetches by rules.
#[derive(Clone, Debug, Default)]
pub struct Fetcher {
    rules: Rules,
}

impl Fetcher {
    pub fn new(rules: Rules) -> Self {
        choose_cryptography();
        Self { rules }
    }

    /// The whole body behind a URL, as far as the spool's limit.
    pub async fn fetch(&self, url: &str, spool: Spool) -> Result<Spooled> {
        let mut url =
            Url::parse(url).map_err(|error| refused(format!("must be a URL: {error}")))?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(&url).await?;
            if response.status().is_redirection() {
                url = next(&url, &response)?;
                continue;
            }
            if response.status() != 200 {
                return Err(refused(format!(
                    "must lead to audio: the source answers with status {}",
                    response.status().as_u16()
                )));
            }
            return receive(response, spool).await;
        }
        Err(refused(format!(
            "must not redirect more than {REDIRECTS_MAX} times"
        )))
    }

    async fn ask(&self, url: &Url) -> Result<Response> {
        let addresses = self.admit(url).await?;
        let host = url.host_str().unwrap_or_default();
        // Connects to what was judged: nobody asks the name service a second time.
        let client = Client::builder()
            .resolve_to_addrs(host, &addresses)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| Error::Internal(format!("a client for fetching: {error}")))?;
        client
            .get(url.clone())
            .send()
            .await
            .map_err(unreachable_source)
    }

    /// The addresses that a URL leads to, all of them allowed.
    async fn admit(&self, url: &Url) -> Result<Vec<SocketAddr>> {
        if !["http", "https"].contains(&url.scheme()) {
            return Err(refused("must begin with `https://` or `http://`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("must not hold a user or a password"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(refused("must name a host"));
        };
        if !self.is_listed(url) {
            return Err(refused(format!(
                "must be at a host that this server may fetch from; `{host}` is not in VOXRAY_RECORDINGS_ALLOWED_HOSTS"
            )));
        }
        let addresses: Vec<SocketAddr> = match host {
            Host::Ipv4(address) => vec![(address, port).into()],
            Host::Ipv6(address) => vec![(address, port).into()],
            Host::Domain(name) => lookup_host((name, port))
                .await
                .map_err(|_| refused("must be at a host that can be found"))?
                .collect(),
        };
        let is_private = |address: &SocketAddr| !is_public(address.ip());
        if addresses.is_empty() || !self.rules.allow_private && addresses.iter().any(is_private) {
            return Err(refused(
                "must be at a public address, not a private, local or reserved one",
            ));
        }
        Ok(addresses)
    }

    fn is_listed(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let with_port = url.port().map(|port| format!("{host}:{port}"));
        let wanted = with_port.as_deref().unwrap_or(host);
        self.rules
            .allowed_hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(wanted))
    }
}

fn next(url: &Url, response: &Response) -> Result<Url> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| url.join(location).ok());
    location.ok_or_else(|| refused("must lead to audio: the source redirects to nowhere"))
}

async fn receive(mut response: Response, mut spool: Spool) -> Result<Spooled> {
    while let Some(chunk) = response.chunk().await.map_err(unreachable_source)? {
        spool.write(chunk).await?;
    }
    spool.finish().await
}

/// The cause is for the log: it may tell about this server's network.
fn unreachable_source(error: reqwest::Error) -> Error {
    tracing::info!(%error, "a recording could not be fetched");
    let why = if error.is_timeout() {
        "the source took too long"
    } else if error.is_connect() {
        "the source cannot be reached"
    } else {
        "the source broke off"
    };
    refused(format!("must lead to audio: {why}"))
}

fn refused(message: impl Into<String>) -> Error {
    Error::Unprocessable(vec![Fault::body("url", message)])
}

/// One way of encryption for all clients of this process; a second call changes nothing.
pub(super) fn choose_cryptography() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn verdict(hosts: &[&str], url: &str) -> String {
        let fetcher = Fetcher::new(Rules {
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            allow_private: false,
        });
        let url = Url::parse(url).expect("a URL");
        match fetcher.admit(&url).await {
            Ok(addresses) => format!("{addresses:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn only_listed_hosts_at_their_own_port_are_asked() {
        let listed = ["8.8.8.8", "9.9.9.9:8443"];
        assert_eq!(verdict(&listed, "https://8.8.8.8/x").await, "[8.8.8.8:443]");
        assert_eq!(
            verdict(&listed, "http://8.8.8.8:80/x").await,
            "[8.8.8.8:80]"
        );
        assert_eq!(
            verdict(&listed, "https://9.9.9.9:8443/x").await,
            "[9.9.9.9:8443]"
        );
        for url in [
            "https://8.8.8.8:444/x",
            "https://9.9.9.9/x",
            "https://1.1.1.1/",
            "https://8.8.8.8.example.org/",
        ] {
            assert!(
                verdict(&listed, url)
                    .await
                    .contains("VOXRAY_RECORDINGS_ALLOWED_HOSTS"),
                "{url}"
            );
        }
        assert!(
            verdict(&[], "https://8.8.8.8/x")
                .await
                .contains("ALLOWED_HOSTS")
        );
        assert!(
            verdict(&listed, "ftp://8.8.8.8/x")
                .await
                .contains("https://")
        );
        assert!(
            verdict(&listed, "https://u:p@8.8.8.8/x")
                .await
                .contains("password")
        );
    }

    #[tokio::test]
    async fn a_listed_host_still_has_to_be_public_however_it_is_spelt() {
        let listed = [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:7f00:1]",
            "169.254.169.254",
        ];
        for url in [
            "http://127.0.0.1/x",
            "http://2130706433/x",
            "http://0x7f.1/x",
            "http://localhost/x",
            "http://[::1]/x",
            "http://[::ffff:127.0.0.1]/x",
            "http://169.254.169.254/latest/meta-data",
        ] {
            let verdict = verdict(&listed, url).await;
            assert!(verdict.contains("public address"), "{url}: {verdict}");
        }
    }
}
