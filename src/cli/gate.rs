//! `voxray gate`: may this version of an agent be released? For release pipelines: an exit code, and the
//! numbers behind it.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use serde_json::{Map, Value, json};

use crate::cli::{Failure, open, print};
use crate::config::StoreSettings;
use crate::domain::analysis::gate::{Metric, Verdict};
use crate::domain::release::Question;
use crate::services::analysis;
use crate::services::analysis::gates;
use crate::store::{Scope, tenants};

/// What stands for itself; any other failure is an error.
pub const ERROR: u8 = 3;
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// A pipeline must not hang: a server that says nothing for so long will not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Say whether a version of an agent is fit to be released
///
/// Holds the calls of a version against another version's, or against targets. Exit codes: 0 pass, 1 fail,
/// 2 insufficient data, 3 error. The same as `POST /v1/gates/evaluate`: with `--url` a server is asked, with the
/// key in VOXRAY_API_KEY (scope `sessions:read`); without it the store is read directly.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  VOXRAY_API_KEY=vxr_… voxray gate --url https://voxray.example --agent front-desk --agent-version v42 --baseline-version v41
  voxray gate --tenant acme --agent front-desk --target turn_latency_p95_ms=1200 --target error_rate=0.02 --json")]
pub struct Arguments {
    /// A server to ask
    #[arg(long, conflicts_with = "tenant", required_unless_present = "tenant")]
    url: Option<String>,
    /// The API key for the server
    #[arg(long, env = "VOXRAY_API_KEY", hide_env_values = true, requires = "url")]
    key: Option<String>,
    /// The tenant's name or id, to read the store directly
    #[arg(long)]
    tenant: Option<String>,
    /// The agent
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    agent: String,
    /// Its version that is to be released [default: all]
    #[arg(long)]
    agent_version: Option<String>,
    /// Only calls that started then or later [default: 7 days ago]
    #[arg(long)]
    started_after: Option<String>,
    /// Only calls that started before then [default: now]
    #[arg(long)]
    started_before: Option<String>,
    /// The version that it is held against
    #[arg(long)]
    baseline_version: Option<String>,
    /// The agent that it is held against [default: the same]
    #[arg(long)]
    baseline_agent: Option<String>,
    /// Calls of the baseline that started then or later [default: 7 days before]
    #[arg(long)]
    baseline_after: Option<String>,
    /// Calls of the baseline that started before then [default: now]
    #[arg(long)]
    baseline_before: Option<String>,
    /// What to look at, repeatable [default: whatever there is something to hold against]
    #[arg(long, value_parser = metric)]
    metric: Vec<Metric>,
    /// The most that a metric may be, repeatable
    #[arg(long, value_name = "METRIC=NUMBER", value_parser = target)]
    target: Vec<(Metric, f64)>,
    /// With fewer measurements there is no verdict
    #[arg(long, default_value_t = 30)]
    minimum: u32,
    /// How much worse than the baseline is still as good, as a share of it
    #[arg(long, default_value_t = 0.05)]
    tolerance: f64,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

fn metric(text: &str) -> Result<Metric, String> {
    let known = Metric::ALL.map(Metric::as_str).join(", ");
    Metric::parse(text).ok_or_else(|| format!("must be one of {known}"))
}

fn target(text: &str) -> Result<(Metric, f64), String> {
    let (name, number) = text
        .split_once('=')
        .ok_or("must be METRIC=NUMBER, as in error_rate=0.02")?;
    let number = number.parse();
    Ok((
        metric(name)?,
        number.map_err(|_| "must end with a number".to_owned())?,
    ))
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let report = evaluate(&arguments).await.map_err(|failure| Failure {
        code: ERROR,
        ..failure
    })?;
    let verdict = report.get("verdict").and_then(Value::as_str);
    let code = match verdict.and_then(Verdict::parse) {
        Some(Verdict::Pass) => 0,
        Some(Verdict::Fail) => 1,
        Some(Verdict::InsufficientData) => 2,
        None => ERROR,
    };
    match arguments.json {
        true => print::json(&Value::Object(report))?,
        false => tell(&report)?,
    }
    Ok(ExitCode::from(code))
}

async fn evaluate(arguments: &Arguments) -> Result<Map<String, Value>, Failure> {
    let question = question(arguments);
    let (Some(url), key) = (&arguments.url, &arguments.key) else {
        return in_store(arguments, question).await;
    };
    let key = key.as_deref();
    let key =
        key.ok_or_else(|| Failure::new("VOXRAY_API_KEY is not set: the server wants a key"))?;
    let url = format!("{}/v1/gates/evaluate", url.trim_end_matches('/'));
    ask(&url, key, question).await
}

/// As the server is asked.
fn question(arguments: &Arguments) -> Map<String, Value> {
    let arm = |agent: &str,
               version: &Option<String>,
               after: &Option<String>,
               before: &Option<String>| {
        json!({"agentId": agent, "agentVersion": version, "startedAfter": after, "startedBefore": before})
    };
    let of = arguments;
    let has_baseline = of.baseline_version.is_some()
        || of.baseline_agent.is_some()
        || of.baseline_after.is_some()
        || of.baseline_before.is_some();
    let mut question = Map::new();
    let candidate = arm(
        &of.agent,
        &of.agent_version,
        &of.started_after,
        &of.started_before,
    );
    question.insert("candidate".to_owned(), candidate);
    if has_baseline {
        let agent = of.baseline_agent.as_ref().unwrap_or(&of.agent);
        let baseline = arm(
            agent,
            &of.baseline_version,
            &of.baseline_after,
            &of.baseline_before,
        );
        question.insert("baseline".to_owned(), baseline);
    }
    if !of.metric.is_empty() {
        question.insert("metrics".to_owned(), json!(of.metric));
    }
    let targets = of.target.iter();
    let targets = targets.map(|(metric, target)| (metric.as_str().to_owned(), json!(target)));
    question.insert("targets".to_owned(), Value::Object(targets.collect()));
    question.insert("minimum".to_owned(), json!(of.minimum));
    question.insert("tolerance".to_owned(), json!(of.tolerance));
    question
}

async fn in_store(
    arguments: &Arguments,
    question: Map<String, Value>,
) -> Result<Map<String, Value>, Failure> {
    let tenant = arguments.tenant.as_deref().unwrap_or_default();
    open::with_store(&arguments.settings, async |store| {
        let tenant = tenants::find(store, tenant).await?;
        let scope = Scope::for_operator(store, tenant.id);
        let now = crate::app::Clock::system().now();
        let question = Question::read(question, now)?;
        // Calls that nobody has analysed yet would be missing.
        analysis::drain(store, now).await?;
        let (_, report) = gates::evaluate(&scope, &question, now).await?;
        Ok(report)
    })
    .await
}

async fn ask(
    url: &str,
    key: &str,
    question: Map<String, Value>,
) -> Result<Map<String, Value>, Failure> {
    let told = |error: reqwest::Error| Failure::new(format!("{url}: {error}"));
    // Whoever was first has chosen the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(told)?;
    let request = client
        .post(url)
        .bearer_auth(key)
        .header("content-type", "application/json")
        .body(Value::Object(question).to_string());
    let mut response = request.send().await.map_err(told)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(Failure::new(format!(
                "{url}: the answer is too long to be a gate's"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    let answer: Option<Map<String, Value>> = serde_json::from_slice(&body).ok();
    match answer {
        Some(report) if status.is_success() => Ok(report),
        problem => Err(refused(url, status.as_u16(), problem.unwrap_or_default())),
    }
}

/// What the server says is wrong.
fn refused(url: &str, status: u16, problem: Map<String, Value>) -> Failure {
    let text = |object: &Value, name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let problem = Value::Object(problem);
    let faults = problem["errors"].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!(
        "{url} answers {status}: {}",
        text(&problem, "detail")
    )];
    let told = faults
        .iter()
        .map(|fault| format!("  {} {}", text(fault, "name"), text(fault, "message")));
    lines.extend(told);
    Failure::new(lines.join("\n"))
}

fn tell(report: &Map<String, Value>) -> Result<(), Failure> {
    let shown = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            items.join(" to ")
        }
        other => other.to_string(),
    };
    let names = [
        "metric",
        "verdict",
        "value",
        "target",
        "interval",
        "measurements",
    ];
    let checks = report.get("checks").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = checks
        .into_iter()
        .flatten()
        .map(|check| names.iter().map(|name| shown(&check[*name])).collect())
        .collect();
    print::table(&names.map(|name| name), &rows)?;
    let of = |name: &str| report.get(name).map(&shown).unwrap_or_default();
    for side in ["candidate", "baseline"] {
        let sample = report.get(side).unwrap_or(&Value::Null);
        if sample["truncated"] == true {
            print::line(&format!(
                "{side}: the newest {} calls were looked at, there are more",
                sample["calls"]
            ))?;
        }
    }
    print::line(&format!("{}: gate {}", of("verdict"), of("id")))?;
    Ok(())
}
