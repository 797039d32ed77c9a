//! `voxray webhook`: the addresses that vendors call. Works while servers run; they know at once.

use serde_json::{Value, json};

use crate::app::Clock;
use crate::cli::{Failure, open, print};
use crate::config::StoreSettings;
use crate::domain::audit::OPERATOR;
use crate::domain::webhook::{Endpoint, Settings, Signing, Vendor};
use crate::services::webhooks;
use crate::services::webhooks::Wish;
use crate::store::{Scope, Store, tenants};

/// Manage the addresses that Twilio, Vapi, Retell, ElevenLabs and LiveKit call
#[derive(clap::Subcommand)]
pub enum Command {
    Create(Box<Create>),
    List(List),
    Remove(Remove),
    Deliveries(Deliveries),
}

/// Create an address for one vendor
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  VOXRAY_WEBHOOK_SECRET=… voxray webhook create --tenant acme --vendor twilio --name main \\\n    --public-url https://voxray.example.org"
)]
pub struct Create {
    /// The tenant's id or name
    #[arg(long)]
    tenant: String,
    /// Who calls: twilio, vapi, retell, elevenlabs, livekit
    #[arg(long)]
    vendor: Vendor,
    /// What it is for
    #[arg(long)]
    name: String,
    /// What the vendor signs with: Twilio's auth token, Retell's API key, the secret that ElevenLabs shows. Made
    /// up where it is left out for Vapi, and none for LiveKit, whose keys `voxray livekit-key` adds. Better given by the environment, where other users cannot see it
    #[arg(long, env = "VOXRAY_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// How the vendor reaches this server, such as `https://voxray.example.org`: Twilio signs it
    #[arg(long)]
    public_url: Option<String>,
    /// Twilio: refuse callbacks of other accounts
    #[arg(long)]
    account_sid: Option<String>,
    /// Hosts that recordings may be fetched from, beside the vendor's own
    #[arg(long, value_delimiter = ',')]
    allowed_hosts: Vec<String>,
    /// Sent along when recordings are fetched [default for Twilio: the account's SID and the secret]
    #[arg(long, requires = "fetch_password")]
    fetch_user: Option<String>,
    #[arg(
        long,
        env = "VOXRAY_WEBHOOK_FETCH_PASSWORD",
        hide_env_values = true,
        requires = "fetch_user"
    )]
    fetch_password: Option<String>,
    /// Vapi: bodies are signed, in Vapi's default way; otherwise the secret itself is sent. Other ways are for the API
    #[arg(long)]
    signed: bool,
    /// Vapi: the header that the secret itself is sent in, where it is neither x-vapi-secret nor authorization
    #[arg(long, conflicts_with = "signed")]
    secret_header: Option<String>,
    /// Print JSON: `{"id", "path", "secret"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// List addresses, never their secrets
#[derive(clap::Args)]
#[command(after_help = "Example:\n  voxray webhook list --tenant acme")]
pub struct List {
    /// The tenant's id or name
    #[arg(long)]
    tenant: String,
    /// Removed ones too
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// Close an address for good
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  voxray webhook remove --tenant acme 7HrTq0aZk19Xb4mVwPpLs3YdNf8CgJe2"
)]
pub struct Remove {
    /// The tenant's id or name
    #[arg(long)]
    tenant: String,
    /// The endpoint's id
    id: String,
    /// Print JSON: `{"id", "removed"}`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

/// Show what has come lately, and what became of it
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  voxray webhook deliveries --tenant acme 7HrTq0aZk19Xb4mVwPpLs3YdNf8CgJe2"
)]
pub struct Deliveries {
    /// The tenant's id or name
    #[arg(long)]
    tenant: String,
    /// The endpoint's id
    id: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => create(*arguments).await,
        Command::List(arguments) => list(arguments).await,
        Command::Remove(arguments) => remove(arguments).await,
        Command::Deliveries(arguments) => deliveries(arguments).await,
    }
}

async fn scope(store: &Store, tenant: &str) -> Result<Scope, Failure> {
    let tenant = tenants::find(store, tenant).await?;
    Ok(Scope::for_operator(store, tenant.id))
}

async fn create(arguments: Create) -> Result<(), Failure> {
    let now = Clock::system().now();
    let wish = Wish {
        vendor: arguments.vendor,
        name: arguments.name,
        secret: arguments.secret,
        settings: Settings {
            public_url: arguments.public_url,
            account_sid: arguments.account_sid,
            allowed_hosts: arguments.allowed_hosts,
            fetch_user: arguments.fetch_user,
            fetch_password: arguments.fetch_password,
            signature: arguments.signed.then(Signing::default),
            secret_header: arguments.secret_header,
        },
    };
    let made = open::with_store(&arguments.settings, async |store| {
        let scope = scope(store, &arguments.tenant).await?;
        Ok(webhooks::create(&scope, wish, OPERATOR, now).await?)
    })
    .await?;
    let path = webhooks::path(&made.endpoint);
    let secret = made.is_secret_new.then_some(&made.endpoint.secret);
    if arguments.json {
        let id = &made.endpoint.id;
        return Ok(print::json(
            &json!({ "id": id, "path": path, "secret": secret }),
        )?);
    }
    print::line(&format!("id    {}\npath  {path}", made.endpoint.id))?;
    if let Some(secret) = secret {
        print::line(&format!("secret  {secret}\nThe secret is shown only now."))?;
    }
    Ok(())
}

async fn list(arguments: List) -> Result<(), Failure> {
    let endpoints = open::with_store(&arguments.settings, async |store| {
        let scope = scope(store, &arguments.tenant).await?;
        Ok(webhooks::list(&scope, arguments.all).await?)
    })
    .await?;
    if arguments.json {
        return Ok(print::json(&Value::from_iter(endpoints.iter().map(wire)))?);
    }
    let row = |endpoint: &Endpoint| {
        vec![
            endpoint.id.clone(),
            endpoint.vendor.as_str().to_owned(),
            endpoint.name.clone(),
            print::time(endpoint.created_at),
            print::optional_time(endpoint.disabled_at),
        ]
    };
    let rows: Vec<_> = endpoints.iter().map(row).collect();
    Ok(print::table(
        &["ID", "VENDOR", "NAME", "CREATED", "REMOVED"],
        &rows,
    )?)
}

fn wire(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id,
        "vendor": endpoint.vendor.as_str(),
        "name": endpoint.name,
        "path": webhooks::path(endpoint),
        "createdAt": print::time(endpoint.created_at),
        "removedAt": endpoint.disabled_at.map(print::time),
    })
}

async fn remove(arguments: Remove) -> Result<(), Failure> {
    let now = Clock::system().now();
    open::with_store(&arguments.settings, async |store| {
        let scope = scope(store, &arguments.tenant).await?;
        Ok(webhooks::disable(&scope, &arguments.id, OPERATOR, now).await?)
    })
    .await?;
    if arguments.json {
        print::json(&json!({ "id": arguments.id, "removed": true }))?;
    } else {
        print::line(&format!("webhook {} is removed", arguments.id))?;
    }
    Ok(())
}

async fn deliveries(arguments: Deliveries) -> Result<(), Failure> {
    let deliveries = open::with_store(&arguments.settings, async |store| {
        let scope = scope(store, &arguments.tenant).await?;
        Ok(webhooks::deliveries(&scope, &arguments.id).await?)
    })
    .await?;
    if arguments.json {
        let each = deliveries.iter().map(|delivery| {
            json!({
                "receivedAt": print::time(delivery.received_at),
                "status": delivery.status,
                "result": delivery.result,
                "reason": delivery.reason,
                "event": delivery.event,
                "sessionId": delivery.session.map(|session| session.to_string()),
            })
        });
        return Ok(print::json(&Value::from_iter(each))?);
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<_> = deliveries
        .iter()
        .map(|delivery| {
            vec![
                print::time(delivery.received_at),
                delivery.status.to_string(),
                delivery.result.clone(),
                text(&delivery.event),
                delivery
                    .session
                    .map_or_else(|| "-".to_owned(), |id| id.to_string()),
                text(&delivery.reason),
            ]
        })
        .collect();
    let head = ["RECEIVED", "STATUS", "RESULT", "EVENT", "SESSION", "REASON"];
    Ok(print::table(&head, &rows)?)
}
