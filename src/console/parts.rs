//! The parts of the dashboard: what each asks, and what of it is drawn.

use chrono::{DateTime, NaiveTime, Utc};

use super::charts::{self, HEIGHT, Tick, percent};
use super::format;
use crate::auth::Viewer;
use crate::domain::Result;
use crate::domain::analytics::{Dimensions, Period, Window};
use crate::domain::digest::{Entry, Stage};
use crate::domain::page::Limit;
use crate::domain::record::ErrorFilter;
use crate::domain::tally::{Interval, Tally};
use crate::services::analytics;

const WORKFLOWS: usize = 10;
const ERRORS: u32 = 10;
/// Labels along the time.
const LABELS: usize = 6;
/// No label begins beyond this share of the width.
const LAST_LABEL: f64 = 0.95;

pub struct Active {
    pub count: String,
}

/// Sums, each with its unit where it has one.
pub struct Summary {
    pub active: Active,
    pub tiles: Vec<(&'static str, String)>,
}

/// Calls by the time that they started.
pub struct Volume {
    pub interval: &'static str,
    pub bars: Vec<Bar>,
    pub lines: Vec<(f64, String)>,
    pub labels: Vec<Tick>,
    pub is_empty: bool,
}

pub struct Bar {
    pub at: String,
    pub left: String,
    pub width: String,
    /// From below: style, height, top.
    pub blocks: Vec<(&'static str, f64, f64)>,
    pub tally: Tally,
    /// Not over yet.
    pub open: i64,
}

/// Latencies of providers.
pub struct Providers {
    pub ticks: Vec<Tick>,
    pub rows: Vec<Latency>,
}

pub struct Latency {
    pub stage: &'static str,
    pub provider: String,
    pub mean: String,
    /// Style, place and value of the percentiles.
    pub points: Vec<(&'static str, String, String)>,
    pub calls: String,
    pub measurements: String,
}

pub struct Workflows {
    pub rows: Vec<WorkflowRow>,
}

pub struct WorkflowRow {
    pub name: String,
    pub calls: String,
    pub success_rate: Option<f64>,
    pub success: String,
    pub duration: String,
}

pub struct Errors {
    pub total: String,
    pub rows: Vec<ErrorRow>,
}

pub struct ErrorRow {
    pub call: String,
    pub at: String,
    pub service: String,
    pub level: String,
    pub text: String,
    pub agent: String,
}

impl Active {
    pub async fn load(viewer: &Viewer, dimensions: &Dimensions) -> Result<Self> {
        let count = analytics::active_calls(&viewer.scope, dimensions).await?;
        Ok(Self {
            count: format::count(count),
        })
    }
}

impl Summary {
    pub async fn load(viewer: &Viewer, window: Window, dimensions: &Dimensions) -> Result<Self> {
        let summary = analytics::summary(&viewer.scope, window, dimensions).await?;
        let sums = summary.sums;
        let stage = |stage| sums.digest.of_stage(stage);
        let mean = |of| stage(of).mean_ms().map(format::ms);
        let known = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let p95 = stage(Stage::Turn).percentile_ms(0.95).map(format::ms);
        let seconds = sums.avg_duration_seconds();
        let cost = sums.total_cost_micro_usd();
        Ok(Self {
            active: Active {
                count: format::count(summary.active_calls),
            },
            tiles: vec![
                ("Calls", format::count(sums.calls)),
                ("Completed", format::count(sums.completed)),
                ("Failed", format::count(sums.failed)),
                (
                    "Declined or missed",
                    format::count(sums.declined + sums.missed),
                ),
                (
                    "Success rate",
                    known(sums.success_rate().map(|rate| format!("{rate:.1} %"))),
                ),
                (
                    "Mean duration",
                    known(seconds.map(|seconds| format::clock((seconds * 1e3) as i64))),
                ),
                ("Answer after, p95", known(p95)),
                ("Mean STT", known(mean(Stage::Stt))),
                ("Mean LLM", known(mean(Stage::Llm))),
                ("Mean TTS", known(mean(Stage::Tts))),
                ("Tokens", format::count(sums.tokens)),
                (
                    "Cost",
                    known(cost.map(|micro| format!("${:.2}", micro as f64 / 1e6))),
                ),
            ],
        })
    }
}

impl Volume {
    pub async fn load(
        viewer: &Viewer,
        period: Period,
        window: Window,
        dimensions: &Dimensions,
    ) -> Result<Self> {
        let interval = match period {
            Period::Month => Interval::Day,
            Period::Hour | Period::Day | Period::Week => Interval::Hour,
        };
        let counted = analytics::call_volume(&viewer.scope, window, interval, dimensions).await?;
        Ok(Self::of(&counted, interval, period))
    }

    fn of(counted: &[(DateTime<Utc>, Tally)], interval: Interval, period: Period) -> Self {
        let most = counted.iter().map(|(_, tally)| tally.calls).max();
        let steps = charts::steps(most.unwrap_or_default() as f64, 4.0, true);
        let top = steps.last().copied().unwrap_or(1.0);
        let height = |calls: i64| calls as f64 / top * HEIGHT;
        let slot = 1.0 / counted.len().max(1) as f64;
        let bar = |(n, (at, tally)): (usize, &(DateTime<Utc>, Tally))| {
            let unanswered = tally.declined + tally.missed;
            let open = (tally.calls - tally.completed - tally.failed - unanswered).max(0);
            let mut top = HEIGHT;
            let blocks = [
                ("completed", tally.completed),
                ("failed", tally.failed),
                ("unanswered", unanswered),
                ("open", open),
            ];
            let blocks = blocks.into_iter().filter(|(_, calls)| *calls > 0);
            Bar {
                at: at.format("%Y-%m-%d %H:%M").to_string(),
                left: percent(n as f64 * slot),
                width: percent(slot * 0.85),
                blocks: blocks
                    .map(|(kind, calls)| {
                        top -= height(calls);
                        (kind, height(calls), top)
                    })
                    .collect(),
                tally: *tally,
                open,
            }
        };
        Self {
            interval: interval.as_str(),
            bars: counted.iter().enumerate().map(bar).collect(),
            lines: steps
                .iter()
                .map(|step| (HEIGHT - step / top * HEIGHT, format::count(*step as i64)))
                .collect(),
            labels: labels(counted, period),
            is_empty: most.unwrap_or_default() == 0,
        }
    }
}

/// What stands below the bars. The hours of a week have the names of days, each below the first of its hours.
fn labels(counted: &[(DateTime<Utc>, Tally)], period: Period) -> Vec<Tick> {
    let format = match period {
        Period::Hour | Period::Day => "%H:%M",
        Period::Week | Period::Month => "%d %b",
    };
    let every = counted.len().div_ceil(LABELS).max(1);
    let is_labelled = |n: usize, at: DateTime<Utc>| match period {
        Period::Week => at.time() == NaiveTime::MIN,
        Period::Hour | Period::Day | Period::Month => n.is_multiple_of(every),
    };
    let places = counted.iter().enumerate();
    let labelled = places.filter(|(n, (at, _))| is_labelled(*n, *at));
    let tick = |(n, (at, _)): (usize, &(DateTime<Utc>, Tally))| {
        let place = n as f64 / counted.len() as f64;
        // A name that began at the very end would be cut off.
        (place <= LAST_LABEL).then(|| Tick {
            at: percent(place),
            anchor: "start",
            label: at.format(format).to_string(),
        })
    };
    labelled.filter_map(tick).collect()
}

impl Providers {
    pub async fn load(viewer: &Viewer, window: Window, dimensions: &Dimensions) -> Result<Self> {
        let entries = analytics::provider_latency(&viewer.scope, window, dimensions).await?;
        let slowest = entries.iter().filter_map(|entry| entry.percentile_ms(0.99));
        let steps = charts::steps(slowest.fold(0.0, f64::max), 4.0, false);
        let top = steps.last().copied().unwrap_or(1.0);
        Ok(Self {
            ticks: charts::ticks_ms(&steps),
            rows: entries
                .iter()
                .map(|entry| Latency::of(entry, top))
                .collect(),
        })
    }
}

impl Latency {
    fn of(entry: &Entry, top: f64) -> Self {
        let point = |(kind, rank): (&'static str, f64)| {
            let ms = entry.percentile_ms(rank)?;
            Some((kind, percent(ms / top), format::ms(ms)))
        };
        let points = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
        let known = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        Self {
            stage: match entry.stage {
                Stage::Stt => "STT",
                Stage::Llm => "LLM",
                _ => "TTS",
            },
            provider: match entry.provider.as_str() {
                "" => "not named".to_owned(),
                name => name.to_owned(),
            },
            mean: known(entry.mean_ms().map(format::ms)),
            points: points.into_iter().filter_map(point).collect(),
            calls: format::count(entry.sessions.try_into().unwrap_or(i64::MAX)),
            measurements: format::count(entry.count.try_into().unwrap_or(i64::MAX)),
        }
    }
}

impl Workflows {
    pub async fn load(viewer: &Viewer, window: Window, dimensions: &Dimensions) -> Result<Self> {
        let found = analytics::workflow_stats(&viewer.scope, window, dimensions, WORKFLOWS).await?;
        let rows = found.into_iter().map(|(workflow, tally)| {
            let (rate, seconds) = (tally.success_rate(), tally.avg_duration_seconds());
            let known = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
            WorkflowRow {
                name: workflow
                    .name
                    .or(workflow.slug)
                    .or(workflow.id)
                    .unwrap_or_default(),
                calls: format::count(tally.calls),
                success_rate: rate,
                success: known(rate.map(|rate| format!("{rate:.1} %"))),
                duration: known(seconds.map(|seconds| format::clock((seconds * 1e3) as i64))),
            }
        });
        Ok(Self {
            rows: rows.collect(),
        })
    }
}

impl Errors {
    pub async fn load(viewer: &Viewer, window: Window, dimensions: &Dimensions) -> Result<Self> {
        let (filter, page) = (ErrorFilter::default(), (0, Limit::checked(ERRORS)));
        let content = viewer.content.as_ref();
        let (slice, total) =
            analytics::errors(&viewer.scope, content, window, dimensions, &filter, page).await?;
        let rows = slice.items.into_iter().map(|found| {
            let error = found.error;
            ErrorRow {
                call: found.call.to_string(),
                at: format::when(error.at),
                service: error.service.unwrap_or_else(|| "call".to_owned()),
                level: error.level,
                text: error
                    .message
                    .or(error.code)
                    .unwrap_or_else(|| "no message".to_owned()),
                agent: error.agent.unwrap_or_default(),
            }
        });
        Ok(Self {
            total: format::count(total),
            rows: rows.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_calls() {
        let at = "2025-06-11T10:00:00Z".parse().unwrap();
        let tally = Tally {
            calls: 10,
            completed: 6,
            failed: 1,
            missed: 1,
            ..Tally::default()
        };
        let volume = Volume::of(&[(at, tally)], Interval::Hour, Period::Day);
        let bar = &volume.bars[0];
        assert_eq!(bar.open, 2);
        let heights: f64 = bar.blocks.iter().map(|(_, height, _)| height).sum();
        let top = bar.blocks.last().unwrap().2;
        assert!((heights + top - HEIGHT).abs() < 1e-9);
        assert_eq!(volume.lines.last().unwrap().1, "10");
        assert!(Volume::of(&[], Interval::Hour, Period::Day).is_empty);
    }

    #[test]
    fn each_day_of_a_week_has_its_name_below_its_first_hour() {
        let from: DateTime<Utc> = "2025-06-04T14:00:00Z".parse().unwrap();
        let hours = (0..168).map(|n| (from + TimeDelta::hours(n), Tally::default()));
        let hours: Vec<_> = hours.collect();
        let labels = Volume::of(&hours, Interval::Hour, Period::Week).labels;
        let names: Vec<_> = labels.iter().map(|tick| tick.label.as_str()).collect();
        let days = [
            "05 Jun", "06 Jun", "07 Jun", "08 Jun", "09 Jun", "10 Jun", "11 Jun",
        ];
        assert_eq!(names, days);
        assert_eq!(labels[0].at, percent(10.0 / 168.0));

        // The last day has only begun.
        let names = Volume::of(&hours[..156], Interval::Hour, Period::Week).labels;
        assert_eq!(names.last().unwrap().label, "10 Jun");
    }
}
