//! `GET /v1/observability/sessions/{sessionId}/root-cause`, and the same by a call's id.

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::format;
use crate::app::App;
use crate::auth::Reader;
use crate::domain::analysis::{Coverage, Issue, Part, Segment, Stage, TurnLatency};
use crate::domain::turn::LatencySource;
use crate::problem::Json;
use crate::problem::Path;
use crate::problem::Problem;
use crate::problem::Query;
use crate::services::analysis;
use crate::services::analysis::RootCause;

pub async fn handle_session(
    State(_): State<App>,
    reader: Reader,
    Path(session_id): Path<String>,
    query: Query,
) -> Result<Json<Body>, Problem> {
    answer(reader, &session_id, query).await
}

pub async fn handle_call(
    State(_): State<App>,
    reader: Reader,
    Path(call_id): Path<String>,
    query: Query,
) -> Result<Json<Body>, Problem> {
    answer(reader, &call_id, query).await
}

async fn answer(reader: Reader, reference: &str, query: Query) -> Result<Json<Body>, Problem> {
    query.params().finish()?;
    let found = analysis::root_cause(&reader.scope, reader.content.as_ref(), reference).await?;
    Ok(Json(Body::of(found, reader.content.is_some())))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    session_id: String,
    issues: Vec<IssueBody>,
    coverage: CoverageBody,
    turns: Vec<TurnBody>,
    turn_taking: TurnTaking,
    rules_version: i32,
    targets_version: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    content_withheld: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_deleted_at: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IssueBody {
    r#type: &'static str,
    turn: Option<i32>,
    description: String,
    recommendation: String,
    severity: &'static str,
    stage: Option<&'static str>,
    at_ms: Option<i64>,
    impact_ms: Option<i64>,
    provider: Option<String>,
    model: Option<String>,
    evidence: Map<String, Value>,
}

/// How many answers the latencies speak of.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CoverageBody {
    answers: u32,
    measured: u32,
    complete: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TurnBody {
    turn: i32,
    answers_user: bool,
    gap_ms: Option<i64>,
    gap_source: Option<&'static str>,
    stages: Vec<StageBody>,
    unexplained_ms: Option<i64>,
    missing: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StageBody {
    stage: &'static str,
    part: Part,
    ms: i64,
    measured_ms: i64,
    provider: Option<String>,
    model: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TurnTaking {
    score: Option<f64>,
    turns: u32,
    passed: Option<bool>,
}

impl Body {
    fn of(found: RootCause, with_content: bool) -> Self {
        let analysis = found.analysis;
        let withheld = !with_content && found.issues.iter().any(Issue::has_content);
        let issues = found.issues.into_iter();
        Self {
            session_id: found.session.prefixed(),
            issues: issues
                .map(|issue| IssueBody::of(issue, with_content))
                .collect(),
            coverage: CoverageBody::from(analysis.coverage),
            turns: analysis.turns.into_iter().map(TurnBody::from).collect(),
            turn_taking: TurnTaking {
                score: analysis.score.map(format::thousandth),
                turns: analysis.score_turns,
                passed: analysis.score_passed,
            },
            rules_version: analysis.rules_version,
            targets_version: found.targets_version,
            content_withheld: withheld,
            content_deleted_at: found.content_deleted_at.map(format::time),
        }
    }
}

impl IssueBody {
    fn of(issue: Issue, with_content: bool) -> Self {
        Self {
            r#type: issue.kind.as_str(),
            turn: issue.turn,
            description: issue.description_for(with_content),
            evidence: issue.evidence_for(with_content),
            recommendation: issue.recommendation,
            severity: issue.severity.as_str(),
            stage: issue.stage.map(Stage::as_str),
            at_ms: issue.at_ms,
            impact_ms: issue.impact_ms,
            provider: issue.provider,
            model: issue.model,
        }
    }
}

impl From<Coverage> for CoverageBody {
    fn from(coverage: Coverage) -> Self {
        Self {
            answers: coverage.answers,
            measured: coverage.measured,
            complete: coverage.complete,
        }
    }
}

impl From<TurnLatency> for TurnBody {
    /// Rounded so that the parts still add up: each boundary between two is rounded, not each part.
    fn from(turn: TurnLatency) -> Self {
        let (mut end_ms, mut rounded_ms) = (0.0, 0);
        let mut next = |ms: f64| {
            end_ms += ms;
            let since = rounded_ms;
            rounded_ms = format::whole_ms(end_ms);
            rounded_ms - since
        };
        let stages = turn.segments.into_iter();
        let stages: Vec<StageBody> = stages
            .map(|segment| StageBody::of(next(segment.ms), segment))
            .collect();
        let unexplained_ms = turn.unexplained_ms.map(next);
        Self {
            turn: turn.turn,
            answers_user: turn.answers_user,
            gap_ms: turn.gap_ms.map(format::whole_ms),
            gap_source: turn.source.map(LatencySource::as_str),
            stages,
            unexplained_ms,
            missing: turn.missing.into_iter().map(Stage::as_str).collect(),
        }
    }
}

impl StageBody {
    fn of(ms: i64, segment: Segment) -> Self {
        Self {
            stage: segment.stage.as_str(),
            part: segment.part,
            ms,
            measured_ms: format::whole_ms(segment.measured_ms),
            provider: segment.provider,
            model: segment.model,
        }
    }
}
