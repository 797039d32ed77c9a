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
    /// `host`, at its scheme's own port, or `host:port`; `*.` stands for any host below.
    pub allowed_hosts: Vec<String>,
    /// Also from addresses that are not public: for tests and closed networks.
    pub allow_private: bool,
}

/// Fetches by rules.
#[derive(Clone, Debug, Default)]
pub struct Fetcher {
    rules: Rules,
}

/// What an asker adds to the rules.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// Hosts beside those of the rules, at public addresses only.
    pub hosts: Vec<String>,
    /// A user and a password for the host of the URL, and for no other that it leads to.
    pub credentials: Option<(String, String)>,
}

/// Why nothing was fetched.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub error: Error,
    /// Asking again may help.
    pub may_pass: bool,
}

impl Refusal {
    fn for_good(error: Error) -> Self {
        Self {
            error,
            may_pass: false,
        }
    }

    fn for_now(error: Error) -> Self {
        Self {
            error,
            may_pass: true,
        }
    }
}

impl From<Error> for Refusal {
    /// What our own disk says may be otherwise the next time; what is too large stays so.
    fn from(error: Error) -> Self {
        let may_pass = matches!(
            error,
            Error::Internal(_) | Error::Unavailable(_) | Error::StorageFull(_)
        );
        Self { error, may_pass }
    }
}

impl Fetcher {
    pub fn new(rules: Rules) -> Self {
        choose_cryptography();
        Self { rules }
    }

    /// Whether the rules list where this leads to.
    pub fn may_ask(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| is_listed(&url, &self.rules.allowed_hosts))
    }

    /// The whole body behind a URL, as far as the spool's limit.
    pub async fn fetch(&self, url: &str, spool: Spool) -> Result<Spooled> {
        let fetched = self.fetch_with(url, &Pass::default(), spool).await;
        fetched.map_err(|refusal| refusal.error)
    }

    /// The same for an asker who may reach more, and has to prove who it is.
    pub async fn fetch_with(
        &self,
        url: &str,
        pass: &Pass,
        spool: Spool,
    ) -> Result<Spooled, Refusal> {
        let first = Url::parse(url)
            .map_err(|error| Refusal::for_good(refused(format!("must be a URL: {error}"))))?;
        let mut url = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            let credentials = pass.credentials.as_ref();
            let credentials = credentials.filter(|_| url.origin() == first.origin());
            let response = self.ask(&url, &pass.hosts, credentials).await?;
            if response.status().is_redirection() {
                url = next(&url, &response).map_err(Refusal::for_good)?;
                continue;
            }
            let status = response.status().as_u16();
            if status != 200 {
                let error = refused(format!(
                    "must lead to audio: the source answers with status {status}"
                ));
                let may_pass = matches!(status, 404 | 408 | 409 | 425 | 429 | 500..);
                return Err(Refusal { error, may_pass });
            }
            return receive(response, spool).await;
        }
        Err(Refusal::for_good(refused(format!(
            "must not redirect more than {REDIRECTS_MAX} times"
        ))))
    }

    async fn ask(
        &self,
        url: &Url,
        hosts: &[String],
        credentials: Option<&(String, String)>,
    ) -> Result<Response, Refusal> {
        let addresses = self.admit(url, hosts).await?;
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
        let mut request = client.get(url.clone());
        if let Some((user, password)) = credentials {
            request = request.basic_auth(user, Some(password));
        }
        request.send().await.map_err(unreachable_source)
    }

    /// The addresses that a URL leads to, all of them allowed.
    async fn admit(&self, url: &Url, hosts: &[String]) -> Result<Vec<SocketAddr>, Refusal> {
        let no = |message: String| Err(Refusal::for_good(refused(message)));
        if !["http", "https"].contains(&url.scheme()) {
            return no("must begin with `https://` or `http://`".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return no("must not hold a user or a password".to_owned());
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return no("must name a host".to_owned());
        };
        let by_rule = is_listed(url, &self.rules.allowed_hosts);
        if !by_rule && !is_listed(url, hosts) {
            return no(format!(
                "must be at a host that this server may fetch from; `{host}` is not in VOXRAY_RECORDINGS_ALLOWED_HOSTS"
            ));
        }
        let addresses: Vec<SocketAddr> = match host {
            Host::Ipv4(address) => vec![(address, port).into()],
            Host::Ipv6(address) => vec![(address, port).into()],
            Host::Domain(name) => lookup_host((name, port))
                .await
                .map_err(|_| Refusal::for_now(refused("must be at a host that can be found")))?
                .collect(),
        };
        let is_private = |address: &SocketAddr| !is_public(address.ip());
        // What one tenant lists must not open the network around this server.
        let may_be_private = self.rules.allow_private && by_rule;
        if addresses.is_empty() || !may_be_private && addresses.iter().any(is_private) {
            return no(
                "must be at a public address, not a private, local or reserved one".to_owned(),
            );
        }
        Ok(addresses)
    }
}

fn is_listed(url: &Url, hosts: &[String]) -> bool {
    let host = url.host_str().unwrap_or_default();
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    let wanted = with_port.as_deref().unwrap_or(host);
    let mut hosts = hosts.iter().map(|allowed| allowed.to_ascii_lowercase());
    hosts.any(|allowed| match allowed.strip_prefix('*') {
        Some(below) => {
            let name = wanted.strip_suffix(below);
            below.starts_with('.') && name.is_some_and(|name| !name.is_empty())
        }
        None => allowed == wanted,
    })
}

fn next(url: &Url, response: &Response) -> Result<Url> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| url.join(location).ok());
    location.ok_or_else(|| refused("must lead to audio: the source redirects to nowhere"))
}

async fn receive(mut response: Response, mut spool: Spool) -> Result<Spooled, Refusal> {
    while let Some(chunk) = response.chunk().await.map_err(unreachable_source)? {
        spool.write(chunk).await?;
    }
    Ok(spool.finish().await?)
}

/// The cause is for the log: it may tell about this server's network.
fn unreachable_source(error: reqwest::Error) -> Refusal {
    tracing::info!(%error, "a recording could not be fetched");
    let why = if error.is_timeout() {
        "the source took too long"
    } else if error.is_connect() {
        "the source cannot be reached"
    } else {
        "the source broke off"
    };
    Refusal::for_now(refused(format!("must lead to audio: {why}")))
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
        match fetcher.admit(&url, &[]).await {
            Ok(addresses) => format!("{addresses:?}"),
            Err(refusal) => refusal.error.to_string(),
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

    #[tokio::test]
    async fn what_an_asker_lists_is_for_it_alone_and_never_private() {
        let fetcher = Fetcher::new(Rules {
            allowed_hosts: vec!["10.0.0.1".to_owned()],
            allow_private: true,
        });
        let ask = async |url: &str, host: &str| {
            let url = Url::parse(url).expect("a URL");
            let admitted = fetcher.admit(&url, &[host.to_owned()]).await;
            admitted.is_ok()
        };
        assert!(ask("https://10.0.0.1/x", "8.8.8.8").await);
        assert!(ask("https://8.8.8.8/x", "8.8.8.8").await);
        assert!(!ask("https://9.9.9.9/x", "8.8.8.8").await);
        assert!(!ask("https://10.0.0.2/x", "10.0.0.2").await);
    }

    #[test]
    fn a_vendor_s_storage_may_be_any_host_below_its_own() {
        let hosts = [
            "*.R2.cloudflarestorage.com".to_owned(),
            "*example.org".to_owned(),
        ];
        let listed = |url: &str| is_listed(&Url::parse(url).expect("a URL"), &hosts);
        assert!(listed("https://a1b2.r2.cloudflarestorage.com/x?y=1"));
        for url in [
            "https://r2.cloudflarestorage.com/x",
            "https://a.r2.cloudflarestorage.com.example.org/x",
            "https://a.r2.cloudflarestorage.com:8443/x",
            "https://ar2.cloudflarestorage.com/x",
            "https://.r2.cloudflarestorage.com/x",
            "https://not-example.org/x",
        ] {
            assert!(!listed(url), "{url}");
        }
    }
}
